"""Results of support's verbs as a person at a terminal reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kgrec_core.domain import columns, told_why, uncalibrated

if TYPE_CHECKING:
    from kgrec_core.domain import Run
    from kgrec_support.desk import Reply
    from kgrec_support.entries import Edited, Entry
    from kgrec_support.quality import Review as Found
    from kgrec_support.upkeep import Taught
    from kgrec_support.verbs import Feedback, List, Recalibrate, Remove, Review, Undo

WIDE, SHOWN = 70, 3  # characters of a text in a table; entries whose reasons are shown


def told(reply: Reply, request: Any = None, reason: bool = True) -> str:
    lines = [f"{reply.outcome}: {reply.text}"]
    if reply.composed is not None:
        said = reply.composed.cited() or "nothing that is about it"
        lines.append(f"  the entries say ({reply.composed.method}, no budget speaks for it): {said}")
        lines += [f"  {reply.composed.reason}"] if reply.composed.reason else []
    if reason:
        from kgrec_support.decide import named

        cited = f"  [{', '.join(a.id for a in reply.answers)}]" if reply.answers else ""
        lines.append(f"  why: {reply.reason}{cited}")
        if reply.outcome == "hand over" and reply.found:
            lines.append(f"  nearest: {named(reply.found[0])}  [{reply.found[0].id}]")
        lines += [f"  intent: {reply.intent.id}"] if reply.intent else []
        lines += told_why(reply.found[:SHOWN])
    return "\n".join(lines)


def edited(made: Edited, request: Any) -> str:
    new, known = len(made.new), len(made.known)
    added = f"{new} question{'s' if new != 1 else ''} added" if new else "no new question"
    return f"{made.id}: {added}{f', {known} it had already' if known else ''}; in force from now on"


def removed(ids: list[str], request: Remove) -> str:
    return f"removed: {', '.join(ids)}"


def undone(number: int, request: Undo) -> str:
    return f"edit {number} is taken back"


def listed(found: list[Entry] | list[dict[str, Any]] | int, request: List) -> str:
    if request.faq is not None:
        return f"{found:,} entries written to {request.faq}"
    if request.history:
        rows = [(str(e["number"]), _moment(e["time"]), _what(e)) for e in found]
        return columns([("edit", "UTC", "what"), *rows])
    rows = [(e.id, str(len(e.questions)), _short(e.questions[0] if e.questions else ""), _short(e.text or "")) for e in found]
    return columns([("id", "questions", "first question", "answer"), *rows])


def reviewed(found: Found, request: Review) -> str:
    return str(found)


def taught(found: Taught, request: Feedback) -> str:
    lines = [f"{found.taken:,} taken, {found.learned:,} questions lead to an answer from now on"]
    return "\n".join([*lines, *(f"left out: {fault}" for fault in found.faults)])


def promised(promises: dict[str, str], request: Recalibrate | None = None) -> str:
    return "\n".join(f"budget {float(budget):.0%}: {said}" for budget, said in promises.items())


def after_fit(run: Run, progress: Any) -> str:
    """Calibrated on the published run, which knows more questions than the one that was tested; what a few budgets then promise."""
    from kgrec_support.desk import answering
    from kgrec_support.upkeep import promises

    progress("calibration on all questions", 0, 0)
    for task in run.tasks:
        if (made := run.calibration(task.name)) is not None and not made.pseudo:
            run.recalibrate(task.name)
    calibration = run.calibration((task := answering(run)).name)
    if calibration is None:
        return f"no calibration: {uncalibrated(run.graph, task)}; until then only questions known word for word are answered"
    return promised(promises(calibration))


def _what(edit: dict[str, Any]) -> str:
    return f"takes back {edit['undoes']}" if edit["undoes"] else ", ".join(f"{n} {kind}" for kind, n in edit["entities"].items())


def _moment(time: int) -> str:
    return datetime.fromtimestamp(time / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= WIDE else text[: WIDE - 1] + "…"
