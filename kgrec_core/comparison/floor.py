"""The training-free floor of a ranking: what a fine-tuned model must beat, on the same views and by the same ranks.

A method is some channels whose scores are merged (as `merge` does by score), with a few settings to choose among by NDCG@10 on
`select`. Nothing is learned by gradient and no language model is used. Another floor is another entry of `methods`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.comparison.contenders import TIE
from kgrec_core.errors import KgrecError
from kgrec_core.evaluation.metrics import RANKED, measure
from kgrec_core.evaluation.ranks import BLOCK, block_columns, block_ranks, columns
from kgrec_core.evaluation.variants import Case, whole
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Task, View, candidates
from kgrec_core.interfaces import Retrieval
from kgrec_core.retrieval.content import Content
from kgrec_core.retrieval.cooccurrence import Cooccurrence
from kgrec_core.retrieval.ease import Ease
from kgrec_core.retrieval.merge import fuse
from kgrec_core.retrieval.pool import relative, union
from kgrec_core.retrieval.popular import Popular
from kgrec_core.retrieval.repeat import Repeat

DECAYS = (0.5, 0.7, 0.85, 0.95)  # weight of a choice relative to the one after it
WINDOWS = (7, 30, 90, 0)  # days before a query's moment that popularity counts; 0 = all
HALF_LIVES = (30, 60, 90, 180, 365, 0)  # days; 0 = old and new choices count the same
TIES = (0.01, 0.1, 0.5)  # weight of popularity beside a query's own frequency; the first only breaks ties
WEIGHTS = (0, 0.1, 0.2, 0.3, 0.5, 0.7, 1)  # of what goes with the history, is like it in words, in what the graph says
BLENDED = (0, 0.3, 1, 3)  # of EASE beside what goes with the history
SELECTED, POOL = 2_000, 100  # queries that choose, and how many candidates each channel gives them
Settings = Mapping[str, Mapping[str, Any]]  # channel -> attributes


class Method(NamedTuple):
    """Channels that a method merges, the settings and weights to choose among, all of which matter only when a channel is asked.

    A channel's settings and weight stay as an earlier method chose them, unless they are to be chosen again; weight 1 where none is given.
    """

    channels: Sequence[str]
    settings: Sequence[Settings] = ({},)
    weights: Mapping[str, Sequence[float]] = {}


class Channel(NamedTuple):
    """use, fixed: how a recipe names it, and what it always sets. make: builds it."""

    use: str
    make: Callable[..., Retrieval]
    fixed: Mapping[str, Any] = {}


CHANNELS = {
    "popular": Channel("popular", Popular),
    "repeat": Channel("repeat", Repeat),
    "cooccurrence": Channel("cooccurrence", Cooccurrence),
    "text": Channel("content", Content),
    "attributes": Channel("content", Content, {"by": "relations"}),
    "ease": Channel("ease", Ease),
}


def methods(graph: Graph, task: Task, without: Iterable[str] = ()) -> dict[str, Method]:
    """What competes for a task on this graph, in the order of choosing; without: channels to leave out."""
    clock, kind = graph.clocked(task.relation), task.relation.target
    has = {"repeat": task.repeats, "text": "text" in graph.columns(kind), "attributes": any(r.source == kind for r in graph.timeless)}
    near = [name for name in CHANNELS if name not in ("popular", "ease") and has.get(name, True) and name not in without]
    found = {"popularity": Method(["popular"], [{"popular": {"days": days}} for days in (WINDOWS if clock else (0,))])}
    if "repeat" in near:
        lives = [{"repeat": {"half_life": life}} for life in (HALF_LIVES if clock else (0,))]
        found["frequency"] = Method(["repeat", "popular"], lives, {"popular": TIES})
    if "text" in near:
        found["text"] = Method(["text"], [{"text": {"decay": 1.0}}])
    first, *others = near
    tuned = [{name: {"decay": decay} for name in near if name != "repeat"} for decay in DECAYS]
    weights = ({"popular": (1, *TIES)} if first == "repeat" else {}) | dict.fromkeys(others, WEIGHTS)
    found["neighbours"] = Method([first, *weights], tuned, weights)
    if "text" in graph.columns(task.relation.source) or "ease" in without:  # a question is met once: there is nothing to factorise
        return found
    found["ease"] = Method(["ease", "popular"], weights={"popular": TIES})
    return found | {"blend": Method([first, *weights, "ease"], weights={"ease": BLENDED})}


class Measured(NamedTuple):
    """values: method -> metric -> (n,) per test query, NaN without a target. settings: method -> what select chose."""

    values: dict[str, dict[str, NDArray[np.float64]]]
    settings: dict[str, dict[str, Any]]


class Floor:
    """The channels of all methods, built once on the graph that chooses and once on that of the test.

    rebuild: count again on test's graph; False keeps what select knows (leave-one-out protocols). Histories are the queries' own.
    seed: draws the 2,000 select queries that choose, where there are more.
    """

    def __init__(
        self, select: View, test: View, task: Task, *, of: Mapping[str, Method] | None = None, rebuild: bool = True, seed: int = 0
    ) -> None:
        self.select, self.test, self.task, self.seed = select.queries[task.name], test.queries[task.name], task, seed
        self.methods = methods(select.graph, task) if of is None else dict(of)
        names = list(dict.fromkeys(name for method in self.methods.values() for name in method.channels))
        self.chooses, self.tested = (
            {name: _built(name, view.graph, task) for name in names} for view in (select, test if rebuild else select)
        )
        self.rows = candidates(test.graph if rebuild else select.graph, task).rows

    @staticmethod
    def table(settings: Settings, weights: Mapping[str, float]) -> dict[str, Any]:
        """A method with what was chosen for it, as a recipe's retrieval."""
        kept = {name: float(weight) for name, weight in {"popular": TIE, **weights}.items() if weight}
        tables = {name: {"use": CHANNELS[name].use, **CHANNELS[name].fixed, **settings.get(name, {})} for name in kept}
        return {"use": "merge", "by": "score", "weights": kept, **tables}

    def measure(
        self,
        case: Callable[[Queries, Task], Case] = whole,
        metrics: Iterable[str] = RANKED,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Measured:
        """Choose by the targets that count in this case, or take `settings` that were chosen, then rank the candidates for the test queries.

        Raises KgrecError when no select query has a target.
        """
        asked = case(self.test, self.task)
        chosen = {name: (of["settings"], of["weights"]) for name, of in settings.items()} if settings else self._chosen(case)
        targets, ranks = asked.queries.targets, self._ranks(chosen, asked)
        told = {name: {"settings": of, "weights": weights} for name, (of, weights) in chosen.items()}
        return Measured({name: measure(found, targets, tuple(metrics)) for name, found in ranks.items()}, told)

    def chooses_by(self, case: Callable[[Queries, Task], Case]) -> bool:
        """Whether a query that chooses has a target in this case."""
        return bool(len(case(self.select, self.task).queries.targets.rows))

    def _chosen(self, case: Callable[[Queries, Task], Case]) -> dict[str, tuple[Settings, dict[str, float]]]:
        """Method -> settings and weights, one method after the other."""
        chosen_by, chosen = self._drawn(case(self.select, self.task)), {}
        for name, method in self.methods.items():
            kept = {channel: of for settings, _ in chosen.values() for channel, of in settings.items()}
            weights = {channel: weight for _, known in chosen.values() for channel, weight in known.items()}
            chosen[name] = _choose(self.chooses, method, kept, weights, chosen_by)
        return chosen

    def _drawn(self, case: Case) -> Case:
        if not case.queries.targets.counts.any():
            raise KgrecError(f"task {self.task.name}: no query of select has a target, so the floor cannot choose; widen split.validation")
        return case.drawn(SELECTED, self.seed)

    def _ranks(self, chosen: Mapping[str, tuple[Settings, dict[str, float]]], case: Case) -> dict[str, NDArray[np.float64]]:
        """Method -> rank of every target among all candidates, block by block; a channel is asked once for all methods that set it alike."""
        rows = self.rows if case.within is None else np.intersect1d(self.rows, case.within)
        nodes, targets, m = case.queries.nodes, case.queries.targets, len(rows)
        ranks = {name: np.full(len(targets.rows), np.inf) for name in chosen}
        lookup = columns(rows, *(r.rows for r in (targets, case.exclude) if r is not None))
        step = max(1, BLOCK // 4 // max(m, 1))
        for start in range(0, len(nodes), step):
            part = slice(start, min(start + step, len(nodes)))
            block, n = nodes.take(part), part.stop - part.start
            wanted, gone = (None if r is None else block_columns(r, part, lookup) for r in (targets, case.exclude))
            free = np.ones((n, m), bool)
            if gone is not None:
                free[gone.owner[gone.rows >= 0], gone.rows[gone.rows >= 0]] = False
            owner, column = np.nonzero(free)
            pairs, asked = Ragged.of(owner, rows[column], n), {}
            for name, (settings, weights) in chosen.items():
                scores = {}
                for channel in weights:
                    key = channel, tuple(settings.get(channel, {}).items())
                    if key not in asked:
                        asked[key] = _set(self.tested[channel], settings.get(channel, {})).score(block, None, pairs)
                    scores[channel] = asked[key]
                dense = np.zeros((n, m), np.float32)
                dense[free] = fuse(pairs, dict.fromkeys(scores), scores, "score", weights)
                ranks[name][targets.indptr[part.start] : targets.indptr[part.stop]] = block_ranks(dense, wanted, gone)
        return ranks


def _built(name: str, graph: Graph, task: Task) -> Retrieval:
    channel = CHANNELS[name].make(**CHANNELS[name].fixed)
    channel.build(graph, task, candidates(graph, task), no_vectors)
    return channel


def no_vectors(nodes: Nodes) -> NDArray[np.float32]:
    """In place of an encoder. Raises KgrecError."""
    raise KgrecError("a channel of the floor reads vectors; it has none, take one that reads histories")


def _set(channel: Retrieval, settings: Mapping[str, Any]) -> Retrieval:
    """The channel as it answers with other settings."""
    other = copy.copy(channel)
    for name, value in settings.items():
        setattr(other, name, value)
    return other


def _choose(
    built: Mapping[str, Retrieval], method: Method, kept: Settings, known: Mapping[str, float], case: Case
) -> tuple[Settings, dict[str, float]]:
    """The settings and weights with the best NDCG@10 among what the channels find; on a tie the earlier, so what brings nothing gets 0."""
    tried = []
    for of in method.settings:
        settings = {name: {**kept.get(name, {}), **of.get(name, {})} for name in method.channels}
        weights = {name: method.weights[name][0] if name in method.weights else known.get(name, 1.0) for name in method.channels}
        value, ndcg = 0.0, _scores(built, settings, case) if len(method.settings) > 1 or method.weights else None
        for _ in range(2):  # one weight after the other, twice
            for name, options in method.weights.items():
                value, weights[name] = max(((ndcg({**weights, name: w}), w) for w in options), key=lambda found: found[0])
        tried.append((ndcg(weights) if ndcg else value, settings, weights))
    return max(tried, key=lambda found: found[0])[1:]


def _scores(built: Mapping[str, Retrieval], settings: Settings, case: Case) -> Callable[[Mapping[str, float]], float]:
    """What gives the NDCG@10 of weights; of the 100 candidates that every channel finds with these settings."""
    nodes, targets, n = case.queries.nodes, case.queries.targets, len(case.queries.nodes)
    asked = {name: _set(built[name], of).ask(nodes, None) for name, of in settings.items()}
    pool = union([channel.search(POOL, None, case.exclude) for channel in asked.values()], n)
    width = max(1, pool.counts.max(initial=0))
    place = pool.owner, np.arange(len(pool.rows)) - pool.indptr[:-1][pool.owner]

    def spread(values: NDArray, fill: float) -> NDArray[np.float32]:
        out = np.full((n, width), fill, np.float32)
        out[place] = values
        return out

    parts = {name: spread(relative(pool, np.nan_to_num(channel.score(pool))), 0.0) for name, channel in asked.items()}
    start = spread(1e-6 * np.random.default_rng(0).random(len(pool.rows)), -np.inf)  # equal scores: by chance, the mean rank in effect
    right = spread(pool.among(targets), 0.0)
    k, ideal = min(10, width), np.cumsum(1 / np.log2(np.arange(2, 12)))[np.clip(targets.counts, 1, 10) - 1]

    def ndcg(weights: Mapping[str, float]) -> float:
        total = start.copy()
        for name, weight in weights.items():
            if weight:
                total += np.float32(weight) * parts[name]
        best = np.argpartition(-total, k - 1, axis=1)[:, :k]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(total, best, 1), axis=1), 1)
        # What is scored 0 is in the pool by another channel's word only, and level with all that is not in it.
        found = np.take_along_axis(right, best, 1) * (np.take_along_axis(total, best, 1) > 2e-6)
        return float(((found / np.log2(np.arange(2, k + 2))).sum(1) / ideal).mean())

    return ndcg
