"""The training-free floor of a ranking: what a fine-tuned model must beat, on the same views and by the same ranks.

`popularity` (of a window); `frequency` (own earlier choices weighted by recency, only where repeats are allowed); `text`, TF-IDF of
the texts alone; and `neighbours`, a weighted sum of co-occurrence, texts and graph attributes around the query's history. The few
settings are chosen by NDCG@10 on `select`. Nothing is learnt by gradient and no language model is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError, choices
from kgrec_core.evaluation.metrics import RANKED, measure
from kgrec_core.evaluation.ranks import BLOCK, Score, block_columns, block_ranks, columns, dense_ranks
from kgrec_core.evaluation.variants import Case, whole
from kgrec_core.graph import DAY, Graph, Queries, Task, View, candidates

COMPONENTS = ("cooccurrence", "text", "graph")
DECAYS = (0.5, 0.7, 0.85)  # weight of a choice relative to the one after it
WINDOWS = (7, 30, 90, None)  # days before the view's end that popularity counts; None = all
HALF_LIVES = (30, 60, 90, 180, 365, None)  # days; None = old and new choices count the same
TIES = (0.01, 0.1, 0.5)  # weight of popularity beside a query's own frequency; the first only breaks ties
WEIGHTS = (0, 0.1, 0.2, 0.3, 0.5, 0.7, 1)  # of every component but the first, which has 1
SELECTED = 4_000
# Words of the Latin alphabet; scripts without spaces by the character.
TOKEN = r"[a-z0-9]+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"


class Floor(NamedTuple):
    """values: method -> metric -> (n,) per test query, NaN without a target. settings: method -> what select chose."""

    values: dict[str, dict[str, NDArray[np.float64]]]
    settings: dict[str, dict[str, Any]]


def rank_floor(
    select: View,
    test: View,
    task: Task,
    *,
    metrics: Iterable[str] = RANKED,
    case: Callable[[Queries, Task], Case] = whole,
    components: Sequence[str] = COMPONENTS,
    rebuild: bool = True,
    seed: int = 0,
) -> Floor:
    """Choose settings on at most 4,000 queries of `select` (drawn by `seed`), then measure every method on `test`.

    case: which targets count and what is out of the ranking, see `variants`. components: those of `neighbours`; what the
    graph does not have (texts, timeless relations of the target kind) is left out, and where a query has a text of its own (a
    question) it is part of the profile. rebuild: count popularity and
    co-occurrence again on test's graph; False keeps those of select (leave-one-out protocols). Histories are the queries' own.

    Raises KgrecError for an unknown component and when no select query has a target.
    """
    for name in set(components) - set(COMPONENTS):
        raise choices("component of the floor", name, COMPONENTS)
    chosen_by = _drawn(case(select.queries[task.name], task), task, seed)
    asked, metrics = case(test.queries[task.name], task), tuple(metrics)
    items = _Items(select.graph, task, candidates(select.graph, task).rows)
    later = _Items(test.graph if rebuild else select.graph, task, candidates(test.graph, task).rows)

    dated = select.graph.dated(task.relation)
    scores, settings, own = {}, {}, {}

    def choose(method: str, make: Callable[..., Score], grid: list[dict[str, Any]]) -> dict[str, Any]:
        settings[method] = max(grid, key=lambda of: _ndcg(_ranks(make(items, chosen_by, **of), items, chosen_by), chosen_by))
        scores[method] = make(later, asked, **settings[method])
        return settings[method]

    window = choose("popularity", _popularity, [{"days": days} for days in (WINDOWS if dated else (None,))])["days"]
    if task.repeats:
        lives = HALF_LIVES if dated else (None,)
        grid = [{"half_life_days": life, "popularity": tie, "popularity_days": window} for life, tie in product(lives, TIES)]
        own = choose("frequency", _frequency, grid)
    if "text" in components and items.has("text"):
        words, settings["text"] = _Parts(later, asked, ("text",), 1.0, {}), {}
        scores["text"] = lambda part: words(part)[0]
    names = (*(["frequency"] if task.repeats else []), *(c for c in COMPONENTS if c in components and items.has(c)))
    if names:
        decay, weights = _choose(items, chosen_by, names, own)
        parts = _Parts(later, asked, names, decay, own)
        scores["neighbours"] = lambda part: _weighted(parts(part), weights)
        settings["neighbours"] = {"decay": decay, "weights": dict(zip(names, weights, strict=True))}
    targets = asked.queries.targets
    return Floor({method: measure(_ranks(score, later, asked), targets, metrics) for method, score in scores.items()}, settings)


def _drawn(case: Case, task: Task, seed: int) -> Case:
    index = np.flatnonzero(case.queries.targets.counts)
    if not len(index):
        raise KgrecError(f"task {task.name}: no query of select has a target, so the floor cannot choose; widen split.validation")
    if len(index) > SELECTED:
        index = np.sort(np.random.default_rng(seed).choice(index, SELECTED, replace=False))
    return Case(case.queries.take(index), None if case.exclude is None else case.exclude.take(index))


def _choose(items: _Items, case: Case, names: Sequence[str], own: dict[str, Any]) -> tuple[float, tuple[float, ...]]:
    """The decay and weights with the best NDCG@10; on a tie the earlier, so a component that brings nothing gets 0."""
    grid = [(1, *rest) for rest in product(WEIGHTS if len(names) < 4 else WEIGHTS[::2], repeat=len(names) - 1)]
    targets, found = case.queries.targets, []
    for decay in DECAYS:
        parts, ranks = _Parts(items, case, names, decay, own), np.empty((len(grid), len(targets.rows)))
        for part in items.blocks(len(case.queries.nodes)):
            scored, inside = parts(part), slice(targets.indptr[part.start], targets.indptr[part.stop])
            lists = items.lists(case, part)
            for row, weights in zip(ranks, grid, strict=True):
                row[inside] = block_ranks(_weighted(scored, weights), *lists)
        found += [(_ndcg(row, case), decay, weights) for row, weights in zip(ranks, grid, strict=True)]
    return max(found, key=lambda f: f[0])[1:]


def _weighted(scored: list[NDArray[np.float32]], weights: Sequence[float]) -> NDArray[np.float32]:
    total = scored[0] * np.float32(weights[0])
    for component, weight in zip(scored[1:], weights[1:], strict=True):
        if weight:
            total += component * np.float32(weight)
    return total


def _ranks(score: Score, items: _Items, case: Case) -> NDArray[np.float64]:
    return dense_ranks(score, case.queries.targets, items.rows, case.exclude)


def _ndcg(ranks: NDArray[np.float64], case: Case) -> float:
    return float(measure(ranks, case.queries.targets, ["ndcg@10"])["ndcg@10"].mean())


def _popularity(items: _Items, case: Case, days: float | None) -> Score:
    counts = items.popularity(days)
    return lambda part: np.tile(counts, (part.stop - part.start, 1))


def _frequency(items: _Items, case: Case, half_life_days: float | None, popularity: float, popularity_days: float | None) -> Score:
    """How often a query chose each candidate, one count per moment (a basket), halved every so many days, plus popularity."""
    nodes, relation = case.queries.nodes, items.task.relation
    seen = nodes.read(relation)
    rows = pl.DataFrame({"query": seen.owner, "row": seen.rows, "age": np.zeros(len(seen.rows))})
    if nodes.graph.dated(relation):
        time = nodes.graph.values(relation, "time", seen.edges)
        last = np.full(len(nodes), time.max(initial=0) + 1)
        now = last if nodes.before is None else np.minimum(nodes.before, last)
        rows = rows.with_columns(age=pl.Series((now[seen.owner] - time) / DAY)).unique(maintain_order=True)
    column = items.lookup[rows["row"].to_numpy()]
    weight = np.where(column >= 0, 0.5 ** (rows["age"].to_numpy() / (half_life_days or np.inf)), 0).astype(np.float32)
    chosen = sp.csr_matrix((weight, (rows["query"].to_numpy(), np.maximum(column, 0))), shape=(len(nodes), len(items.rows)))
    counts = items.popularity(popularity_days)
    tie = counts * np.float32(popularity / max(counts.max(initial=0), 1))
    return lambda part: chosen[part].toarray() + tie


class _Parts:
    """The components of a block of queries, each (b, m) and divided by its largest value among the query's candidates."""

    def __init__(self, items: _Items, case: Case, names: Sequence[str], decay: float, own: dict[str, Any]) -> None:
        self.items, self.case, nodes = items, case, case.queries.nodes
        history = nodes.read(items.task.relation)
        age = np.repeat(history.indptr[1:], history.counts) - 1 - np.arange(len(history.rows))
        size = items.graph.size(items.task.relation.target)
        self.profile = sp.csr_matrix(((decay**age).astype(np.float32), history.rows, history.indptr), shape=(len(nodes), size))
        self.scores = [_frequency(items, case, **own) if name == "frequency" else getattr(self, name) for name in names]

    def __call__(self, part: slice) -> list[NDArray[np.float32]]:
        exclude = self.items.lists(self.case, part)[1]
        scored = [score(part) for score in self.scores]
        for component in scored:
            if exclude is not None:
                out = exclude.rows >= 0
                component[exclude.owner[out], exclude.rows[out]] = 0
            highest = component.max(1, keepdims=True, initial=0)
            component /= np.where(highest > 0, highest, 1)
        return scored

    def cooccurrence(self, part: slice) -> NDArray[np.float32]:
        return (self.profile[part] @ self.items.cooccurrence).toarray()

    def text(self, part: slice) -> NDArray[np.float32]:
        items, nodes = self.items, self.case.queries.nodes
        query = self.profile[part] @ items.text
        if "text" in nodes.graph.columns(nodes.kind):  # a question is its own profile
            own = nodes.graph.gather(nodes.kind, nodes.rows[part], "text")["text"].fill_null("")
            query = query + items.words.transform(own).astype(np.float32)
        return _product(items.text[items.rows], query)

    def graph(self, part: slice) -> NDArray[np.float32]:
        return _product(self.items.attributes[self.items.rows], self.profile[part] @ self.items.attributes)


@dataclass(frozen=True, eq=False)
class _Items:
    """What is known of the target kind's rows on one graph; `rows` (m,) are the candidates, the columns of all scores."""

    graph: Graph
    task: Task
    rows: NDArray[np.int64]

    @cached_property
    def lookup(self) -> NDArray[np.int64]:
        return columns(self.rows, np.array([self.graph.size(self.task.relation.target) - 1]))

    def blocks(self, n: int) -> list[slice]:
        step = max(1, BLOCK // max(len(self.rows), 1))
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    def lists(self, case: Case, part: slice) -> list:
        """Targets and excluded rows of a block, as columns."""
        return [None if r is None else block_columns(r, part, self.lookup) for r in (case.queries.targets, case.exclude)]

    def has(self, component: str) -> bool:
        return {"cooccurrence": lambda: True, "text": lambda: self.words is not None, "graph": lambda: bool(self._attributes)}[component]()

    def chosen(self, days: float | None = None) -> sp.csr_matrix:
        """Binary source x target matrix of the task's edges, of the last `days` before the view's end only."""
        edges = self.graph.relations[self.task.relation].drop_nulls(["source", "target"])
        if days is not None and len(edges):
            end = edges["time"].max() + 1 if self.graph.as_of is None else self.graph.as_of
            edges = edges.filter(pl.col("time") >= end - int(days * DAY))
        pairs = edges.select("source", "target").unique()
        shape = [self.graph.size(kind) for kind in (self.task.relation.source, self.task.relation.target)]
        return sp.csr_matrix((np.ones(len(pairs), np.float32), (pairs["source"].to_numpy(), pairs["target"].to_numpy())), shape=shape)

    def popularity(self, days: float | None) -> NDArray[np.float32]:
        """(m,) how many sources chose each candidate in the last `days`."""
        return np.asarray(self.chosen(days).sum(0)).ravel()[self.rows].astype(np.float32)

    @cached_property
    def cooccurrence(self) -> sp.csr_matrix:
        """(size, m) cosine of the columns of `chosen`, without the diagonal."""
        unit = _unit(self.chosen().T.tocsr())
        together = (unit @ unit.T).tocsr()
        together.setdiag(0)
        together.eliminate_zeros()
        return together[:, self.rows]

    @cached_property
    def words(self) -> Any:
        """The fitted vectoriser of the texts: 1 + log tf, smoothed idf, L2 (None = no text)."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        if not self._texts.str.to_lowercase().str.contains(TOKEN).any():
            return None
        return TfidfVectorizer(token_pattern=TOKEN, sublinear_tf=True).fit(self._texts)

    @cached_property
    def _texts(self) -> pl.Series:
        kind = self.task.relation.target
        return self.graph.entities[kind]["text"].fill_null("") if "text" in self.graph.columns(kind) else pl.Series([""])

    @cached_property
    def text(self) -> sp.csr_matrix:
        """(size, words)"""
        return self.words.transform(self._texts).astype(np.float32)

    @cached_property
    def _attributes(self) -> list[sp.csr_matrix]:
        kind, found = self.task.relation.target, []
        for relation in sorted(self.graph.timeless):
            if relation.source == kind and len(self.graph.relations[relation]):
                ends = self.graph.relations[relation].select("source", "target").drop_nulls().unique()
                shape = self.graph.size(kind), self.graph.size(relation.target)
                found.append(sp.csr_matrix((np.ones(len(ends)), (ends["source"].to_numpy(), ends["target"].to_numpy())), shape=shape))
        return found

    @cached_property
    def attributes(self) -> sp.csr_matrix:
        """(size, values) indicators of what the timeless relations lead to, idf-weighted, L2."""
        whole = sp.hstack(self._attributes).tocsr()
        idf = np.log((1 + whole.shape[0]) / (1 + np.bincount(whole.indices, minlength=whole.shape[1]))) + 1
        return _unit(whole @ sp.diags(idf)).astype(np.float32)


def _unit(matrix: sp.csr_matrix) -> sp.csr_matrix:
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(1)).ravel())
    return (sp.diags((1 / np.where(norm > 0, norm, 1)).astype(matrix.dtype)) @ matrix).tocsr()


def _product(items: sp.csr_matrix, queries: sp.csr_matrix) -> NDArray[np.float32]:
    """(b, m) dense queries @ items.T: sparse by dense is several times faster here than sparse by sparse."""
    return np.ascontiguousarray((items @ queries.T.toarray()).T)
