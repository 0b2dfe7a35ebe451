"""The log of edits: whole edits or none, known by content, read without writing."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Relation
from kgrec_core.run.entry import Entry
from kgrec_core.run.log import Live, Mark

ROOT = Path(__file__).parents[2]
LIKES = Relation("user", "likes", "item")


def entry(number: int) -> Entry:
    kinds = {kind: pl.DataFrame({"id": [f"{kind}{number}"], "n": [number]}) for kind in ("item", "user")}
    ends = {end: pl.Series([0], dtype=pl.UInt32) for end in ("source", "target")}
    return Entry(Graph(kinds, {LIKES: pl.DataFrame(ends | {"time": [number]})}, present=number), {"item": kinds["item"].clear()})


def filled(folder: Path, edits: int) -> tuple[Live, list[Mark]]:
    live, marks = Live(folder / "run", "x"), [Mark()]
    for number in range(1, edits + 1):
        marks.append(live.append(entry(number), marks[-1]))
    return live, marks


def numbers(live: Live) -> list[int]:
    return [e.delta.entities["item"]["n"].item() for _, e in live.after(Mark())]


def test_entries_come_back_as_they_were_written(tmp_path):
    live, marks = filled(tmp_path, 3)
    again = Live(tmp_path / "run", "x").after(marks[1])
    assert [mark for mark, _ in again] == marks[2:]
    found = again[0][1]
    assert found.delta.present == 2 and found.delta.entities["user"]["id"].to_list() == ["user2"]
    assert found.delta.relations[LIKES].equals(entry(2).delta.relations[LIKES])
    assert found.old["item"].is_empty() and found.undoes is None
    assert live.current(marks[3]) and not live.current(marks[2])


def test_of_two_writers_at_one_place_one_is_told_that_the_log_went_on(tmp_path):
    live, marks = filled(tmp_path, 1)
    other = Live(tmp_path / "run", "x")
    assert live.append(entry(2), marks[1]) is not None
    assert other.append(entry(9), marks[1]) is None
    assert numbers(other) == [1, 2]


def overwrite(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(statement)


HARM = {
    "deleted": (lambda file, old: file.unlink(), "was deleted while the run was open"),
    "emptied": (lambda file, old: file.write_bytes(b""), "was emptied while the run was open"),
    "replaced by an earlier copy": (lambda file, old: shutil.copy(old, file), "was cut or replaced while the run was open"),
    "moved over": (
        lambda file, old: shutil.copy(old, old.with_suffix(".2")) and os.replace(old.with_suffix(".2"), file),
        "was cut or replaced",
    ),
    "cut": (lambda file, old: overwrite(file, "DELETE FROM delta WHERE number > 1"), "was cut or replaced"),
    "overwritten": (lambda file, old: file.write_bytes(b"nonsense " * 999), "is damaged or locked"),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_happens_to_a_log_that_is_open_is_noticed_by_name(tmp_path, harm):
    live, marks = filled(tmp_path, 2)
    old = Path(shutil.copy(live.file, tmp_path / "earlier"))
    marks.append(live.append(entry(3), marks[2]))
    do, told = HARM[harm]
    do(live.file, old)
    for call in (lambda: live.current(marks[3]) or live.after(marks[3]), lambda: live.append(entry(4), marks[3]) or live.after(marks[3])):
        with pytest.raises(KgrecError, match=told) as caught:
            call()
        assert str(live.file) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE part SET body = (SELECT body FROM part WHERE number = 1 AND place = 0) WHERE number = 2 AND place = 0",
        "DELETE FROM delta WHERE number = 2",
        "UPDATE delta SET head = replace(head, '\"time\": 2', '\"time\": 7') WHERE number = 2",
    ],
)
def test_an_entry_that_is_not_what_was_written_is_refused(tmp_path, statement):
    live, _ = filled(tmp_path, 3)
    overwrite(live.file, statement)
    with pytest.raises(KgrecError, match=r"is damaged: edit [23] does not follow what is before it"):
        Live(tmp_path / "run", "x").after(Mark())


def test_the_log_of_another_run_is_refused(tmp_path):
    _, marks = filled(tmp_path, 1)
    other = Live(tmp_path / "run", "y")
    for call in (other.start, lambda: other.after(Mark()), lambda: other.append(entry(2), marks[1])):
        with pytest.raises(KgrecError, match="holds edits of another run in this place"):
            call()


def test_a_child_process_reads_on_after_a_fork(tmp_path):
    live, marks = filled(tmp_path, 1)
    assert live.current(marks[1])
    child = os.fork()
    if not child:
        fine = live.current(marks[1]) and live.append(entry(2), marks[1]) is not None
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not live.current(marks[1]) and numbers(live) == [1, 2]


def test_reading_writes_nothing(tmp_path):
    live, marks = filled(tmp_path, 2)
    before = [(p.name, p.read_bytes()) for p in sorted(tmp_path.iterdir())]
    reader = Live(tmp_path / "run", "x")
    assert reader.start() == (Mark(), 0) and len(reader.after(Mark())) == 2 and reader.current(marks[2])
    assert [(p.name, p.read_bytes()) for p in sorted(tmp_path.iterdir())] == before == [("run.live.sqlite", live.file.read_bytes())]
    none = Live(tmp_path / "other", "x")
    assert none.start() == (Mark(), 0) and none.after(Mark()) == [] and none.current(Mark()) and not none.file.exists()


def test_readers_answer_on_a_disk_that_cannot_be_written_to(tmp_path):
    _, marks = filled(tmp_path, 2)
    mounted = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
    if not mounted:
        pytest.skip("needs the right to mount a folder read-only")
    script = (
        "import sys; from pathlib import Path; from kgrec_core.run.log import Live, Mark\n"
        f"live = Live(Path({str(tmp_path / 'run')!r}), 'x')\n"
        "assert len(live.after(Mark())) == 2\n"
        f"assert live.current(Mark(2, {marks[2].head!r}))\n"
        "from kgrec_core.errors import KgrecError\n"
        "from kgrec_core.run.entry import Entry\n"
        "try: live.append(Entry(), live.after(Mark())[-1][0])\n"
        "except KgrecError as error: assert 'was not saved' in str(error), error\n"
        "else: sys.exit('written?')\n"
    )
    shell = f'mount --bind {tmp_path} {tmp_path} && mount -o remount,ro,bind {tmp_path} && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", shell, sys.executable, script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


KILLED = """
import os, signal, sys
from contextlib import contextmanager
from itertools import count
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_log import Live, Mark, entry

class Killed(Live):
    @contextmanager
    def _writing(self, told):
        with super()._writing(told) as db:
            db.set_trace_callback(lambda sql: sys.argv[2] in sql and next(seen) == 3 and os.kill(os.getpid(), signal.SIGKILL))
            yield db

seen, live, mark = count(), Killed(Path(sys.argv[1]), "x"), Mark()
for number in range(1, 9):
    mark = live.append(entry(number), mark)
"""


@pytest.mark.parametrize("when", ["INTO delta", "COMMIT"])
def test_killed_in_the_middle_of_an_edit_whole_edits_stay(tmp_path, when):
    """Killed before the fourth edit's head was written, and when all of it was but not committed."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run"), when, str(Path(__file__).parent)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    live = Live(tmp_path / "run", "x")
    assert numbers(live) == [1, 2, 3]
    assert live.append(entry(4), live.after(Mark())[-1][0]).number == 4


def test_what_a_killed_writer_left_in_the_file_is_taken_back_by_the_next_reader(tmp_path):
    """A journal beside the file, as where a commit had begun to write it: it still holds the pages of before."""
    live, marks = filled(tmp_path, 2)
    script = (
        "import os, signal, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size = 1'); db.execute('BEGIN IMMEDIATE')\n"
        "for i in range(500): db.execute('INSERT INTO part VALUES (?, 0, randomblob(5000))', (i + 100,))\n"  # spills into the file
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(live.file)], capture_output=True, check=False)
    journal = live.file.with_name(f"{live.file.name}-journal")
    assert done.returncode == -signal.SIGKILL and journal.stat().st_size > 512
    assert live.current(marks[2]) and numbers(Live(tmp_path / "run", "x")) == [1, 2]
    assert not journal.exists()


def test_an_empty_log_is_told_when_a_run_is_opened(tmp_path, caplog):
    assert Live(tmp_path / "run", "x").start() == (Mark(), 0) and not caplog.messages
    (tmp_path / "run.live.sqlite").touch()  # a first edit that found no room leaves it, too, so that it is none of the faults
    live = Live(tmp_path / "run", "x")
    assert live.start() == (Mark(), 0)
    assert [text.partition(" is empty: ")[2] for text in caplog.messages] == [
        "no edit was ever saved in it, or all are lost; restore it where there were any, else remove it"
    ]
    assert live.append(entry(1), Mark()) is not None and numbers(live) == [1]
    caplog.clear()
    assert Live(tmp_path / "run", "x").start() == (Mark(), 0) and not caplog.messages
