"""Deciding on what is held back, by several at once, over a crash, and about what is no longer there."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import polars as pl
import pytest
import warm
from click.testing import CliRunner

import kgrec_core
from kgrec_core.cli.review import review as command
from kgrec_core.errors import Conflict, KgrecError
from kgrec_core.run.decisions import Decisions, fingerprint
from kgrec_core.run.review import decide, decided, queue

KILLED = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
for n in range(2000):
    db.execute("INSERT INTO decision (id, text, verdict, why, by, at) VALUES (?, ?, 'block', '', 'b', 0)", (f"r{n % 9}", "x" * 900))
os._exit(9)
"""


def ran(run: Path, *words: str):
    return CliRunner().invoke(command, [str(run), *words], env={"LOGNAME": "jo"})


def test_a_decision_that_was_cut_off_is_taken_back_by_the_next_reader(tmp_path):
    of = Decisions(tmp_path / "run.review.sqlite")
    of.decide({"r1": "red"}, "allow", "a")
    warm.run(["-c", KILLED, of.file], timeout=60)
    assert of.file.with_name("run.review.sqlite-journal").stat().st_size
    assert [one.id for one in of.latest().values()] == ["r1"] and of.latest()["r1"].verdict == "allow"


def test_names_of_folders_are_no_addresses(tmp_path):
    folder = tmp_path / "50% off?mode=rw#1"
    folder.mkdir()
    Decisions(folder / "run.review.sqlite").decide({"r1": "red"}, "block", "a")
    assert list(Decisions(folder / "run.review.sqlite").latest()) == ["r1"]


def test_a_change_within_a_tick_of_the_clock_is_a_change(tmp_path):
    of = Decisions(tmp_path / "run.review.sqlite")
    of.decide({"r1": "red"}, "block", "a")
    before, stat = of.mark(), of.file.stat()
    of.decide({"r2": "red"}, "block", "b")
    os.utime(of.file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert of.file.stat().st_size == stat.st_size and of.mark() != before


def test_all_is_decided_or_nothing_and_what_is_gone_can_be_undone(copy):
    run = kgrec_core.open_run(copy)
    decide(run.snapshot, ["r1", "r2"], "block", "a")
    Decisions(copy.with_name(f"{copy.name}.review.sqlite")).decide({"r0-of-old": "gone"}, "block", "a")
    for words, said in (
        (("--allow", "r1", "--block", "absent"), "no item of this run"),
        (("--allow", "r3", "--undo", "r3"), "r3 is to be allowed and undone; choose one"),
        (("--undo", "absent"), "no item of this run"),
    ):
        assert said in str(ran(copy, *words).exception)
    assert {one.id: one.verdict for one in decided(run.snapshot)} == {"r1": "block", "r2": "block", "r0-of-old": "block"}
    assert ran(copy, "--undo", "r0-of-old", "--undo", "r2").exit_code == 0
    assert {one.id for one in decided(run.snapshot)} == {"r1"}


def test_who_decides_may_have_no_name(copy):
    code = f"from kgrec_core.cli.review import review; import os; os.getuid = lambda: 54321; review([{str(copy)!r}, '--block', 'r1'])"
    env = {name: value for name, value in os.environ.items() if name not in ("LOGNAME", "USER", "LNAME", "USERNAME")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-500:]
    assert decided(kgrec_core.open_run(copy).snapshot)[0].by == "54321"


def test_of_two_who_decide_at_once_the_second_is_told_and_nothing_is_written_twice(tmp_path):
    file, start = tmp_path / "run.review.sqlite", Barrier(4)

    def deciding(verdict: str, by: str) -> list[str]:
        start.wait()
        told = []
        for n in range(25):
            try:
                Decisions(file).decide({f"r{n}": "red"}, verdict, by)
            except Conflict as error:
                told.append(str(error))
        return told

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(deciding, ["allow", "block", "allow", "allow"], ["ann", "bob", "cem", "ann"]))
    with sqlite3.connect(file) as db:
        assert db.execute("SELECT COUNT(*), COUNT(DISTINCT id) FROM decision").fetchone() == (25, 25)
    stands = Decisions(file).latest()
    for who, of in (("bob", told[1]), ("cem", told[2])):
        assert len(of) == sum(one.by != who for one in stands.values())
        assert all(" was allowed by " in one or " was blocked by " in one for one in of)


def test_one_decision_of_several_that_stands_against_another_decides_nothing(copy):
    run = kgrec_core.open_run(copy)
    decide(run.snapshot, ["r1"], "block", "ann", "=sharp")
    told = str(ran(copy, "--by", "bob", "--block", "r2", "--allow", "r1").exception)
    assert "r1 was blocked by ann" in told and "=sharp" in told and "--undo r1" in told
    assert {one.id for one in decided(run.snapshot)} == {"r1"}
    assert ran(copy, "--by", "ann", "--allow", "r1").exit_code == 0, "one may change one's own mind"
    assert ran(copy, "--by", "bob", "--undo", "r1").exit_code == 0 and decided(run.snapshot) == []
    assert "no decision on r1 stands" in str(ran(copy, "--by", "bob", "--undo", "r1").exception)


def test_a_decision_is_on_what_was_seen(copy):
    """A page that somebody left open shows a text, or a decision, of before."""
    copy.with_name(f"{copy.name}.safety.toml").write_text('[hold]\nids = ["r3"]')
    run = kgrec_core.open_run(copy)
    (seen,) = queue(run.snapshot)
    run.add(kgrec_core.Graph({"item": pl.DataFrame({"id": ["r3"], "text": ["a red knife"]})}))
    with pytest.raises(Conflict, match="r3 has another text"):
        decide(run.snapshot, ["r3"], "allow", "ann", seen=seen.seen)
    decide(run.snapshot, ["r3"], "allow", "ann", seen=queue(run.snapshot)[0].seen)
    decide(run.snapshot, ["r3"], "allow", "ann", seen=fingerprint("a red knife"))  # sent twice
    (allowed,) = decided(run.snapshot)
    with pytest.raises(Conflict, match="was allowed by ann"):
        decide(run.snapshot, ["r3"], "block", "ann", seen=fingerprint("a red knife"))
    decide(run.snapshot, ["r3"], "block", "ann")
    with pytest.raises(Conflict, match="was blocked by ann"):
        decide(run.snapshot, ["r3"], "open", "bob", seen=allowed.seen)
    assert [one.verdict for one in decided(run.snapshot)] == ["block"]
    decide(run.snapshot, ["r3"], "open", "bob", seen=decided(run.snapshot)[0].seen)
    with pytest.raises(KgrecError, match="no decision on r3 stands"):
        decide(run.snapshot, ["r3"], "open", "bob", seen=allowed.seen)


def test_what_has_no_text_can_be_allowed(copy):
    copy.with_name(f"{copy.name}.safety.toml").write_text('[hold]\nids = ["n1"]')
    run = kgrec_core.open_run(copy)
    run.add(kgrec_core.Graph({"item": pl.DataFrame({"id": ["n1"], "text": [""]})}))
    (held,) = queue(run.snapshot)
    decide(run.snapshot, ["n1"], "allow", "ann", seen=held.seen)
    assert queue(run.snapshot) == []
