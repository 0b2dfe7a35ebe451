"""What was done for an idempotency key, so that an edit that is sent twice is made once; and who did it. Shared by a service's workers."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from kgrec_core.data.appending import append
from kgrec_core.serving.access import Caller
from kgrec_core.serving.problem import Refused

KEPT = 24 * 3600  # seconds


class Key(NamedTuple):
    """of: caller and key, hashed; asked: what is asked for, hashed."""

    of: str
    asked: str


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
        with self._open() as db, db:
            db.execute("DELETE FROM done WHERE at < ?", (time.time() - KEPT,))

    def found(self, key: Key) -> dict[str, Any] | None:
        """The answer of before. Raises Refused 409 where the key was used for something else."""
        with self._open() as db:
            row = db.execute("SELECT asked, answer FROM done WHERE of = ? AND at > ?", (key.of, time.time() - KEPT)).fetchone()
        if row is None:
            return None
        if row[0] != key.asked:
            raise Refused(409, "this Idempotency-Key was used for another edit; take a new one")
        return json.loads(row[1])

    def keep(self, key: Key, answer: dict[str, Any]) -> None:
        with self._open() as db, db:
            db.execute("DELETE FROM done WHERE at < ?", (time.time() - KEPT,))
            db.execute("INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?)", (*key, json.dumps(answer), time.time()))

    def audit(self, file: Path, *said: Any) -> None:
        """Append a line: time, caller, what, run, edit, requests, request id."""
        names = ("caller", "what", "run", "edit", "requests", "request_id")
        line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **dict(zip(names, said, strict=True))})
        try:
            append(file, line, sync=False)
        except OSError as error:
            raise Refused(503, f"the audit log cannot be written ({error}); free space") from None

    def _open(self) -> closing[sqlite3.Connection]:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.file, timeout=5)
            db.execute("CREATE TABLE IF NOT EXISTS done (of TEXT PRIMARY KEY, asked TEXT, answer TEXT, at REAL)")
        except (OSError, sqlite3.Error) as error:
            raise Refused(503, f"{self.file} cannot be written ({error}); edits wait until it can") from None
        return closing(db)


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
