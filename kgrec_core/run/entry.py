"""One edit as it is written and read: graph tables as Arrow, the rest as JSON, and the hash that ties it to all before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from kgrec_core.graph import Graph, Relation
from kgrec_core.graph.edges import Edges, Relations, check_edges
from kgrec_core.graph.entities import Kind, Kinds
from kgrec_core.run.stored_graph import ipc


class Entry(NamedTuple):
    """One edit. delta: what it adds, `present` its time. old: what its entities were before, to take it back by; None = not kept.

    undoes: the number of the entry that it takes back. calibrations: task -> state, learned again.
    """

    delta: Graph = Graph({})
    old: Mapping[str, pl.DataFrame] | None = None
    undoes: int | None = None
    calibrations: Mapping[str, dict[str, Any]] = {}


def chained(before: str, head: Mapping[str, Any], bodies: Sequence[bytes]) -> str:
    """A hash of an entry and, by the head before it, of all entries before."""
    digest = hashlib.sha256(before.encode() + json.dumps({**head, "chain": None}, sort_keys=True).encode())
    for body in bodies:
        digest.update(hashlib.sha256(body).digest())
    return digest.hexdigest()


def written(entry: Entry) -> tuple[dict[str, Any], list[bytes]]:
    """Head and tables of an entry, as JSON and Arrow can hold them; see `read`."""
    delta, old = entry.delta, entry.old or {}
    head = {
        "entities": list(delta.entities),
        "relations": [list(r) for r in delta.relations],
        "timeless": [r in delta.timeless for r in delta.relations],
        "sizes": [len(t) for t in delta.entities.values()],
        "time": delta.present,
        "undoes": entry.undoes,
        "old": None if entry.old is None else list(old),
        "calibrations": dict(entry.calibrations),
    }
    return head, [ipc(t) for t in (*delta.entities.values(), *delta.relations.values(), *old.values())]


def read(head: Mapping[str, Any], tables: Sequence[pl.DataFrame]) -> Entry:
    """As it was written. Raises ValueError where it was not; ids are not looked at again."""
    if missing := {"entities", "relations", "timeless", "sizes", "undoes"} - head.keys():
        raise ValueError(f"its head has no {min(missing)}")
    listed = [head[name] for name in ("entities", "relations", "timeless", "sizes")]
    if not all(isinstance(each, list) for each in listed) or not all(isinstance(name, str) for name in head["entities"]):
        raise ValueError("its head does not list what it holds")
    numbers = (head.get("time") or 0, head["undoes"] or 0)
    if not all(type(number) is int and 0 <= number < 2**62 for number in numbers) or not isinstance(head.get("calibrations") or {}, dict):
        raise ValueError("its head holds a time, a number or calibrations that are none")
    if len(head["entities"]) != len(head["sizes"]) or len(head["relations"]) != len(head["timeless"]):
        raise ValueError("its head lists more than it holds")
    if len(tables) != len(head["entities"]) + len(head["relations"]) + len(head.get("old") or ()):
        raise ValueError(f"an edit has {len(tables)} tables")
    frames = iter(tables)
    kinds = {kind: next(frames) for kind in head["entities"]}
    relations = {Relation(*map(str, r)): next(frames) for r in head["relations"]}
    if any(table.schema.get("id") != pl.String or table["id"].null_count() for table in kinds.values()):
        raise ValueError("an edit's entities have no ids")
    for relation, table in relations.items():
        ends = {"source": (relation.source, len(kinds[relation.source])), "target": (relation.target, len(kinds[relation.target]))}
        check_edges(str(relation), table, ends)
    delta = Graph(
        Kinds({kind: Kind((table,)) for kind, table in kinds.items()}),
        Relations({relation: Edges.of(table) for relation, table in relations.items()}),
        frozenset(r for r, t in zip(relations, head["timeless"], strict=True) if t),
        present=head.get("time") or 0,
    )
    old = head.get("old")
    return Entry(delta, None if old is None else {kind: next(frames) for kind in old}, head.get("undoes"), head.get("calibrations") or {})
