"""Deciding on what is held back, by several at once, over a crash, and about what is no longer there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import warm
from click.testing import CliRunner

import kgrec_core
from kgrec_core.cli.review import review as command
from kgrec_core.run.decisions import Decisions
from kgrec_core.run.review import decide, decided

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
