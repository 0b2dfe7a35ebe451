"""What keeps an FAQ good over time: the log of questions, thumbs and corrections, a review, and the entries as a table again.

Beside the run: RUN.asked.jsonl (what was asked and which entry answered) and RUN.feedback.jsonl. Personal data in both is masked.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import polars as pl

from kgrec_core.data.privacy import mask
from kgrec_core.errors import KgrecError
from kgrec_core.run.run import Run
from kgrec_support import feedback
from kgrec_support.desk import Reply, answering, cut, encoding
from kgrec_support.entries import listed
from kgrec_support.review import Asked, Faq, Review, review


class Taught(NamedTuple):
    """Lines taken; questions that lead to an answer at once; lines that are no feedback, and records nothing can be learned from."""

    taken: int
    learned: int
    faults: list[str]


def beside(run: Run, name: str) -> Path:
    """RUN.NAME.jsonl."""
    return run.folder.with_name(f"{run.folder.name}.{name}.jsonl")


def note(run: Run, question: str, reply: Reply) -> None:
    """Log a question and the entry that answered it, if one did. Raises KgrecError where the file cannot be written."""
    given = reply.answers[0].id if reply.outcome == "answer" or reply.missing else None
    if reply.outcome == "refuse":
        return
    line = json.dumps({"question": mask([cut(question)])[0], "answer_id": given})
    try:
        handle = os.open(beside(run, "asked"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, f"{line}\n".encode())
        finally:
            os.close(handle)
    except OSError as error:
        raise KgrecError(
            f"{beside(run, 'asked')}: the question was not logged ({error}); make it writable, or ask with --no-log"
        ) from error


def asked(run: Run) -> list[Asked]:
    """The log of questions; a line that a crash cut off is left out."""
    file, found = beside(run, "asked"), []
    for raw in file.read_bytes().splitlines() if file.exists() else ():
        try:
            line = json.loads(raw)
            found.append(Asked(str(line["question"]), line["answer_id"]))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def reviewed(run: Run) -> Review:
    """What an editor should look at; see `review`. Raises KgrecError for a run without entries."""
    entries = [Faq(e.id, e.text or "", tuple(e.questions)) for e in listed(run)]
    return review(entries, asked(run), encoding(run, answering(run)))


def taught(run: Run, file: Path | str) -> Taught:
    """Take a file of thumbs and corrections: kept beside the run for the next fit (data.feedback), and found at once where they add a
    question to an entry. A record that is there already is not kept twice. Raises KgrecError where there is no such file."""
    if not Path(file).is_file():
        raise KgrecError(f"feedback: there is no file {file}; name one of JSON lines")
    given, kept = feedback.read(file), beside(run, "feedback")
    before = set(feedback.read(kept).records)
    new = [one for one in given.records if one._replace(question=mask([one.question])[0]) not in before]
    written = [feedback.append(kept, one) for one in new]
    learned = feedback.examples(written, run.graph, answering(run).relation)
    n = len(learned.delta.relations[answering(run).relation])
    if n:
        run.add(learned.delta)
    return Taught(len(new), n, [dead.error for dead in given.dead] + [why for _, why in learned.skipped])


def export(run: Run, file: Path | str) -> int:
    """The living entries as an FAQ table (CSV) that `fit --faq` reads, edits included; returns how many."""
    rows = [(e.id, e.questions[0], "|".join(e.questions[1:]), e.text, e.category, e.locale) for e in listed(run) if e.questions]
    schema = dict.fromkeys(("id", "question", "variants", "answer", "category", "locale"), pl.String)
    try:
        pl.DataFrame(rows, schema=schema, orient="row").write_csv(file)
    except OSError as error:
        raise KgrecError(f"{file} cannot be written ({error}); name another place") from error
    return len(rows)
