"""What rules cost: accuracy with and without them, on the select queries, which nothing learned from and the test is not asked of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kgrec_core.evaluation import beyond, variants
from kgrec_core.evaluation.interval import gain, interval
from kgrec_core.evaluation.metrics import measure
from kgrec_core.evaluation.ranks import hits_ranks
from kgrec_core.graph import Nodes, candidates
from kgrec_core.interfaces import Filter, Hits
from kgrec_core.lifecycle.held_out import held_out
from kgrec_core.run.asked import allowed
from kgrec_core.run.rules import Rules
from kgrec_core.run.steering import steered

if TYPE_CHECKING:
    from kgrec_core.run.run import Run

K, ASKED = 10, 1_000


def price(
    run: Run,
    rules: Rules,
    task: str | None = None,
    asked: int = ASKED,
    seed: int = 0,
    where: str | None = None,
    exclude: Sequence[str] = (),
) -> dict[str, Any]:
    """Of a run as it was before validation, at most `asked` select queries: "ndcg@10" without and with the rules and the paired "gain"
    (below 0: what they cost), and of both lists diversity@10, the share of places of new candidates, and coverage@10.

    where, exclude: filters that go with the rules, as in a request.

    Raises KgrecError for rules that cannot be kept, and where the run's data cannot be loaded.
    """
    rules.check()
    (views, snapshot), of = held_out(run), run.task(task)
    view, retrieval, model = views["select"], snapshot.retrievals[of.name], snapshot.model
    graph = view.graph
    model.refresh(graph)
    retrieval.build(graph, of, candidates(graph, of), model.encode(of))
    queries = view.queries[of.name]
    index = np.flatnonzero(queries.targets.counts)
    queries = queries.take(np.sort(np.random.default_rng(seed).permutation(index)[:asked]))
    case, vectors = variants.whole(queries, of), model.vectors(of, queries.nodes)
    rows = candidates(graph, of).rows
    open_, free = allowed(graph, of, where, exclude, rules.related), allowed(graph, of)

    def search(depth: int, within: Filter) -> Hits:
        return retrieval.search(queries.nodes, vectors, depth, within, case.exclude)

    def encode(of_rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return model.vectors(of, Nodes(graph, of.relation.target, of_rows, "candidate"))

    lists = {"without": search(K, free), "with": steered(search, rules, graph, of, K, open_, encode)}
    values = {name: measure(hits_ranks(hits, queries.targets), queries.targets, ("ndcg@10",))["ndcg@10"] for name, hits in lists.items()}
    new = graph.degree(of.relation, np.arange(graph.size(of.relation.target)), inverse=True) == 0
    own = encode(rows)
    found: dict[str, Any] = {"ndcg@10": {name: interval(v) for name, v in values.items()}, "gain": gain(values["with"], values["without"])}
    for name, hits in lists.items():
        there = hits.rows >= 0
        found[name] = {
            "diversity@10": float(np.nanmean(beyond.intra_list_diversity(hits, rows, own, K))),
            "new@10": float(new[hits.rows[there]].mean()) if there.any() else 0.0,
            "coverage@10": beyond.coverage(hits, rows, K),
        }
    return found
