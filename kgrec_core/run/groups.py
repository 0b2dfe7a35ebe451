"""Groups of candidates by what the graph and their columns say of them: what rules are stated in."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import choices
from kgrec_core.graph import Graph, Relation, Task

NEW = "new"
SAYS = re.compile(r"\s*([\w -]+?)\s*(!?=)\s*(.+?)\s*$")


def relation_of(graph: Graph, kind: str, name: str) -> Relation | None:
    """The timeless relation of a kind by its name, or by its name without has_."""
    found = {r.name: r for r in graph.timeless if r.source == kind}
    return found.get(name) or found.get(f"has_{name}")


def values_of(graph: Graph, task: Task, name: str, rows: NDArray[np.int64]) -> list[list]:
    """Of each row the values that a quota counts: ends of a relation, or the value of a column."""
    kind = task.relation.target
    if (relation := relation_of(graph, kind, name)) is not None:
        ends = graph.adjacent(relation, rows)
        return [ends.rows[ends.indptr[i] : ends.indptr[i + 1]].tolist() for i in range(len(rows))]
    columns = [column for column in graph.columns(kind) if column not in ("id", "text", "since", "until")]
    if name not in columns:
        raise choices(f"relation or column of {kind}", name, dict.fromkeys([*_names(graph, kind), *columns]))
    return [[] if value is None else [value] for value in graph.gather(kind, rows, name)[name].to_list()]


def related(graph: Graph, task: Task, says: Sequence[str]) -> NDArray[np.bool_]:
    """(size,) which candidates are related as it is said. Raises KgrecError for an unknown relation or value."""
    kind = task.relation.target
    wanted, unwanted = {}, np.zeros(graph.size(kind), bool)
    for said in says:
        match = SAYS.match(said)
        if match is None or (relation := relation_of(graph, kind, match[1])) is None:
            name = match[1] if match else said
            raise choices(f"relation of {kind}", name, _names(graph, kind), "write related as NAME=VALUE, e.g. brand=ACME")
        mask = _having(graph, relation, match[3])
        if match[2] == "!=":
            unwanted |= mask
        else:
            wanted[relation] = wanted.get(relation, np.zeros(len(mask), bool)) | mask
    found = ~unwanted
    for mask in wanted.values():
        found &= mask
    return found


def group(graph: Graph, task: Task, said: str) -> NDArray[np.bool_]:
    """(size,) the candidates of a group."""
    kind = task.relation.target
    if said == NEW:
        return graph.degree(task.relation, np.arange(graph.size(kind)), inverse=True) == 0
    match = SAYS.match(said)
    if match is not None and relation_of(graph, kind, match[1]) is not None:
        return related(graph, task, [said])
    from kgrec_core.run.asked import meeting

    return meeting(graph, kind, said)[0]


def _having(graph: Graph, relation: Relation, value: str) -> NDArray[np.bool_]:
    """Sources with an edge to the entity of this id, or of this text whatever its case."""
    row = graph.rows(relation.target, [value])
    if row[0] < 0 and "text" in graph.columns(relation.target):
        texts = graph.entities[relation.target]["text"].str.to_lowercase()
        row = np.flatnonzero((texts == value.lower()).fill_null(False).to_numpy())
    if not len(row) or row[0] < 0:
        from kgrec_core.run.asked import near

        raise choices(f"{relation.target} of this run", value, near(graph, relation.target, value))
    found = np.zeros(graph.size(relation.source), bool)
    found[graph.adjacent(relation, row, inverse=True).rows] = True
    return found


def _names(graph: Graph, kind: str) -> list[str]:
    return sorted(r.name.removeprefix("has_") for r in graph.timeless if r.source == kind)
