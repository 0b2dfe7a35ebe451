"""Ask a model or a whole chain of retrieval the held-out queries, and put figures of all systems side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec_core.evaluation.interval import intervals
from kgrec_core.evaluation.metrics import measure
from kgrec_core.evaluation.ranks import dense_ranks, hits_ranks
from kgrec_core.evaluation.variants import Case
from kgrec_core.graph import Graph, Task, candidates
from kgrec_core.interfaces import Filter, Hits, Retrieval
from kgrec_core.model import Model

DEPTH = 100  # ranks beyond it count as not found, in the chain
AGAINST = ("before", "without_knowledge", "without_language_model")  # the other chains, with which "after" is compared
SYSTEMS = ("encoder_before", "encoder_after", *AGAINST, "after", "published")  # rows of a table, below the floors
Values = dict[str, NDArray[np.float64]]  # metric -> one value per query, NaN where nothing is right


def model_ranks(model: Model, graph: Graph, task: Task, case: Case) -> NDArray[np.float64]:
    """The encoder alone: the targets' ranks among all candidates, by their dot products with the query."""
    nodes = candidates(graph, task)
    if case.within is not None:
        nodes = nodes.take(np.flatnonzero(np.isin(nodes.rows, case.within)))
    c, q = model.vectors(task, nodes).T, model.vectors(task, case.queries.nodes)
    return dense_ranks(lambda part: q[part] @ c, case.queries.targets, nodes.rows, case.exclude)


def chain_hits(model: Model, retrieval: Retrieval, task: Task, case: Case) -> Hits:
    """What the built retrieval finds for the case's queries; where only some candidates compete, for those that have a target."""
    nodes = case.queries.nodes
    if case.within is None:
        return retrieval.search(nodes, model.vectors(task, nodes), DEPTH, exclude=case.exclude)
    asked, open_ = np.flatnonzero(case.queries.targets.counts), np.zeros(nodes.graph.size(task.relation.target), bool)
    open_[case.within] = True
    some = nodes.take(asked)
    found = retrieval.search(
        some, model.vectors(task, some), DEPTH, Filter(open_), None if case.exclude is None else case.exclude.take(asked)
    )
    hits = Hits(np.full((len(nodes), found.rows.shape[1]), -1, np.int64), np.full((len(nodes), found.rows.shape[1]), -np.inf, np.float32))
    hits.rows[asked], hits.scores[asked] = found.rows, found.scores
    return hits


def chain_values(hits: Hits, case: Case) -> Values:
    """Every metric of every query, (n,) each, NaN without a target."""
    return measure(hits_ranks(hits, case.queries.targets), case.queries.targets)


def table(systems: Mapping[str, Values], floors: Mapping[str, Values], metric: str, seed: int) -> dict[str, Any]:
    """Means with 95 % intervals of every system, of the floors, and of paired gains: of the chain, and of the encoder alone."""
    every = {**systems, **{f"floor/{name}": values for name, values in floors.items()}}
    best = max(floors, key=lambda name: np.nanmean(floors[name][metric])) if floors else None
    pairs = [*(("after", name, name) for name in AGAINST), ("after", "floor", f"floor/{best}")]
    pairs += [("encoder_after", "encoder_before", "encoder_before"), ("encoder_after", "text", "floor/text")]
    columns = {f"{system}|{name}": v for system, values in every.items() for name, v in values.items()}
    for one, label, other in pairs:
        if one in every and other in every:
            columns |= {f"gain:{one}-{label}|{name}": v - every[other][name] for name, v in every[one].items() if name in every[other]}
    found: dict[str, Any] = {"floor": {}, "gain": {}}
    for key, value in intervals({k: v for k, v in columns.items() if np.isfinite(v).any()}, seed).items():
        system, name = key.split("|")
        if system.startswith("floor/"):
            found["floor"].setdefault(system.removeprefix("floor/"), {})[name] = value
        elif system.startswith("gain:"):
            found["gain"].setdefault(system.removeprefix("gain:"), {})[name] = value
        else:
            found.setdefault(system, {})[name] = value
    if best:
        found["best_floor"] = best
    return found
