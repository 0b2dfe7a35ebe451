"""The monitor's own file: windows, offsets, detectors and alerts change together in one SQLite transaction, or not at all.

A batch of events is one transaction; who is killed within it finds the file as the batch found it, and the feed's offset with it. One
process writes; others read (write-ahead log).
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from kgrec_core import KgrecError
from kgrec_finance.monitoring.windows import Window

FORMAT = "kgrec finance monitor 2"
TABLES = """
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS source (name TEXT PRIMARY KEY, after TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS article (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, time INTEGER NOT NULL, story TEXT NOT NULL, size INTEGER NOT NULL,
    text TEXT NOT NULL, link TEXT, outlet TEXT NOT NULL, touches TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS article_time ON article (time);
CREATE TABLE IF NOT EXISTS window (
    start INTEGER, series TEXT, count INTEGER, volume REAL, negative REAL, neutral REAL, positive REAL, exposure REAL,
    scores TEXT, level REAL,
    PRIMARY KEY (start, series)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoint (start INTEGER PRIMARY KEY, watch BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS evidence (episode TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alert (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, episode TEXT NOT NULL, series TEXT NOT NULL, what TEXT NOT NULL,
    at INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS alert_episode ON alert (episode);
CREATE TABLE IF NOT EXISTS sink (
    name TEXT PRIMARY KEY, sent INTEGER NOT NULL, attempts INTEGER NOT NULL, next REAL NOT NULL, error TEXT NOT NULL) WITHOUT ROWID;
"""


class Touch(NamedTuple):
    """What an article counts in a series: weight, the mentioned company (or topic) through which, probabilities."""

    series: str
    weight: float
    via: str
    moods: tuple[float, float, float]


class Article(NamedTuple):
    """size: which copy of its story it is, 0 where its outlet does not count yet. touches: none of a copy."""

    id: str
    time: int
    story: str
    size: int
    text: str
    link: str | None
    touches: tuple[Touch, ...]
    outlet: str = ""


class Alert(NamedTuple):
    """key: sent once. body: what sinks are told."""

    number: int
    key: str
    body: dict[str, Any]


class Pending(NamedTuple):
    """sent: number of the last alert that the sink has. next: unix time before which it is not asked again."""

    name: str
    sent: int
    attempts: int
    next: float
    error: str


class State:
    """Raises KgrecError wherever the file cannot be read or written; a transaction that fails leaves it as it was."""

    def __init__(self, file: Path, *, write: bool) -> None:
        self.file = file
        if file.is_dir():
            raise KgrecError(f"{file} is a folder; name a monitor's file with --state")
        if not write and not file.is_file():
            raise KgrecError(f"there is no state file {file}; `kgrec finance monitor` makes it, --state names it")
        self._lock = self._held() if write else None
        try:
            self._db = sqlite3.connect(file, timeout=30, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL" if write else "PRAGMA query_only = 1")
            self._db.execute("PRAGMA synchronous = FULL")
            if write:
                self._db.executescript(TABLES)
            found = self.kept("format")
            if found is None and write:
                with self.transaction():
                    self.keep("format", FORMAT)
        except sqlite3.Error as error:
            self.close()
            raise KgrecError(
                f"{file} is no state file of a monitor, or damaged ({error}); restore it, or name another with --state"
            ) from None
        if (found or FORMAT) != FORMAT or (found is None and not write):
            self.close()
            raise KgrecError(f'{file} was written as "{found}", this is "{FORMAT}"; name another file with --state')

    def _held(self):
        """The lock file, which dies with this process. Raises KgrecError that names who holds it."""
        path = self.file.with_name(f"{self.file.name}.lock")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            lock = path.open("a+")
        except OSError as error:
            raise KgrecError(f"{self.file} cannot be written ({error.strerror}); name another file with --state") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "?"
            lock.close()
            raise KgrecError(
                f"{self.file} belongs to the monitor that runs as process {holder}; stop it, or name another file with --state"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock

    def close(self) -> None:
        if hasattr(self, "_db"):
            self._db.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. What stands in memory is ahead of the file where it raises: open the state anew."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite itself may have rolled back
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise KgrecError(f"{self.file}: nothing of the last batch was kept ({error}); make room, then start again") from error

    # --- named values -----------------------------------------------------------------------------------------------------
    def keep(self, name: str, value: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, _packed(value)))

    def kept(self, name: str) -> Any:
        row = self._db.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return row and _unpacked(row[0])

    def offset(self, source: str) -> str | None:
        row = self._db.execute("SELECT after FROM source WHERE name = ?", (source,)).fetchone()
        return row and row[0]

    def move(self, source: str, after: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO source VALUES (?, ?)", (source, after))

    def sources(self) -> dict[str, str]:
        return dict(self._db.execute("SELECT name, after FROM source ORDER BY name"))

    # --- articles ---------------------------------------------------------------------------------------------------------
    def knows(self, id: str) -> bool:
        return self._db.execute("SELECT 1 FROM article WHERE id = ?", (id,)).fetchone() is not None

    def add(self, article: Article) -> None:
        touches = json.dumps([[t.series, t.weight, t.via, t.moods] for t in article.touches], ensure_ascii=False)
        row = (article.id, article.time, article.story, article.size, article.text, article.link, article.outlet, touches)
        self._db.execute("INSERT INTO article (id, time, story, size, text, link, outlet, touches) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def discount(self, start: int, end: int, outlets: Iterable[str]) -> None:
        """The articles of these outlets count in no series."""
        for outlet in outlets:
            self._db.execute("UPDATE article SET touches = '[]' WHERE time >= ? AND time < ? AND outlet = ?", (start, end, outlet))

    def articles(self, start: int, end: int, series: str | None = None) -> Iterator[Article]:
        """Of [start, end), in the order they came in; of a series those that touch it."""
        query = "SELECT id, time, story, size, text, link, outlet, touches FROM article WHERE time >= ? AND time < ? ORDER BY number"
        for id, time, story, size, text, link, outlet, touches in self._db.execute(query, (start, end)):
            if series is None or json.dumps(series, ensure_ascii=False) in touches:
                found = (Touch(s, w, via, tuple(moods)) for s, w, via, moods in json.loads(touches))
                yield Article(id, time, story, size, text, link, tuple(found), outlet)

    def copies(self, stories: Iterable[str], start: int, end: int) -> list[tuple[str, str]]:
        """(id, story) of the articles of these stories, first ones included."""
        wanted = set(stories)
        rows = self._db.execute("SELECT id, story FROM article WHERE time >= ? AND time < ? ORDER BY number", (start, end))
        return [row for row in rows if row[1] in wanted]

    # --- windows and detectors --------------------------------------------------------------------------------------------
    def add_window(self, window: Window, scores: Sequence[float], level: float | None) -> None:
        row = (window.start, window.series, window.count, window.volume, window.negative, window.neutral, window.positive, window.exposure)
        self._db.execute("INSERT OR REPLACE INTO window VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, json.dumps(scores), level))

    def windows(
        self, length: int, start: int = 0, end: int = 2**62, series: str | None = None
    ) -> Iterator[tuple[Window, list[float], float | None]]:
        """Windows with their scores and level, by (start, series); silent ones may be left out."""
        query = "SELECT start, series, count, volume, negative, neutral, positive, exposure, scores, level FROM window WHERE start >= ? AND start < ?"
        query += " AND series = ?" if series is not None else ""
        for at, name, *sums, scores, level in self._db.execute(
            query + " ORDER BY start, series", (start, end, *([series] if series is not None else []))
        ):
            yield Window(name, at, length, *sums), json.loads(scores), level

    def checkpoint(self, start: int, watch: dict[str, Any], kept: int) -> None:
        """The detectors after the windows of `start`; only the latest `kept` stay."""
        self._db.execute("INSERT OR REPLACE INTO checkpoint VALUES (?, ?)", (start, _packed(watch)))
        oldest = "(SELECT start FROM checkpoint ORDER BY start DESC LIMIT 1 OFFSET ?)"
        self._db.execute(f"DELETE FROM checkpoint WHERE start <= {oldest}", (kept,))

    def checkpoints(self) -> list[int]:
        """Their starts, the oldest first."""
        return [start for (start,) in self._db.execute("SELECT start FROM checkpoint ORDER BY start")]

    def checkpointed(self, start: int) -> dict[str, Any]:
        return _unpacked(self._db.execute("SELECT watch FROM checkpoint WHERE start = ?", (start,)).fetchone()[0])

    def last_checkpoint(self) -> dict[str, Any] | None:
        row = self._db.execute("SELECT watch FROM checkpoint ORDER BY start DESC LIMIT 1").fetchone()
        return row and _unpacked(row[0])

    def forget(self, before: int) -> None:
        """Articles, windows and closed alerts that are older."""
        self._db.execute("DELETE FROM article WHERE time < ?", (before,))
        self._db.execute("DELETE FROM window WHERE start < ?", (before,))
        gone = "SELECT episode FROM alert GROUP BY episode HAVING max(at) < ?"
        self._db.execute(f"DELETE FROM evidence WHERE episode IN ({gone})", (before,))
        unsent = "(SELECT coalesce(min(sent), 9e18) FROM sink)"
        self._db.execute(f"DELETE FROM alert WHERE number <= {unsent} AND at < ?", (before,))

    # --- alerts -----------------------------------------------------------------------------------------------------------
    def alarm(self, key: str, body: dict[str, Any]) -> None:
        row = (key, body["episode"], body["series"], body["what"], body["at"], json.dumps(body, ensure_ascii=False))
        self._db.execute("INSERT INTO alert (key, episode, series, what, at, body) VALUES (?, ?, ?, ?, ?, ?)", row)

    def alerts(self, after: int = 0, episode: str | None = None, limit: int = -1) -> list[Alert]:
        """Later than the number, oldest first; of one episode (its id or the beginning of it)."""
        query = "SELECT number, key, body FROM alert WHERE number > ?" + (" AND episode LIKE ? || '%'" if episode else "")
        rows = self._db.execute(query + " ORDER BY number LIMIT ?", (after, *([episode] if episode else []), limit))
        return [Alert(number, key, json.loads(body)) for number, key, body in rows]

    def last_alert(self) -> int:
        """Its number; 0 = there is none."""
        return self._db.execute("SELECT coalesce(max(number), 0) FROM alert").fetchone()[0]

    def prove(self, episode: str, body: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO evidence VALUES (?, ?)", (episode, _packed(body)))

    def proof(self, episode: str) -> Any:
        row = self._db.execute("SELECT body FROM evidence WHERE episode = ?", (episode,)).fetchone()
        return row and _unpacked(row[0])

    # --- sinks ------------------------------------------------------------------------------------------------------------
    def sink(self, name: str) -> Pending:
        """A sink that is new is told of what comes from now on."""
        self._db.execute("INSERT OR IGNORE INTO sink SELECT ?, coalesce(max(number), 0), 0, 0, '' FROM alert", (name,))
        return next(one for one in self.sinks() if one.name == name)

    def sinks(self) -> list[Pending]:
        return [Pending(*row) for row in self._db.execute("SELECT name, sent, attempts, next, error FROM sink ORDER BY name")]

    def sent(self, now: Pending) -> None:
        with self.transaction():
            self._db.execute("INSERT OR REPLACE INTO sink VALUES (?, ?, ?, ?, ?)", now)

    def counted(self) -> dict[str, int]:
        """Rows of the tables, for `status`."""
        return {name: self._db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("article", "window", "alert")}

    def events_since(self, time: int) -> int:
        return self._db.execute("SELECT count(*) FROM article WHERE time > ?", (time,)).fetchone()[0]


def _packed(value: Any) -> bytes:
    return zlib.compress(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"), 1)


def _unpacked(body: bytes) -> Any:
    return json.loads(zlib.decompress(body))
