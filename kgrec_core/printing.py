"""What people at a terminal see, and machines behind it: names and texts come from outside, so nothing reaches it raw."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from kgrec_core.errors import line, visible
from kgrec_core.requests import as_data


def say(text: str) -> None:
    """Print for people."""
    click.echo(visible(text))


def say_json(value: Any, indent: int | None = 2) -> None:
    """Print for machines; what a terminal would obey is escaped, which is the same JSON."""
    unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    whole = json.dumps(as_data(value), indent=indent, ensure_ascii=not unicode, allow_nan=False)
    click.echo(re.sub("[\x7f-\uffff]|[\U000e0000-\U000e0fff]", lambda found: _escaped(found.group()), whole))


def _escaped(character: str) -> str:
    return character if visible(character) == character else json.dumps(character)[1:-1]


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns, each in one line; the last column is not padded."""
    if not rows:
        return ""
    rows = [[line(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)] + [0]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def came_to(metrics: dict[str, Any]) -> str:
    """A fit's verdict in sentences, and a short table; all systems and gains are in `figures`."""
    from kgrec_core.report.verdict import short, verdict

    blocks = []
    for name, task in metrics["tasks"].items():
        blocks += ["\n".join(verdict(name, task)), columns(short(task))]
    return "\n\n".join(filter(None, [*blocks, *metrics.get("dropped", [])])) or figures(metrics)


def figures(metrics: dict[str, Any]) -> str:
    """The test figures as a table for people."""
    from kgrec_core.evaluation.rank_tables import SYSTEMS

    blocks = []
    for task, of in metrics["tasks"].items():
        for case, found in {"": of["test"], **of["test"].get("variants", {})}.items():
            names = (
                ("accuracy", "macro_f1")
                if any("accuracy" in found.get(name, ()) for name in SYSTEMS)
                else ("ndcg@10", "recall@20", "mrr", "hit_rate@10")
            )
            head = ", ".join(filter(None, (task, case.replace("_", " "))))
            rows = [[head, *names]]
            systems = [(f"floor: {name}", values) for name, values in found["floor"].items()]
            systems += [(name.replace("_", " "), found[name]) for name in SYSTEMS if name in found]
            rows += [[name, *(_cell(values.get(metric)) for metric in names)] for name, values in systems]
            for name, values in found["gain"].items():
                rows.append([f"gain: {name.replace('_', ' ')}", *(_cell(values.get(metric), signed=True) for metric in names)])
            blocks.append(columns(rows))
    return "\n\n".join([*blocks, *metrics.get("dropped", [])])


def _cell(value: dict[str, float] | None, signed: bool = False) -> str:
    from kgrec_core.report.verdict import figure

    return "-" if value is None else figure(value, signed)
