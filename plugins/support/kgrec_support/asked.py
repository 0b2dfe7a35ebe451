"""What a run was asked, beside it in RUN.asked.jsonl, for `review`: a question and the entry that answered it; personal data masked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from kgrec_core import KgrecError
from kgrec_core.domain import append
from kgrec_core.parts import mask
from kgrec_support.plain import cut
from kgrec_support.quality import Asked

if TYPE_CHECKING:
    from kgrec_support.desk import Reply


def beside(run: Path, name: str) -> Path:
    """RUN.NAME.jsonl."""
    return run.with_name(f"{run.name}.{name}.jsonl")


def note(run: Path, question: str, reply: Reply) -> None:
    """Log a question and the entry that answered it, if one did. Raises KgrecError where the file cannot be written."""
    given = reply.answers[0].id if reply.outcome == "answer" or reply.missing else None
    if reply.outcome == "refuse":
        return
    line = json.dumps({"question": mask([cut(question)])[0], "answer_id": given, "probability": reply.probability})
    try:
        append(beside(run, "asked"), line, sync=False)
    except OSError as error:
        raise KgrecError(
            f"{beside(run, 'asked')}: the question was not logged ({error}); make it writable, or ask with --no-log"
        ) from error


def asked(run: Path) -> list[Asked]:
    """The log of questions; a line that a crash cut off, or that is another's, is left out."""
    file, found = beside(run, "asked"), []
    for raw in file.read_bytes().splitlines() if file.exists() else ():
        try:
            line = json.loads(raw)
            one = Asked(line["question"], line["answer_id"], line.get("probability"))
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
            continue
        if isinstance(one.question, str) and isinstance(one.answer_id, str | None) and isinstance(one.probability, int | float | None):
            found.append(one)
    return found
