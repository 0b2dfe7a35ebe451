"""Edits of a published run: graph deltas in RUN.live.sqlite beside it, committed before they are seen, replayed on open."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Relation
from kgrec_core.run.folder import ipc


class Live:
    """The edit log of one run; safe for several processes and threads: every call has a connection of its own."""

    def __init__(self, run: Path, data: str) -> None:
        self.file, self.data = run.with_name(f"{run.name}.live.sqlite"), data

    def append(self, delta: Graph, undoes: int | None = None) -> int:
        """Make a delta durable; returns its number. undoes: the number of the delta that it takes back."""
        relations = list(delta.relations)
        index = {
            "entities": list(delta.entities),
            "relations": [list(r) for r in relations],
            "timeless": [r in delta.timeless for r in relations],
            "sizes": [len(t) for t in delta.entities.values()],
            "time": int(time.time() * 1e6),
            "undoes": undoes,
        }
        tables = [ipc(t.rechunk()) for t in (*delta.entities.values(), *delta.relations.values())]
        try:
            with closing(self._open()) as db, db:
                number = db.execute("INSERT INTO delta (head) VALUES (?)", (json.dumps(index),)).lastrowid
                db.executemany("INSERT INTO part VALUES (?, ?, ?)", [(number, i, t) for i, t in enumerate(tables)])
        except sqlite3.Error as error:
            raise KgrecError(
                f"{self.file}: the edit was not saved ({error}); free space or make the file writable, then repeat it"
            ) from error
        return number

    def latest(self) -> int:
        """The number of the last delta, 0 where there is none."""
        if not self.file.exists():
            return 0
        with closing(self._open()) as db:
            return db.execute("SELECT coalesce(max(number), 0) FROM delta").fetchone()[0]

    def after(self, number: int) -> Iterator[tuple[int, Graph]]:
        """Deltas later than `number`, oldest first."""
        yield from self.between(number, 2**62)

    def between(self, after: int, before: int) -> Iterator[tuple[int, Graph]]:
        """Deltas with after < number < before, oldest first."""
        if not self.file.exists():
            return
        with closing(self._open()) as db:
            found = db.execute("SELECT number, head FROM delta WHERE number > ? AND number < ? ORDER BY number", (after, before)).fetchall()
            for number, head in found:
                index = json.loads(head)
                parts = db.execute("SELECT body FROM part WHERE number = ? ORDER BY place", (number,)).fetchall()
                frames = [pl.read_ipc(body) for (body,) in parts]
                kinds = dict(zip(index["entities"], frames, strict=False))
                relations = {Relation(*r): f for r, f in zip(index["relations"], frames[len(kinds) :], strict=True)}
                timeless = frozenset(r for r, t in zip(relations, index["timeless"], strict=True) if t)
                yield number, Graph(kinds, relations, timeless)

    def log(self) -> list[dict[str, Any]]:
        """number, time (us UTC), entities by kind and what it undoes, of every delta, oldest first."""
        if not self.file.exists():
            return []
        with closing(self._open()) as db:
            heads = [(number, json.loads(head)) for number, head in db.execute("SELECT number, head FROM delta ORDER BY number")]
        return [
            {
                "number": n,
                "time": h.get("time"),
                "entities": dict(zip(h["entities"], h.get("sizes", []), strict=False)),
                "undoes": h.get("undoes"),
            }
            for n, h in heads
        ]

    def undoable(self) -> tuple[int, Graph | None]:
        """The last delta that neither takes another back nor was taken back."""
        log = self.log()
        gone = {entry["undoes"] for entry in log} - {None}
        left = [e["number"] for e in log if e["undoes"] is None and e["number"] not in gone]
        if not left:
            return 0, None
        return next(self.between(left[-1] - 1, left[-1] + 1))

    def calibrate(self, task: str, state: dict[str, Any]) -> None:
        """Keep a calibration that was learned again; it replaces the published one."""
        with closing(self._open()) as db, db:
            db.execute("INSERT OR REPLACE INTO calibration VALUES (?, ?)", (task, json.dumps(state)))

    def calibrations(self) -> dict[str, dict[str, Any]]:
        """Task name -> state of the calibrations learned again."""
        if not self.file.exists():
            return {}
        with closing(self._open()) as db:
            return {task: json.loads(state) for task, state in db.execute("SELECT task, state FROM calibration")}

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.file, timeout=30)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            with db:
                db.execute("CREATE TABLE IF NOT EXISTS delta (number INTEGER PRIMARY KEY, head TEXT NOT NULL)")
                db.execute("CREATE TABLE IF NOT EXISTS part (number INTEGER, place INTEGER, body BLOB, PRIMARY KEY (number, place))")
                db.execute("CREATE TABLE IF NOT EXISTS calibration (task TEXT PRIMARY KEY, state TEXT NOT NULL)")
                db.execute("CREATE TABLE IF NOT EXISTS run (data TEXT NOT NULL)")
                known = db.execute("SELECT data FROM run").fetchone()
                if known is None:
                    db.execute("INSERT INTO run VALUES (?)", (self.data,))
        except sqlite3.DatabaseError as error:
            db.close()
            raise KgrecError(
                f"{self.file} is damaged or locked ({error}); restore it, or move it away to open the run without its edits"
            ) from error
        if known is not None and known[0] != self.data:
            db.close()
            raise KgrecError(f"{self.file} holds edits of another run in this place; move it away, or restore the run it belongs to")
        return db
