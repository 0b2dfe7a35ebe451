"""What keeps an FAQ good over time: a review, thumbs and corrections, the calibration, and the entries as a table again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from kgrec_core import KgrecError
from kgrec_core.domain import Calibration, Run, Snapshot, choices, each, guarded, output, refuse_foreign
from kgrec_core.parts import mask
from kgrec_support import thumbs
from kgrec_support.asked import asked, beside
from kgrec_support.desk import answering, encoding
from kgrec_support.entries import Entry, entries
from kgrec_support.faq import as_cell
from kgrec_support.quality import Asked, Faq, Review, review
from kgrec_support.verbs import Feedback, List, Recalibrate
from kgrec_support.verbs import Review as Wanted

BUDGETS = (0.03, 0.05, 0.1)  # that a calibration is asked for
FEWEST = 50  # questions asked that say how many have no answer


class Taught(NamedTuple):
    """Lines taken; questions that lead to an answer at once; lines that are no feedback, and records nothing can be learned from."""

    taken: int
    learned: int
    faults: list[str]


def reviewed(run: Run, request: Wanted, progress: Any = None) -> Review:
    """What an editor should look at; see `review`. Raises KgrecError for a run without entries."""
    snapshot = run.snapshot
    found, log = [Faq(e.id, e.text or "", tuple(e.questions)) for e in entries(snapshot)], asked(run.folder)
    task = answering(snapshot)
    return replace(review(found, log, encoding(snapshot, task)), promise=watched(snapshot.calibration(task.name), log))


def watched(calibration: Calibration | None, log: Sequence[Asked], budget: float = 0.05) -> str | None:
    """Whether as many questions have no answer as the budgets are stated for, by how sure the answers were; None = it cannot be told."""
    sure = [line.probability for line in log if line.probability is not None]
    threshold = calibration.guarantee(budget).threshold if calibration else 2.0
    between = calibration.strangers_among(sum(p >= threshold for p in sure), len(sure), threshold) if threshold <= 1 else None
    if between is None or len(sure) < FEWEST or calibration.share is None:
        return None
    low, high = between
    seen = f"Of {len(sure):,} questions asked {low:.0%} to {high:.0%} seem to have no answer here; budgets are stated for {calibration.share:.0%}"
    if low <= calibration.share <= high:
        return f"{seen}."
    return f"{seen}. They do not hold for these questions: recalibrate --out-of-scope {(low + high) / 2:.2f}"


@each
def taught(run: Run, request: Feedback) -> Taught:
    """Take a file of thumbs and corrections: kept beside the run for the next fit (data.feedback), and found at once where they add a
    question to an entry. A record that is there already is not kept twice. Raises KgrecError where there is no such file."""
    if not request.file.is_file():
        raise KgrecError(f"feedback: there is no file {request.file}; name one of JSON lines")
    refuse_foreign(request.file)
    given, kept = thumbs.read(request.file), beside(run.folder, "feedback")
    before = set(thumbs.read(kept).records)
    new = [one for one in given.records if one._replace(question=mask([one.question])[0]) not in before]
    written = [thumbs.append(kept, one) for one in new]
    learned = thumbs.examples(written, run.graph, answering(run).relation)
    n = len(learned.delta.relations[answering(run).relation])
    if n:
        run.add(learned.delta)
    return Taught(len(new), n, [dead.error for dead in given.dead] + [why for _, why in learned.skipped])


@each
def recalibrated(run: Run, request: Recalibrate) -> dict[str, str]:
    """`promises` of the calibration learned again by what the run finds now."""
    return promises(run.recalibrate(answering(run).name, request.out_of_scope))


def promises(calibration: Calibration) -> dict[str, str]:
    """Budget -> what the calibration says of it."""
    return {str(budget): str(calibration.guarantee(budget)) for budget in BUDGETS}


def listed(run: Run, request: List, progress: Any = None) -> list[Entry] | list[dict[str, Any]] | int:
    """The entries that have all the words; with `history` the edits; with `faq` how many were written to that file."""
    if request.faq is not None:
        return export(run.snapshot, request.faq)
    return run.edits() if request.history else entries(run.snapshot, " ".join(request.words), request.removed)


def export(snapshot: Snapshot, file: Path | str) -> int:
    """The living entries as an FAQ table (CSV) that `fit --faq` reads as the same entries, edits included; returns how many."""
    found = [e for e in entries(snapshot) if e.questions]
    rows = [
        (e.id, e.questions[0], as_cell(e.questions[1:]), e.text, e.category, _written(e.since), _written(e.until), e.locale) for e in found
    ]
    names = ("id", "question", "variants", "answer", "category", "valid_from", "valid_until", "locale")
    if (file := Path(file)).suffix.lower() != ".csv":
        raise choices("format of an FAQ that is written", file.suffix, [".csv"])
    with output(file, remedy="name another place") as place:
        guarded(pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")).write_csv(place)
    return len(rows)


def _written(time: int | None) -> str | None:
    return None if time is None else datetime.fromtimestamp(time / 1e6, UTC).isoformat(timespec="microseconds")
