"""Before a run is published, it is opened as anybody will open it, and held against the chain that was fitted.

What `save` forgets, `load` cannot give back: without this, the first to notice would be a customer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Graph, Nodes, Task, candidates
from kgrec_core.interfaces import Hits, Retrieval
from kgrec_core.model import Model
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.run.origin import described
from kgrec_core.run.run import snapshot_in

SOME = 16  # queries and candidates that are compared
K = 10
NEAR = 1e-3  # of the largest value: what another order of the same sums may give
FLIPS = 0.25  # share of queries whose answers may differ: a tree of a ranker can tip over by the last digit of a score


def check(new: Path, recipe: Recipe, registry: Registry, dataset: Dataset, model: Model, retrievals: Mapping[str, Retrieval]) -> None:
    """Raise KgrecError, naming the part, where the run folder `new` does not encode or answer as the fitted parts do."""
    again = snapshot_in(new, new, {"tasks": described(dataset.tasks)}, recipe.foreign, registry)
    for task in dataset.tasks:
        pairs = []
        for side, rows in (("query", _sources(dataset.graph, task)), ("candidate", candidates(dataset.graph, task).rows[:SOME])):
            kind = task.relation.source if side == "query" else task.relation.target
            nodes = [Nodes(graph, kind, rows, side) for graph in (dataset.graph, again.graph)]
            vectors = [of.vectors(task, asked) for of, asked in zip((model, again.model), nodes, strict=True)]
            if vectors[0].shape != vectors[1].shape or not _near(vectors[0], vectors[1]).all():
                head = model.heads.get(task.name)
                raise KgrecError(
                    f"{_who(model.encoder)} or {_who(head)}: opened again it gives other vectors for the {kind}s of task {task.name} than it"
                    " did when it was saved, so nothing was published; what `save` writes is not what `load` needs"
                )
            pairs.append((nodes, vectors))
        nodes, vectors = pairs[0]
        if len(nodes[0]) and (part := _first_unlike(retrievals[task.name], again.retrievals[task.name], nodes, vectors)):
            raise KgrecError(
                f"{_who(part)}: opened again it finds other candidates for task {task.name} than it did when it was saved, so nothing was"
                " published; what `save` writes is not what `load` needs"
            )


def _sources(graph: Graph, task: Task) -> NDArray[np.int64]:
    """A few that have edges, from all over the table."""
    rows = np.unique(graph.relations[task.relation]["source"].drop_nulls().to_numpy()).astype(np.int64)
    return rows[np.linspace(0, len(rows) - 1, min(SOME, len(rows))).astype(int)] if len(rows) else rows


def _first_unlike(part: Retrieval, again: Retrieval, nodes: list[Nodes], vectors: list[NDArray[np.float32]]) -> Retrieval | None:
    """The innermost part that answers otherwise; None where the whole answers alike."""
    for one, other in reversed(list(zip(part.inside(), again.inside(), strict=True))):
        found = [of.search(asked, x, K) for of, asked, x in zip((one, other), nodes, vectors, strict=True)]
        if _unlike(*found).mean() > FLIPS:
            return one
    return None


def _unlike(one: Hits, other: Hits) -> NDArray[np.bool_]:
    """(n,) whether a query's scores differ, or the candidate where its score stands clear of its neighbours'."""
    score = np.where(one.rows < 0, 0, one.scores)
    gap = np.abs(np.diff(score, axis=1, prepend=np.inf, append=-np.inf)) > 2 * NEAR * np.abs(score).max(initial=1e-9)
    clear = gap[:, 1:] & gap[:, :-1] & (one.rows >= 0)
    same = _near(score, np.where(other.rows < 0, 0, other.scores)) & ((one.rows < 0) == (other.rows < 0))
    return (~same | (clear & (one.rows != other.rows))).any(1)


def _near(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.abs(one - other) <= NEAR * max(float(np.abs(one).max(initial=0)), 1e-6)


def _who(part: object) -> str:
    return str(getattr(part, "origin_", type(part).__name__))
