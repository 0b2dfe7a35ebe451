"""What was read, for people: rows, what was left out and why, what is doubtful. A data part fills one; `kgrec_core.data.facts` adds the graph's."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from kgrec_core.data.table import Table

log = logging.getLogger("kgrec")


class Summary:
    """files: name -> {"rows": read, a reason: rows left out for it}. notes: what a reader should know. doubts: what is probably wrong."""

    def __init__(self) -> None:
        self.files: dict[str, Counter[str]] = {}
        self.notes: list[str] = []
        self.doubts: list[str] = []

    def read(self, table: Table) -> Table:
        """Counts a table that was read."""
        counts = Counter({"rows": len(table.frame) + sum(table.left_out.values()), **table.left_out})
        self.files[table.path.name] = counts if table.path.name not in self.files else self.files[table.path.name] | counts
        return table

    def left_out(self, file: str, why: str, rows: int) -> None:
        """Rows of a file that were read and are no part of the graph."""
        if rows:
            self.files.setdefault(file, Counter())[why] += rows

    def note(self, said: str) -> None:
        self.notes.append(said)

    def doubt(self, said: str) -> None:
        """Said at once, and an error under `--strict`."""
        log.warning("%s", said)
        self.doubts.append(said)

    def to_json(self) -> dict[str, Any]:
        return {"files": {name: dict(counts) for name, counts in self.files.items()}, "notes": self.notes, "doubts": self.doubts}
