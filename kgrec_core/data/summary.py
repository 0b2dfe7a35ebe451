"""What was read, for people: rows, what was left out and why, what is doubtful. A data part fills one; `kgrec_core.data.facts` adds the graph's."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from kgrec_core.data.table import Table

log = logging.getLogger("kgrec")


class Summary:
    """files: name -> {"rows": read, a reason: rows left out for it}. notes: what a reader should know. doubts: what is probably wrong.

    entities, relations: what `facts.summary_of` counts of each.
    """

    def __init__(self) -> None:
        self.files: dict[str, Counter[str]] = {}
        self.entities: dict[str, dict[str, Any]] = {}
        self.relations: dict[str, dict[str, Any]] = {}
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
        return {**vars(self), "files": {name: dict(counts) for name, counts in self.files.items()}}


def told(data: Mapping[str, Any]) -> list[str]:
    """The lines of a summary, as `to_json` gave it."""
    lines = []
    for name, counts in data["files"].items():
        left = [f"{count:,} left out ({why})" for why, count in counts.items() if why != "rows"]
        lines.append(", ".join([f"{name}: {counts.get('rows', 0):,} rows", *left]))
    for kind, of in data["entities"].items():
        text = [f"{of['text']:.0%} with text" + (f" ({', '.join(of['scripts'])})" if of["scripts"] else "")] if "text" in of else []
        never = [f"{count:,} never in {relation}" for relation, count in of.get("never", {}).items() if count]
        lines.append(", ".join([f"{kind}: {of['count']:,}", *text, *never]))
    for name, of in data["relations"].items():
        span = f", {of['first']} to {of['last']}" if "first" in of else ""
        lines.append(f"{name}: {of['edges']:,} edges of {of['sources']:,} with {of['targets']:,}{span}")
    return [*lines, *(f"note: {said}" for said in data["notes"]), *(f"doubt: {said}" for said in data["doubts"])]
