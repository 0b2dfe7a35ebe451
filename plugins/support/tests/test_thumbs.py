"""Feedback: what was appended is read again, whatever else is in the file, and becomes edges of a graph."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kgrec_support.thumbs import ANSWERED_BY, Record, append, examples, read, record

from kgrec_core import Graph, KgrecError

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)
thumbs = st.builds(Record, st.integers(0, 2**62), texts, texts, st.sampled_from(["up", "down"]), st.none())
corrections = st.builds(Record, st.integers(0, 2**62), texts, texts.map("a".__add__), st.just("correct"), texts.map("b".__add__))


def graph(dated: bool = False) -> Graph:
    edges = {"source": [0], "target": [0], **({"time": [5]} if dated else {})}
    schema = {"source": pl.UInt32, "target": pl.UInt32, **({"time": pl.Int64} if dated else {})}
    answers = pl.DataFrame({"id": ["freeze", "lost", "old"], "text": ["Freeze it.", "Report it.", "Gone."], "until": [None, None, 7]})
    kinds = {"question": pl.DataFrame({"id": ["q0"], "text": ["freeze card"]}), "answer": answers}
    return Graph(kinds, {ANSWERED_BY: pl.DataFrame(edges, schema=schema)})


@given(st.lists(thumbs | corrections, max_size=6))
def test_what_was_appended_is_read(records):
    with tempfile.TemporaryDirectory() as folder:
        kept = [append(Path(folder) / "new" / "feedback.jsonl", one) for one in records]
        assert read(Path(folder) / "new" / "feedback.jsonl") == (kept, [])
        assert [k._replace(question="") for k in kept] == [r._replace(question="") for r in records]


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_no_line_of_any_bytes_stops_the_reading(lines):
    good = json.dumps(Record(1, "q", "a", "up")._asdict()).encode()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "f.jsonl"
        file.write_bytes(b"\n".join([good, *lines, good]))
        found = read(file)
        assert [r for r in found.records if r == Record(1, "q", "a", "up")] == [Record(1, "q", "a", "up")] * 2
        assert all(str(dead.line) in dead.error and dead.line > 1 for dead in found.dead)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("[1]", "no JSON object"),
        ('{"time": 1', "line 2: Expecting"),
        ("[" * 100_000, "line 2"),
        ('{"time": 1, "question": "q", "answer_id": "a", "verdict": "maybe"}', "none of up, down, correct"),
        ('{"time": 1, "question": "q", "answer_id": "a", "verdict": ["up"]}', "none of up, down, correct"),
        ('{"time": "now", "question": "q", "answer_id": "a", "verdict": "up"}', "microseconds"),
        ('{"time": 1, "question": " ", "answer_id": "a", "verdict": "up"}', "question = ' '"),
        ('{"time": 1, "question": "q", "answer_id": 7, "verdict": "up"}', "answer_id = '7'"),
        ('{"time": 1, "question": "q", "answer_id": "a", "verdict": "correct"}', "correct_answer_id belongs"),
        ('{"time": 1, "question": "q", "answer_id": "a", "verdict": "up", "correct_answer_id": "b"}', "correct_answer_id belongs"),
        ('{"time": 1, "question": "q", "answer_id": "a", "verdict": "correct", "correct_answer_id": "a"}', "no other answer"),
        ('{"time": 1, "question": "q", "answer_id": "a", "verdict": "up", "thumb": 1}', "unknown key 'thumb'"),
        (r'{"time": 1, "question": "\ud800", "answer_id": "a", "verdict": "up"}', "surrogate"),
    ],
)
def test_a_dead_line_is_named_by_its_number(tmp_path, line, error):
    file = tmp_path / "f.jsonl"
    append(file, record("q", "a", "up", time=1))
    with file.open("a") as out:
        out.write(line + "\n\n")
    append(file, record("q", "b", "down", time=2))
    found = read(file)
    assert [r.answer_id for r in found.records] == ["a", "b"]
    assert len(found.dead) == 1 and found.dead[0].line == 2 and error in found.dead[0].error


def test_a_torn_line_costs_only_itself(tmp_path):
    file = tmp_path / "f.jsonl"
    append(file, record("q", "a", "up", time=1))
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:20])
    append(file, record("q", "b", "up", time=2))
    found = read(file)
    assert [r.answer_id for r in found.records] == ["a", "b"] and [dead.line for dead in found.dead] == [2]


def _write(file: Path, process: int) -> None:
    for i in range(25):
        append(file, record("q" * 200, f"{process}-{i}", "up", time=i))


def test_processes_append_together(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(_write, [(tmp_path / "f.jsonl", process) for process in range(2)])
    found = read(tmp_path / "f.jsonl")
    assert not found.dead and {r.answer_id for r in found.records} == {f"{p}-{i}" for p in range(2) for i in range(25)}


def test_personal_data_is_masked_and_faults_are_named(tmp_path):
    assert append(tmp_path / "f", record("mail jo@example.com", "a", "up")).question == "mail <EMAIL>"
    assert "jo@" not in (tmp_path / "f").read_text()
    assert read(tmp_path / "none") == ([], [])
    with pytest.raises(KgrecError, match="not saved"):
        append(tmp_path / "f" / "below", record("q", "a", "up"))
    with pytest.raises(KgrecError, match="none of"):
        record("q", "a", "sideways")
    with pytest.raises(KgrecError, match="cannot be read"):
        read(tmp_path)


@pytest.mark.parametrize("dated", [False, True])
def test_corrections_and_thumbs_up_become_edges(dated):
    given = [
        record("card stolen", "freeze", "correct", "lost", time=10),
        record("card stolen", "lost", "up", time=11),
        record("freeze card", "freeze", "up", time=12),  # known already
        record("freeze card", "lost", "down", time=13),
        record("my card", "nobody", "up", time=14),
        record("my card", "old", "up", time=15),
    ]
    learned = examples(given, graph(dated))
    joined = graph(dated).join(learned.delta)
    assert learned.delta.entities["question"]["text"].to_list() == ["card stolen"] and len(learned.delta.relations[ANSWERED_BY]) == 1
    row = joined.rows("question", learned.delta.entities["question"]["id"].to_list())
    assert joined.adjacent(ANSWERED_BY, row).rows.tolist() == [1]
    assert joined.gather("answer", [1])["text"].to_list() == ["Report it."] and joined.size("answer") == 3
    assert learned.avoid == [("card stolen", "freeze"), ("freeze card", "lost")]
    assert [why for _, why in learned.skipped] == ["answer 'nobody' is unknown", "answer 'old' has ended"]
    again = examples(given, joined)
    assert not len(again.delta.relations[ANSWERED_BY]) and again.avoid == learned.avoid


def test_the_latest_verdict_counts():
    changed = [record("x", "lost", "up", time=2), record("x", "lost", "down", time=3), record("x", "freeze", "down", time=1)]
    learned = examples([*changed, record("x", "freeze", "up", time=4)], graph())
    assert learned.avoid == [("x", "lost")] and learned.delta.entities["answer"]["id"].to_list() == ["freeze"]


@given(st.lists(thumbs.map(lambda r: r._replace(answer_id="lost")), max_size=6))
def test_every_pair_is_learned_once_or_avoided(records):
    learned = examples(records, graph())
    questions = {r.question for r in records}
    edges = learned.delta.relations[ANSWERED_BY]
    texts = learned.delta.entities["question"]["text"].to_list()
    positive = [texts[source] for source in edges["source"].to_list()]
    assert sorted(positive + [q for q, _ in learned.avoid]) == sorted(questions) and not learned.skipped
