"""Customer service for kgrec: the right answer for this question, or none. Importing this imports nothing heavy.

import kgrec_core, kgrec_support

run = kgrec_core.open_run("runs/faq")
reply = kgrec_support.ask(run, "Where is my parcel?", budget=0.03)
kgrec_support.add(run, ["Do you deliver on Sundays?"], "No, from Monday to Saturday.")
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from kgrec_core import Component, Domain, hookimpl

_PLACES = {
    "desk": ("Reply", "ask", "composed"),
    "entries": ("add", "edit", "listed", "remove", "undo"),
    "upkeep": ("export", "note", "reviewed", "taught"),
}
__all__ = ["DOMAIN", "Reply", "add", "ask", "composed", "edit", "export", "listed", "note", "remove", "reviewed", "taught", "undo"]

DOMAIN = Domain(
    "support",
    "kgrec_support:recipe.toml",
    "Answers for customers, from an FAQ, labelled questions and old dialogues; and when not to answer.",
    commands={
        "demo": ("kgrec_support.commands:demo", "Fit the embedded questions to a bank, show figures, ask three questions."),
        "fit": ("kgrec_support.commands:fit", "Fine-tune on your FAQ, intents or dialogues, test once and write a run."),
        "ask": ("kgrec_support.commands:ask", "Answer one question, ask back, hand over or refuse."),
        "chat": ("kgrec_support.commands:chat", "Talk to a run in the terminal."),
        "add": ("kgrec_support.editing:add", "Add an entry that answers from now on."),
        "edit": ("kgrec_support.editing:edit", "Change an entry's answer or give it more questions."),
        "remove": ("kgrec_support.editing:remove", "Remove entries."),
        "list": ("kgrec_support.editing:list_entries", "List the entries, or write them as a table."),
        "undo": ("kgrec_support.editing:undo", "Take the last edit back."),
        "review": ("kgrec_support.editing:review", "Show duplicates, contradictions, confusions and what is asked in vain."),
        "feedback": ("kgrec_support.editing:feedback", "Take thumbs and corrections, found at once, learned at the next fit."),
        "recalibrate": ("kgrec_support.editing:recalibrate", "Learn again how sure an answer is, after edits."),
    },
)


@hookimpl
def kgrec_data() -> list[Component]:
    return [
        Component("support", "kgrec_support.data:Support", "an FAQ, labelled questions and dialogue logs, from your own files"),
        Component("banking", "kgrec_support.sample:Banking", "13,083 questions to a bank, 77 intents with answers, in the package"),
    ]


@hookimpl
def kgrec_domain() -> list[Domain]:
    return [DOMAIN]


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"kgrec_support.{module}"), name)
    raise AttributeError(f"module 'kgrec_support' has no attribute '{name}'")
