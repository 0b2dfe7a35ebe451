"""Edits of a published run: graph deltas and calibrations in RUN.live.sqlite beside it, committed before they are seen.

Reading never writes: one connection a process, opened read-only. The log is known by content: every entry tells the hash of all
before it, so that one that was cut, replaced or put back in part is noticed by whoever has read further.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple
from urllib.parse import quote

from kgrec_core.errors import NotSaved, Unreadable
from kgrec_core.owners import made
from kgrec_core.run.entry import Entry, chained, read, written
from kgrec_core.stored import document, framed, stream

log = logging.getLogger("kgrec")
WAIT = 30  # seconds for another process that is committing
REMEDY = "restore it, or move it away and open the run again without its edits"
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS delta (number INTEGER PRIMARY KEY, head TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS part (number INTEGER, place INTEGER, body BLOB, PRIMARY KEY (number, place))",
    "CREATE TABLE IF NOT EXISTS run (data TEXT PRIMARY KEY, start INTEGER NOT NULL, learned INTEGER NOT NULL)",
)


class Mark(NamedTuple):
    """How far a log was read: the last entry's number and its head as it is written, which holds the hash of all before it."""

    number: int = 0
    head: str = ""


class Live:
    """The log of one run, which `data` (its manifest's checksum) identifies; safe for several processes, threads and after a fork."""

    def __init__(self, run: Path, data: str) -> None:
        self.file, self.data = run.with_name(f"{run.name}.live.sqlite"), data
        self._kept = _Kept(self.file)

    # --- reading ----------------------------------------------------------------------------------------------------
    def start(self) -> tuple[Mark, int]:
        """Where this run's edits begin, and after which entry calibrations are of this run."""
        with self._reading() as db:
            if db is not None and not self.file.stat().st_size:  # as one is left whose first edit found no room
                log.warning(
                    "%s is empty: no edit was ever saved in it, or all are lost; restore it where there were any, else remove it", self.file
                )
            if db is None or _latest(db) is None:
                return Mark(), 0
            start, learned = self._of_this_run(db)
            mark = _mark(db, start) if start else Mark()
        if mark is None:
            raise Unreadable(f"{self.file} was cut: edit {start}, from which this run goes on, is not in it; {REMEDY}")
        return mark, learned

    def current(self, mark: Mark) -> bool:
        """Whether nothing came after the mark. Raises Unreadable where what was read is no longer there."""
        with self._reading() as db:
            latest = None if db is None else _latest(db)
        if latest is None and mark.number:
            gone = "was deleted" if db is None else "was emptied"
            raise Unreadable(f"{self.file} {gone} while the run was open, with edits up to number {mark.number}; {REMEDY}")
        return (latest or Mark()) == mark

    def after(self, mark: Mark) -> list[tuple[Mark, Entry]]:
        """What came after the mark, oldest first. Raises Unreadable where the mark is no longer in the log or an entry is not whole."""
        with self._reading() as db:
            if db is None or _latest(db) is None:
                return []
            self._of_this_run(db)
            kept = not mark.number or _mark(db, mark.number) == mark
            found = db.execute("SELECT number, head FROM delta WHERE number > ? ORDER BY number", (mark.number,)).fetchall()
            parts = db.execute("SELECT number, body FROM part WHERE number > ? ORDER BY number, place", (mark.number,)).fetchall()
        if not kept:
            raise Unreadable(f"{self.file} was cut or replaced while the run was open: edit {mark.number} is not the one in it; {REMEDY}")
        bodies: dict[int, list[bytes]] = {}
        for number, body in parts:
            bodies.setdefault(number, []).append(body)
        whole = []
        for number, text in found:
            with self._damage(number):
                head, of = document(str(text).encode()), bodies.get(number, [])
                if "chain" in head and (number != mark.number + 1 or head["chain"] != chained(mark.head, head, of)):
                    raise Unreadable(f"{self.file} is damaged: edit {number} does not follow what is before it; {REMEDY}")
                mark = Mark(number, text)
                whole.append((mark, head, [stream(body) for body in of]))
        frames, entries = iter(framed([table for *_, of in whole for table in of])), []
        for mark, head, of in whole:
            with self._damage(mark.number):
                entries.append((mark, read(head, [next(frames) for _ in of])))
        return entries

    def heads(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number and head of every entry since this run was published, latest first, each parsed when it is asked for."""
        with self._reading() as db:
            if db is None or _latest(db) is None:
                return iter(())
            start, _ = self._of_this_run(db)
            found = db.execute("SELECT number, head FROM delta WHERE number > ? ORDER BY number DESC", (start,)).fetchall()
        return ((number, json.loads(head)) for number, head in found)

    def undoable(self) -> int | None:
        """The last edit since this run was published that was not taken back; None where there is none."""
        gone = set()
        for number, head in self.heads():
            if head["undoes"] is not None:
                gone.add(head["undoes"])
            elif number not in gone and not head.get("calibrations"):
                return number
        return None

    def entry(self, number: int) -> Entry:
        with self._reading() as db:
            (text,) = db.execute("SELECT head FROM delta WHERE number = ?", (number,)).fetchone()
            bodies = db.execute("SELECT body FROM part WHERE number = ? ORDER BY place", (number,)).fetchall()
        return read(json.loads(text), framed([stream(body) for (body,) in bodies]))

    @contextmanager
    def _damage(self, number: int) -> Iterator[None]:
        """What goes wrong while an edit is read is the file's fault."""
        try:
            yield
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            raise Unreadable(f"{self.file} is damaged: edit {number}: {error}; {REMEDY}") from error

    # --- writing ----------------------------------------------------------------------------------------------------
    def append(self, entry: Entry, mark: Mark) -> Mark | None:
        """Make an entry durable right behind the mark; None where another one came first, and nothing was written.

        Raises NotSaved where it cannot be written, Unreadable where what was read is no longer there.
        """
        head, bodies = written(entry)
        text, number = json.dumps({**head, "chain": chained(mark.head, head, bodies)}), mark.number + 1
        if not self.current(mark):
            return None
        with self._writing("the edit was not saved") as db:
            if _latest(db) != mark:
                return None
            db.execute("INSERT INTO delta VALUES (?, ?)", (number, text))
            db.executemany("INSERT INTO part VALUES (?, ?, ?)", [(number, place, body) for place, body in enumerate(bodies)])
        return Mark(number, text)

    def hand_over(self, data: str, start: int, mark: Mark, publish: Callable[[], None]) -> bool:
        """Publish a run `data` that goes on after entry `start`; False where nothing is published, as the log is not the one the run
        was made for.

        Entries after `start` and not after the mark were looked at by whoever made the run; their calibrations are not its own. What
        came after the mark is refused, unless the run holds all that is before it: then they are edits of both. The log
        belongs to the old run and the new one until the new one is in place: it is whole wherever this is cut short. A run that
        begins with the log's first entry replaces the old one; one with edits baked in leaves it to those that have it open.
        """

        def fits(db: sqlite3.Connection) -> bool:
            return (_mark(db, start) if start and start == mark.number else _latest(db)) == mark

        if self.file.exists():
            with self._writing("nothing was published") as db:
                if not fits(db):
                    return False
                db.execute("INSERT OR REPLACE INTO run VALUES (?, ?, ?)", (data, start, mark.number))
            with self._writing("nothing was published") as db:
                if not fits(db):
                    return False
                publish()
                if not start:
                    db.execute("DELETE FROM run WHERE data != ?", (data,))
            return True
        publish()
        return True

    # --- how --------------------------------------------------------------------------------------------------------
    def _of_this_run(self, db: sqlite3.Connection) -> tuple[int, int]:
        known = {data: rest for data, *rest in db.execute("SELECT * FROM run")}
        if known and self.data not in known:
            raise Unreadable(
                f"{self.file} holds edits of another run in this place; if that was published just now, open the run again; "
                "else move the file away, or restore the run it belongs to"
            )
        start, learned = known.get(self.data) or (0, 0)
        return start, learned

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """The kept connection, in one transaction; None where there is no log."""
        if self._kept.process != os.getpid():  # forked: what the parent opened is not the child's to use, or to close
            self._kept = _Kept(self.file, self._kept)
        try:
            with self._kept.transaction() as db:
                yield db
        except sqlite3.Error as error:
            raise Unreadable(f"{self.file} is damaged or locked ({error}); {REMEDY}") from error

    @contextmanager
    def _writing(self, told: str) -> Iterator[sqlite3.Connection]:
        """A connection that alone may write, in a transaction that is durable when this is left."""
        try:
            with closing(sqlite3.connect(made(self.file), timeout=WAIT, isolation_level=None)) as db:
                db.execute("PRAGMA journal_mode = DELETE")  # so that readers write nothing: they answer on a full or read-only disk
                db.execute("PRAGMA synchronous = EXTRA")
                db.execute("BEGIN IMMEDIATE")
                place = _place(self.file)
                for statement in SCHEMA:
                    db.execute(statement)
                if not db.execute("SELECT 1 FROM run").fetchone():
                    db.execute("INSERT INTO run VALUES (?, 0, 0)", (self.data,))
                self._of_this_run(db)
                yield db
                db.execute("COMMIT")
        except sqlite3.Error as error:
            raise NotSaved(f"{self.file}: {told} ({error}); free space or make the file writable, then repeat it") from error
        if place is None or _place(self.file) != place:
            raise NotSaved(f"{self.file} was deleted or replaced while it was written to: {told}; repeat it")


class _Kept:
    """A process's connection for reading, opened when first needed and again where the file is another one."""

    def __init__(self, file: Path, parents: _Kept | None = None) -> None:
        self.file, self.process, self.lock, self.parents = file, os.getpid(), RLock(), parents
        self.db: sqlite3.Connection | None = None
        self.place: tuple[int, int] | None = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection | None]:
        with self.lock:
            try:
                place = _place(self.file)
                if place != self.place:
                    self._open(place)
                if self.db is None:
                    yield None
                    return
                self._begin()
                try:
                    yield self.db
                finally:
                    self.db.execute("ROLLBACK")
            except sqlite3.Error:  # what a connection keeps of a damaged file may outlive its repair
                self._open(None)
                raise

    def _open(self, place: tuple[int, int] | None) -> None:
        if self.db is not None:
            self.db.close()
        self.db, self.place = None, place
        if place is not None:
            uri = f"file:{quote(str(self.file.absolute()))}?mode=ro"
            self.db = sqlite3.connect(uri, uri=True, timeout=WAIT, isolation_level=None, check_same_thread=False)

    def _begin(self) -> None:
        try:
            self.db.execute("BEGIN")
            self.db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        except sqlite3.OperationalError:  # a writer was killed while it committed: what it began is taken back by who may write
            with suppress(sqlite3.Error):
                self.db.execute("ROLLBACK")
            with closing(sqlite3.connect(self.file, timeout=WAIT)) as db:
                db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            self.db.execute("BEGIN")


def _place(file: Path) -> tuple[int, int] | None:
    """Which file it is, whatever its name; None where there is none."""
    try:
        found = os.stat(file)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
        raise Unreadable(f"{file} is no file, so it holds no edits; move it away")
    return found.st_dev, found.st_ino


def _latest(db: sqlite3.Connection) -> Mark | None:
    """The last entry; None where the file holds no log at all."""
    try:
        return Mark(*(db.execute("SELECT number, head FROM delta ORDER BY number DESC LIMIT 1").fetchone() or ()))
    except sqlite3.OperationalError:
        if db.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise
        return None


def _mark(db: sqlite3.Connection, number: int) -> Mark | None:
    found = db.execute("SELECT number, head FROM delta WHERE number = ?", (number,)).fetchone()
    return None if found is None else Mark(*found)
