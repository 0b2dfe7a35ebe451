"""What `kgrec support demo` fits and shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kgrec_core.domain import one
from kgrec_support.desk import ask
from kgrec_support.shown import told
from kgrec_support.verbs import Ask

if TYPE_CHECKING:
    from kgrec_core.domain import Run

FEW = {"data": {"per_class": 10}, "train": {"contrastive": 0.5, "epochs": 1.0, "steps": 40, "batch": 64}}  # minutes, not the best figures
SHOWN = ("My new card still has not arrived", "Why was I charged?", "What is the meaning of life?")
BUDGET = 0.05


@dataclass(frozen=True)
class Demo:
    """Fit ten questions of each of a bank's 77 intents, show figures, and ask three: a plain one, a vague one, one that no entry is about.

    Example: kgrec support demo --run runs/demo data.per_class=20
    """

    def layer(self) -> dict[str, Any]:
        return FEW

    def shown(self, run: Run) -> dict[str, Any]:
        replies = {question: one(ask(run.snapshot, [Ask(question=question, budget=BUDGET)])) for question in SHOWN}
        return {"replies": replies, "gaps": [question for question, reply in replies.items() if reply.outcome == "hand over"]}

    def told(self, run: Run, shown: dict[str, Any]) -> str:
        lines = [f"asked with a budget of {BUDGET:.0%}:", ""]
        for question, reply in shown["replies"].items():
            lines += [f"> {question}", told(reply), ""]
        return "\n".join([
            *lines,
            f"gaps: {'; '.join(shown['gaps']) or 'none'}   (`review` collects what no entry answers)",
            f"run folder: {run.folder}",
            f'next: kgrec support ask "Can I get a second card?" --run {run.folder} --budget {BUDGET}',
            f'      kgrec support add "{SHOWN[-1]}" "42." --run {run.folder}     (asked again, it is answered)',
            f"      kgrec support report --run {run.folder}",
        ])  # fmt: skip
