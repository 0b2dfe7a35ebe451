"""What was done for an idempotency key, so that an edit that is sent twice is made once; and who did it. Shared by a service's workers."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kgrec_core.data.appending import append
from kgrec_core.owners import made
from kgrec_core.serving.access import Caller
from kgrec_core.serving.problem import Refused

log = logging.getLogger("kgrec.serving")
KEPT = 24 * 3600  # seconds
LONGEST = 60.0  # seconds after which who began an edit has ended, and its number may be another's
ROOM = 2**20  # bytes that must be free before an edit: for its note and the audit log


class Key(NamedTuple):
    """of: caller and key, hashed; asked: what is asked for, hashed."""

    of: str
    asked: str


@dataclass
class Once:
    """An edit that may have been made. before: its answer then; else `answer` is what it came to, None where to nothing."""

    before: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None


class Repeats:
    """A table in `file`, made when first needed."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def key(self, given: str | None, caller: Caller, word: str, values: Any) -> Key | None:
        """Raises Refused 400 for a key that is empty or too long."""
        if given is None:
            return None
        if not 0 < len(given) <= 200:
            raise Refused(400, "Idempotency-Key takes 1 to 200 characters")
        return Key(_hash(caller.name, given), _hash(word, json.dumps(values, sort_keys=True)))

    def ready(self) -> None:
        """Before an edit: raises Refused 503 where it could not be noted."""
        with self._open() as db:
            db.execute("DELETE FROM done WHERE at < ?", (time.time() - KEPT,))
        if (left := shutil.disk_usage(self.file.parent).free) < ROOM:
            raise Refused(503, f"{self.file.parent} has {left:,} bytes left, too few to note an edit; free space, then repeat it")

    @contextmanager
    def once(self, key: Key | None) -> Iterator[Once]:
        """Around an edit, which nobody else makes meanwhile. Raises Refused: 409 where the key was used for something else, 503 while a
        process makes it. What was killed while it made one has told nobody whether it had: the edit may be made then."""
        made = Once() if key is None else Once(self._begun(key))
        try:
            yield made
        finally:
            if key is not None and made.before is None:
                self._ended(key, made.answer)

    def _begun(self, key: Key) -> dict[str, Any] | None:
        """The answer of before; None, and it is this process's, where there is none."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            row = db.execute("SELECT asked, answer, at FROM done WHERE of = ? AND at > ?", (key.of, time.time() - KEPT)).fetchone()
            if row is not None and row[0] != key.asked:
                raise Refused(409, "this Idempotency-Key was used for another edit; take a new one")
            found = json.loads(row[1]) if row is not None else []
            if isinstance(found, dict):
                return found
            if found and time.time() < row[2] + LONGEST and _lives(*found):
                raise Refused(503, "this edit is being made; come again in a moment", {"Retry-After": "1"})
            db.execute(
                "INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?)", (*key, json.dumps([os.uname().nodename, os.getpid()]), time.time())
            )
            return None

    def _ended(self, key: Key, answer: dict[str, Any] | None) -> None:
        """The edit is made, or not: whatever happens here, that holds."""
        try:
            with self._open() as db:
                if answer is None:
                    db.execute("DELETE FROM done WHERE of = ?", (key.of,))
                else:
                    db.execute("INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?)", (*key, json.dumps(answer), time.time()))
        except Refused as error:
            log.error("an edit was not noted, so that it is made again where it is sent again: %s", error)

    def audit(self, file: Path, *said: Any) -> None:
        """Append a line: time, caller, what, run, edit, requests, request id; to the log where it finds no room, as what it tells was done."""
        names = ("caller", "what", "run", "edit", "requests", "request_id")
        line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **dict(zip(names, said, strict=True))})
        try:
            append(file, line, sync=False)
        except OSError as error:
            log.error("%s cannot be written (%s); it lacks: %s", file, error, line)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection, in a transaction."""
        try:
            with closing(sqlite3.connect(made(self.file), timeout=5)) as db, db:
                # answer: JSON; a list is the machine and the process that make it
                db.execute("CREATE TABLE IF NOT EXISTS done (of TEXT PRIMARY KEY, asked TEXT, answer TEXT, at REAL)")
                yield db
        except (OSError, sqlite3.Error) as error:
            raise Refused(503, f"{self.file} cannot be written ({error}); edits wait until it can") from None


def _lives(machine: str, process: int) -> bool:
    """Whether a process may still be there; of another machine's or container's nothing is known."""
    return machine != os.uname().nodename or Path(f"/proc/{process}").exists()


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
