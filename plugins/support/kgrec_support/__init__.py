"""Customer service for kgrec: the right answer for this question, or none. Importing this imports nothing heavy.

import kgrec_core, kgrec_support

run = kgrec_core.open_run("runs/faq")
reply = kgrec_support.ask(run, "Where is my parcel?", budget=0.03)
kgrec_support.add(run, "Do you deliver on Sundays?", "No, from Monday to Saturday.")
"""

from __future__ import annotations

from kgrec_core import Component, Domain, Verb, hookimpl
from kgrec_core.domain import words


def _verb(request: str, function: str, kind: str, help: str, shown: str) -> Verb:
    answered = ("answered_by",)
    return Verb(f"kgrec_support.verbs:{request}", f"kgrec_support.{function}", kind, help, f"kgrec_support.shown:{shown}", needs=answered)


DOMAIN = Domain(
    "support",
    "kgrec_support:recipe.toml",
    "Answers for customers, from an FAQ, labelled questions and old dialogues; and when not to answer.",
    verbs={
        "ask": _verb("Ask", "desk:ask", "ask", "Answer one question, ask back, hand over or refuse.", "told"),
        "add": _verb("Add", "entries:add", "edit", "Add an entry that answers from now on.", "edited"),
        "edit": _verb("Edit", "entries:edit", "edit", "Change an entry's answer or give it more questions.", "edited"),
        "remove": _verb("Remove", "entries:remove", "edit", "Remove entries.", "removed"),
        "list": _verb("List", "upkeep:listed", "job", "List the entries, or write them as a table.", "listed"),
        "undo": _verb("Undo", "entries:undo", "edit", "Take the last edit back.", "undone"),
        "review": _verb(
            "Review", "upkeep:reviewed", "job", "Show duplicates, contradictions, confusions and what is asked in vain.", "reviewed"
        ),
        "feedback": _verb(
            "Feedback", "upkeep:taught", "edit", "Take thumbs and corrections, found at once, learned at the next fit.", "taught"
        ),
        "recalibrate": _verb("Recalibrate", "upkeep:recalibrated", "edit", "Learn again how sure an answer is, after edits.", "promised"),
    },
    files="kgrec_support.files:Files",
    after_fit="kgrec_support.shown:after_fit",
    demo="kgrec_support.demo:Demo",
    desk={"search": "list", "add": "add", "edit": "edit", "remove": "remove", "undo": "undo", "look": "review"},
    commands={"chat": ("kgrec_support.cli.chat:chat", "Talk to a run in the terminal.")},
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


_PLACES = {
    "desk": "Reply composed",
    "entries": "Edited Entry",
    "talk": "Talk",
    "verbs": "Add Ask Chat Edit Feedback List Recalibrate Remove Review Undo",
}
__getattr__, __dir__, __all__ = words(__name__, DOMAIN, _PLACES)
