"""What callers make of answers, kept beside the run: each event with the run, the edit and the arm that answered, and the arm's probability.

Answers are noted for some days, so that an event that names one by its request id is known to be about it. A note holds no text, and of
ids those that the run knows anyway. Events are kept until somebody deletes the file; personal data in their texts is masked before.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kgrec_core.data.privacy import mask
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Task
from kgrec_core.owners import made
from kgrec_core.serving.problem import Refused

LONGEST = 2_000  # letters of a text
EVENTS = ("shown", "clicked", "bought", "thumbs_up", "thumbs_down")
GOOD = ("clicked", "bought", "thumbs_up")
ANSWER = "run TEXT, published TEXT, edit INTEGER, arm TEXT, propensity REAL, unit TEXT, source TEXT, answered REAL"
EVENT = "event TEXT, id TEXT, text TEXT, request TEXT, caller TEXT, at REAL"


@dataclass(frozen=True)
class Feedback:
    """What became of an answer: it was shown, something of it was clicked or bought, or somebody said what it was worth.

    answer: the answer's X-Request-Id; of several requests in one body ID/0 is the first. event: what happened. id: of the product, answer or label that it
    happened to. source: who or what was asked for, where the request did not say. text: what was asked, or said of it; personal data is
    masked before it is kept.
    """

    answer: str
    event: Literal["shown", "clicked", "bought", "thumbs_up", "thumbs_down"]
    id: str | None = None
    source: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.answer) <= 80:
            raise KgrecError("feedback: answer takes the X-Request-Id of the answer")
        if self.event in ("clicked", "bought") and not self.id:
            raise KgrecError(f"feedback: {self.event} needs the id of what was {self.event}")
        if len(self.text or "") > LONGEST or len(self.source or "") > LONGEST:
            raise KgrecError(f"feedback: a text or a source has more than {LONGEST:,} letters")


class Answered(NamedTuple):
    """Who answered. published: the run's checksum. propensity: of its arm for this caller. unit: whom arms are drawn for, hashed. answered:
    seconds UTC."""

    run: str
    published: str
    edit: int
    arm: str = "main"
    propensity: float = 1.0
    unit: str = ""
    source: str | None = None
    answered: float = 0.0


class FeedbackLog:
    """Two files in `folder`, made when first needed: events, durable; and notes of answers for `days`, 0 = none are made."""

    def __init__(self, folder: Path, days: float = 0.0) -> None:
        self.folder, self.days = folder, days
        self._noted: list[tuple[Any, ...]] = []
        self._judged: list[tuple[Any, ...]] = []
        self._lock, self._swept = threading.Lock(), 0.0

    @property
    def file(self) -> Path:
        return self.folder / "feedback.sqlite"

    def note(self, caller: str, answer: str, about: Answered) -> None:
        """Remember an answer; written by the next `flush`."""
        if self.days:
            with self._lock:
                self._noted.append((key_of(caller, answer), *about._replace(answered=about.answered or time.time())))

    def judge(self, slot: int, unit: str, canary: bool, fault: bool) -> None:
        """Remember whether the service failed a caller, once a slot of time; written by the next `flush`."""
        with self._lock:
            self._judged.append((slot, unit, canary, fault, time.time()))

    def flush(self) -> None:
        """Write what was noted, for the other workers. Raises Refused 503 where that cannot be; the notes are then lost, the answers not."""
        with self._lock:
            noted, self._noted, judged, self._judged = self._noted, [], self._judged, []
        if noted:
            with self._open("answered.sqlite", f"answered (key TEXT PRIMARY KEY, {ANSWER})") as db, _told(self.folder), db:
                db.executemany(f"INSERT OR REPLACE INTO answered VALUES ({_marks(noted[0])})", noted)
                if time.time() > self._swept + 600:
                    self._swept = time.time()
                    db.execute("DELETE FROM answered WHERE answered < ?", (time.time() - 86_400 * self.days,))
        if judged:
            with self._open("answered.sqlite", _FAULTS) as db, _told(self.folder), db:
                db.executemany("INSERT OR IGNORE INTO faults VALUES (?, ?, ?, ?, ?)", judged)
                db.execute("DELETE FROM faults WHERE slot < ?", (judged[-1][0] - 1,))

    def judged(self, slot: int) -> list[tuple[bool, bool]]:
        """Of each caller of a slot of time, in their order: whether it had the canary, and whether its first answer there was a fault."""
        self.flush()
        if not (self.folder / "answered.sqlite").exists():
            return []
        with self._open("answered.sqlite", _FAULTS) as db, _told(self.folder):
            return db.execute("SELECT canary, fault FROM faults WHERE slot = ? ORDER BY at, unit", (slot,)).fetchall()

    def about(self, caller: str, answer: str) -> Answered | None:
        """Who gave an answer to this caller."""
        self.flush()
        if not (self.folder / "answered.sqlite").exists():
            return None
        with self._open("answered.sqlite", f"answered (key TEXT PRIMARY KEY, {ANSWER})") as db, _told(self.folder):
            row = db.execute("SELECT * FROM answered WHERE key = ?", (key_of(caller, answer),)).fetchone()
        return None if row is None else Answered(*row[1:])

    def keep(self, caller: str, given: Feedback, about: Answered) -> bool:
        """Whether the event is new; durable when it returns. Raises Refused 503 where it cannot be written."""
        source, text = given.source or about.source, given.text and mask([given.text])[0]
        row = (key_of(caller, given.answer), given.event, given.id or "", text, given.answer, mask([caller])[0], time.time())
        with self._open(self.file.name, _EVENTS) as db, _told(self.folder), db:
            found = db.execute(f"INSERT OR IGNORE INTO events VALUES ({_marks((*row, *about))})", (*row, *about._replace(source=source)))
        return found.rowcount > 0

    def events(self, since: float = 0.0) -> list[dict[str, Any]]:
        """Of answers since then (seconds UTC), in the order of the answers. Raises KgrecError where there is no such log."""
        if not self.file.exists():
            return []
        with self._open(self.file.name, _EVENTS) as db, _told(self.folder):
            db.row_factory = sqlite3.Row
            rows = db.execute("SELECT * FROM events WHERE answered >= ? ORDER BY answered, key, at", (since,)).fetchall()
        return [dict(row) for row in rows]

    def size(self) -> int:
        """How many events there are."""
        if not self.file.exists():
            return 0
        with self._open(self.file.name, _EVENTS) as db, _told(self.folder):
            return int(db.execute("SELECT COALESCE(MAX(rowid), 0) FROM events").fetchone()[0])

    def _open(self, name: str, table: str) -> closing[sqlite3.Connection]:
        with _told(self.folder):
            db = sqlite3.connect(made(self.folder / name), timeout=5)
            db.execute(f"PRAGMA synchronous = {'FULL' if name == self.file.name else 'OFF'}")
            db.execute(f"CREATE TABLE IF NOT EXISTS {table}")
        return closing(db)


_FAULTS = "faults (slot INTEGER, unit TEXT, canary INTEGER, fault INTEGER, at REAL, PRIMARY KEY (slot, unit))"
_EVENTS = f"events (key TEXT, {EVENT}, {ANSWER}, PRIMARY KEY (key, event, id))"


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """What the disk refuses, as 503."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise Refused(503, f"{folder}: feedback cannot be kept there ({error}); it is taken again when it can") from None


def known_to(graph: Graph, tasks: Sequence[Task], given: Feedback) -> Feedback:
    """The event as it may be kept: a source that the run does not know is masked as a text is. Raises KgrecError for an unknown id."""
    targets, sources = (list(dict.fromkeys(getattr(task.relation, end) for task in tasks)) for end in ("target", "source"))
    if given.id is not None and not any(graph.rows(kind, [given.id])[0] >= 0 for kind in targets):
        raise KgrecError(f"feedback: no {' or '.join(targets)} of this run has the id {given.id[:80]!r}")
    if given.source is None or any(graph.rows(kind, [given.source])[0] >= 0 for kind in sources):
        return given
    return Feedback(given.answer, given.event, given.id, mask([given.source])[0], given.text)


def source_of(values: Mapping[str, Any], name: str | None, graph: Graph, tasks: Sequence[Task]) -> str | None:
    """The id that a request asks for, where its field `name` has one that the run knows."""
    found = values.get(name) if name else None
    kinds = {task.relation.source for task in tasks}
    return found if isinstance(found, str) and any(graph.rows(kind, [found])[0] >= 0 for kind in kinds) else None


def key_of(caller: str, answer: str) -> str:
    """Request ids may come from callers, so each has its own."""
    return hashlib.sha256(f"{caller}\0{answer}".encode()).hexdigest()[:32]


def _marks(row: Sequence[Any]) -> str:
    return ",".join("?" * len(row))
