"""What people thought of answers: thumbs and corrections, one JSON object a line, kept durably and learned from at the next fit.

{"time": 1714557600000000, "question": "card lost", "answer_id": "freeze", "verdict": "correct", "correct_answer_id": "lost_card"}

A file of lines can be copied, searched and repaired by hand; a line that cannot be read is set aside with its number, never in the way.
"""

from __future__ import annotations

import codecs
import json
import time as _clock
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl

from kgrec_core import Graph, KgrecError, Relation
from kgrec_core.domain import append as append_line
from kgrec_core.domain import opened, readable
from kgrec_core.parts import mask

ANSWERED_BY = Relation("question", "answered_by", "answer")
VERDICTS = ("up", "down", "correct")
KEYS = {"time", "question", "answer_id", "verdict", "correct_answer_id"}


class Record(NamedTuple):
    """One judgement. time: microseconds UTC; answer_id: the answer that was given; correct_answer_id: the right one, of "correct"."""

    time: int
    question: str
    answer_id: str
    verdict: Literal["up", "down", "correct"]
    correct_answer_id: str | None = None


class Dead(NamedTuple):
    """A line that is no record, its number from 1, and why."""

    line: int
    text: str
    error: str


class Read(NamedTuple):
    """What a file of judgements holds."""

    records: list[Record]
    dead: list[Dead]


class Learned(NamedTuple):
    """delta: questions and edges to answers, to be joined; avoid: (question, answer id) that were said to be wrong, for whoever draws
    negatives; skipped: records that cannot be learned from, and why."""

    delta: Graph
    avoid: list[tuple[str, str]]
    skipped: list[tuple[Record, str]]


def record(question: str, answer_id: str, verdict: str, correct_answer_id: str | None = None, time: int | None = None) -> Record:
    """A checked record of now. Raises KgrecError that names the fault."""
    now = int(_clock.time() * 1e6) if time is None else time
    return _checked({"time": now, "question": question, "answer_id": answer_id, "verdict": verdict, "correct_answer_id": correct_answer_id})


def append(file: Path | str, record: Record) -> Record:
    """Write one record at the end; it is on the disk when this returns. Personal data in the question is masked; returns what was written.

    Several processes may append: a record is one write. What a crash left half-written stays a dead line of its own.
    Raises KgrecError where the record is faulty or the file cannot be written.
    """
    path, kept = Path(file), _checked(record._asdict())
    kept = kept._replace(question=mask([kept.question])[0])
    line = json.dumps({key: value for key, value in kept._asdict().items() if value is not None}, ensure_ascii=True)
    try:
        append_line(path, line)
    except OSError as error:
        raise KgrecError(f"{path}: the feedback was not saved ({error}); free space or make the file writable, then repeat it") from error
    return kept


def read(file: Path | str) -> Read:
    """All records in the order of the file; empty where there is no file. Blank lines do not count."""
    path, found = Path(file), Read([], [])
    if not path.exists():
        return found
    with readable(path), opened(path) as file:
        lines = file.read().removeprefix(codecs.BOM_UTF8).split(b"\n")
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        try:
            found.records.append(_checked(json.loads(raw.decode("utf-8"))))
        except (ValueError, RecursionError, KgrecError) as error:
            text = raw.decode("utf-8", "replace").strip()
            found.dead.append(Dead(number, text[:500], f"{path.name} line {number}: {' '.join(str(error).split())}"))
    return found


def examples(records: Iterable[Record], graph: Graph, relation: Relation = ANSWERED_BY) -> Learned:
    """What a fit can learn: an edge for every thumb up and correction.

    Of one question and answer the latest verdict counts. A thumb down and the answer that was corrected go to `avoid`. A question whose
    text the graph has keeps its id, another gets one made of its text, so that the same feedback twice is the same delta; edges that
    the graph has are left out. Skipped: an answer that is unknown or has ended.
    """
    kind, target = relation.source, relation.target
    verdicts: dict[tuple[str, str], tuple[bool, int]] = {}
    skipped = []
    for one in sorted(records, key=lambda r: r.time):
        pairs = [(one.answer_id, one.verdict == "up")]
        if one.correct_answer_id is not None:
            pairs.append((one.correct_answer_id, True))
        for id, good in pairs:
            row = int(graph.rows(target, [id])[0])
            if row < 0 or not graph.alive(target)[row]:
                skipped.append((one, f"answer {id!r} {'is unknown' if row < 0 else 'has ended'}"))
            else:
                verdicts[one.question, id] = (good, one.time)
    known = graph.entities[kind] if kind in graph.entities else pl.DataFrame({"id": []})
    ids = dict(zip(known["text"].to_list(), known["id"].to_list(), strict=True)) if "text" in known.columns else {}
    edges = []
    for (question, answer), (good, time) in verdicts.items():
        id = ids.setdefault(question, f"feedback-{blake2b(question.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}")
        if good and not _linked(graph, relation, id, answer):
            edges.append((id, question, answer, time))
    avoid = [pair for pair, (good, _) in verdicts.items() if not good]
    return Learned(_delta(edges, relation, relation in graph.relations and graph.dated(relation)), avoid, skipped)


def _linked(graph: Graph, relation: Relation, question: str, answer: str) -> bool:
    if relation not in graph.relations:
        return False
    row = graph.rows(relation.source, [question])
    return bool(row[0] >= 0 and (graph.adjacent(relation, row).rows == graph.rows(relation.target, [answer])[0]).any())


def _delta(edges: list[tuple[str, str, str, int]], relation: Relation, dated: bool) -> Graph:
    questions, answers = {id: text for id, text, _, _ in edges}, dict.fromkeys(answer for _, _, answer, _ in edges)
    number = {id: n for n, id in enumerate(questions)}, {id: n for n, id in enumerate(answers)}
    table = {
        "source": pl.Series([number[0][id] for id, *_ in edges], dtype=pl.UInt32),
        "target": pl.Series([number[1][answer] for _, _, answer, _ in edges], dtype=pl.UInt32),
    }
    if dated:
        table["time"] = pl.Series([time for *_, time in edges], dtype=pl.Int64)
    kinds = {
        relation.source: pl.DataFrame(
            {"id": list(questions), "text": list(questions.values())}, schema={"id": pl.String, "text": pl.String}
        ),
        relation.target: pl.DataFrame({"id": list(answers)}, schema={"id": pl.String}),
    }
    return Graph(kinds, {relation: pl.DataFrame(table)})


def _checked(given: Any) -> Record:
    if not isinstance(given, dict):
        raise KgrecError(f"{str(given)[:40]!r} is no JSON object; a line is {{time, question, answer_id, verdict, correct_answer_id?}}")
    if stray := set(given) - KEYS:
        raise KgrecError(f"unknown key {min(stray)!r}; known: {', '.join(sorted(KEYS))}")
    time, correct = given.get("time"), given.get("correct_answer_id")
    if not isinstance(time, int) or isinstance(time, bool) or not 0 <= time < 2**63:
        raise KgrecError(f"time = {str(time)[:40]} is no number of microseconds since 1970")
    for key in ("question", "answer_id"):
        if not isinstance(given.get(key), str) or not given[key].strip():
            raise KgrecError(f"{key} = {str(given.get(key))[:40]!r} is no text; it names what was judged")
    if given.get("verdict") not in VERDICTS:
        raise KgrecError(f"verdict = {str(given.get('verdict'))[:40]!r} is none of {', '.join(VERDICTS)}")
    if (given["verdict"] == "correct") != (correct is not None):
        raise KgrecError('correct_answer_id belongs to verdict "correct", and only to it')
    if correct is not None and (not isinstance(correct, str) or not correct.strip() or correct == given["answer_id"]):
        raise KgrecError(f"correct_answer_id = {str(correct)[:40]!r} is no other answer's id")
    try:
        for value in given.values():
            str(value).encode()
    except UnicodeEncodeError:
        raise KgrecError("a text holds half a character (a lone surrogate); write it again") from None
    return Record(time, given["question"], given["answer_id"], given["verdict"], correct)
