"""What people decided about answers, durably in RUN.review.sqlite beside the run: by id, so that the next fit in its place finds it again.

Decisions are only ever added; the latest of an id counts. The file also holds what a classifier said of each text, by the text.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from kgrec_core.errors import Conflict, NotSaved, Unreadable, choices
from kgrec_core.owners import given, made

log = logging.getLogger("kgrec")

VERDICTS = ("allow", "block", "open")  # open: a decision is taken back
TABLES = """
CREATE TABLE IF NOT EXISTS decision (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, text TEXT NOT NULL, verdict TEXT NOT NULL,
    why TEXT NOT NULL, by TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS score (model TEXT NOT NULL, text TEXT NOT NULL, p REAL NOT NULL, PRIMARY KEY (model, text)) WITHOUT ROWID;
"""
LATEST = "SELECT id, text, verdict, why, by, at, number FROM decision ORDER BY number"


def files(folder: Path) -> tuple[Path, Path]:
    """The rules of a run and what was decided, beside it."""
    return folder.with_name(f"{folder.name}.safety.toml"), folder.with_name(f"{folder.name}.review.sqlite")


def carried(old: Path, new: Path) -> None:
    """Rules and decisions of a run beside another one that answers as it does, before that can be asked. What stands there already stays in force."""
    for file, to in zip(files(old), files(new), strict=True):
        if not file.exists():
            continue
        if to.exists():
            log.warning("%s is there already and stays in force, not %s", to, file)
            continue
        with tempfile.TemporaryDirectory(dir=to.parent, prefix=f"{to.name}.") as name:
            copy = Path(name) / to.name
            if file.suffix == ".sqlite":  # what is committed, whoever writes
                with closing(sqlite3.connect(file, timeout=10)) as db, closing(sqlite3.connect(copy)) as other:
                    db.backup(other)
            else:
                shutil.copyfile(file, copy)
            given(copy, file).replace(to)


class Decision(NamedTuple):
    """verdict: "allow" or "block"; text: as it was then; by: who; why: in their words; at: unix seconds; number: its place in the file."""

    id: str
    text: str
    verdict: str
    why: str
    by: str
    at: float
    number: int = 0

    @property
    def seen(self) -> str:
        """What whoever takes it back has seen; see `Decisions.decide_each`."""
        return str(self.number)

    def told(self) -> str:
        when, why = time.strftime("%Y-%m-%d %H:%M", time.gmtime(self.at)), f": {self.why}" if self.why else ""
        return f"was {self.verdict}ed by {self.by} ({when} UTC{why})"


class Decisions:
    """The file of one run; it is made by the first decision."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def mark(self) -> tuple[int, int, bytes]:
        """Another one after every change: SQLite counts them in the file's head, as two may fall into one tick of the clock."""
        try:
            with open(self.file, "rb", buffering=0) as file:
                found = os.fstat(file.fileno())
                return found.st_ino, found.st_mtime_ns, os.pread(file.fileno(), 4, 24)
        except OSError:
            return 0, 0, b""

    def latest(self) -> dict[str, Decision]:
        """By id, those that stand. Raises Unreadable for a file that is none."""
        return _standing(self._read(LATEST))

    def scores(self, model: str) -> dict[str, float]:
        """What a classifier said, by `fingerprint` of the text."""
        return dict(self._read("SELECT text, p FROM score WHERE model = ?", model))

    def decide(self, ids: Mapping[str, str], verdict: str, by: str, why: str = "", seen: str | None = None) -> None:
        """ids -> their texts; see `decide_each`."""
        self.decide_each({verdict: ids}, by, why, seen)

    def decide_each(self, verdicts: Mapping[str, Mapping[str, str]], by: str, why: str = "", seen: str | None = None) -> None:
        """verdict -> ids -> their texts; all of it, on the disk when it returns, or nothing. What stands so already is not written twice.

        A decision of somebody else is not decided over; it can be taken back. seen: the mark of what the decider saw, a `Decision.seen` or the
        fingerprint of a text that waited; None where that is not known, so that only a decision of their own may have stood there.
        Raises Conflict for what stands against it, KgrecError for another verdict, and NotSaved where it cannot be saved.
        """
        for verdict in verdicts:
            if verdict not in VERDICTS:
                raise choices("verdict", verdict, VERDICTS)
        now, why = time.time(), why[:2000]
        with self._writing() as db:
            before = _standing(db.execute(LATEST).fetchall())
            rows = [
                (id, text, verdict, why, by, now)
                for verdict, ids in verdicts.items()
                for id, text in ids.items()
                if _changes(before.get(id), Decision(id, text, verdict, why, by, now), seen)
            ]
            db.executemany("INSERT INTO decision (id, text, verdict, why, by, at) VALUES (?, ?, ?, ?, ?, ?)", rows)

    def score(self, model: str, found: Mapping[str, float]) -> None:
        """By fingerprint."""
        with self._writing() as db:
            db.executemany("INSERT OR REPLACE INTO score VALUES (?, ?, ?)", [(model, text, p) for text, p in found.items()])

    def _read(self, query: str, *given: str) -> list[tuple]:
        if not self.file.exists():
            return []
        try:
            try:
                return self._found(query, *given)
            except sqlite3.OperationalError:  # a writer was killed while it committed: what it began is taken back by who may write
                with closing(sqlite3.connect(self.file, timeout=10)) as db:
                    db.execute("SELECT 1 FROM sqlite_master").fetchone()
                return self._found(query, *given)
        except sqlite3.Error as error:
            raise Unreadable(f"{self.file} holds no decisions, or is damaged ({error}); restore it from a copy") from None

    def _found(self, query: str, *given: str) -> list[tuple]:
        with closing(sqlite3.connect(f"file:{quote(str(self.file.absolute()))}?mode=ro", timeout=10, uri=True)) as db:
            made = db.execute("SELECT 1 FROM sqlite_master").fetchone()  # else the disk had no room for the first decision
            return db.execute(query, given).fetchall() if made else []

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A connection that alone may write, in a transaction that is durable when this is left."""
        try:
            with closing(sqlite3.connect(made(self.file), timeout=10, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous = FULL")
                db.executescript(TABLES)
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise NotSaved(f"{self.file}: the decision was not saved ({error}); free space or make it writable, then repeat it") from None


def _standing(rows: list[tuple]) -> dict[str, Decision]:
    return {id: found for id, found in {row[0]: Decision(*row) for row in rows}.items() if found.verdict != "open"}


def _changes(before: Decision | None, now: Decision, seen: str | None) -> bool:
    """Whether a decision says anything new. Raises as `Decisions.decide_each`. An item that was allowed waits again when its text changes."""
    if now.verdict == "open":
        if before is None:
            raise Conflict(f"no decision on {now.id} stands, so there is none to take back; look at it again")
        if seen not in (None, before.seen):
            raise Conflict(f"{now.id} {before.told()}, which is not the decision that you saw; look at it again")
        return True
    if before is None or (before.verdict == "allow" and before.text != now.text):
        return True
    if before._replace(at=0, number=0) == now._replace(at=0):
        return False
    if seen is not None or before.by != now.by:
        raise Conflict(
            f"{now.id} {before.told()}, so nothing was decided; leave it, or take that back first (kgrec review RUN --undo {now.id})"
        )
    return True


def fingerprint(text: str) -> str:
    """32 hex digits of a text, by which it is known again."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
