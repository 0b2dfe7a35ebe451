"""The learnt ranker: gradient-boosted trees over what the channels found and what the graph says of each pair."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Task, candidates
from kgrec_core.interfaces import Encode, Filter, Hits, Retrieval, Vectors
from kgrec_core.retrieval.boosting import Rows, Trees, learn, stack
from kgrec_core.retrieval.features import Columns, Features
from kgrec_core.retrieval.merge import Around, fuse
from kgrec_core.retrieval.pool import places, relative, top, union
from kgrec_core.retrieval.profile import clocked
from kgrec_core.retrieval.rehearsal import earlier, unsold

log = logging.getLogger("kgrec")
BLOCK = 256  # queries whose pairs and columns are in memory at once


class _Stage(NamedTuple):
    """The channels and the features as of one graph; a channel that is None is not asked, its columns are NaN.

    whole: the graph before a past was taken from some candidates.
    """

    channels: Mapping[str, Retrieval | None]
    features: Features
    whole: Graph


@dataclass(kw_only=True, eq=False)
class Lambdarank(Around):
    """LightGBM ranking of the pool that the channels find together.

    objective: "lambdarank" (Burges 2010), "rank_xendcg" (Bruch 2021), or "both": the mean of the two, which differ in their mistakes.
    pool: candidates each channel gives. trees, leaves, rate, truncation, smallest (rows in a leaf), columns (share of them per
    tree): of the boosting. bags: models of different seeds per objective. folds: for
    out-of-fold hits; 0 saves their time where nothing is calibrated on them.
    windows, days: simulated earlier moments within the training graph, `days` apart, whose later edges are further examples (none
        where the task's relation has no clock);
    channels that look at the encoder's vectors stay silent there, as the encoder has learned from those very edges.
    cold: share of the candidates whose past is taken away, in the windows and in the adjust queries asked once more, so that the models
        learn what to make of a candidate that nobody has chosen yet; 0 = they place it last.
    negatives: most wrong candidates per query to learn from; 0 = all. threads: 0 = all cores.
    leave_out: columns whose name starts with one of these are not learned from ("events", "age"): where held-out edges of a data set
        can be told by its popularity or order of rows, say.

    Before `fit` it ranks as `merge` does; so it does with a query without a history (a text alone) where it has learned from none of
    that kind, and channels that look at no query, as `popular`, then only order what the others leave equal. Every channel is asked for at least k, so where one of them always finds k, so does this.
    """

    channels: Mapping[str, Retrieval]
    pool: int = 150
    objective: Literal["lambdarank", "rank_xendcg", "both"] = "both"
    trees: int = 160
    leaves: int = 31
    rate: float = 0.05
    truncation: int = 30
    smallest: int = 150
    columns: float = 0.3
    bags: int = 1
    folds: int = 3
    windows: int = 0
    days: float = 30.0
    cold: float = 0.0
    negatives: int = 0
    threads: int = 0
    leave_out: Sequence[str] = ()
    seed: int = 0

    own = "history"
    learns = True
    strangers_ = False
    _windows = None
    trees_ = Trees()

    def build(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        super().build(graph, task, candidates, encode)
        self._encode = encode

    def fit(self, queries: Queries, vectors: Vectors | None) -> Hits:
        """Learn from the queries; returns hits (n, 100) of models that have not seen the query, all empty where folds = 0.

        Raises KgrecError where fewer than two queries have a target among the candidates found.
        """
        examples, names = self._learn_from(self._stage, queries, vectors)
        past = self._rehearsed(names)
        if self.cold:
            past.append(self._learn_from(*self._without(queries), names)[0])
        used = np.flatnonzero(examples.counts)
        if len(used) < 2:
            raise KgrecError(
                f"retrieval.{self.task_.name}: lambdarank found a right answer for {len(used)} queries in the channels' {self.pool} best; "
                "raise pool, add a channel or hold out more for validation"
            )
        fold = np.zeros(len(queries.nodes), np.int64)
        folds = min(self.folds, len(used)) if self.folds > 1 else 0
        order = np.random.default_rng(self.seed).permutation(len(fold))
        order = np.concatenate([order[np.isin(order, used)], order[~np.isin(order, used)]])
        fold[order] = np.arange(len(order)) % max(1, folds)
        self.strangers_ = bool(self._strange(queries.nodes).any())
        k = min(100, len(self.mask_))
        held_out = Hits(np.full((len(fold), k), -1, np.int64), np.full((len(fold), k), -np.inf, np.float32), {})
        for number in range(folds):
            trees = self._train([examples.only(fold != number), *past], names)
            mine = np.flatnonzero(fold == number)
            found = self._search(queries.nodes.take(mine), _take(vectors, mine), k, None, self._excluded(queries.nodes.take(mine)), trees)
            held_out.rows[mine], held_out.scores[mine] = found.rows, found.scores
            for name, values in found.columns.items():
                held_out.columns.setdefault(name, np.full((len(fold), k), np.nan, np.float32))[mine] = values
        self.trees_ = self._train([examples, *past], names)
        return held_out

    def search(self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> Hits:
        """See Retrieval; `columns` holds every channel's score."""
        return self._search(queries, vectors, k, allowed, exclude, self.trees_)

    def save(self, folder: Path) -> None:
        super().save(folder)
        for number, model in enumerate(self.trees_.models):
            (folder / f"model-{number}.txt").write_text(model.model_to_string())
        (folder / "ranker.json").write_text(
            json.dumps({"scales": list(self.trees_.scales), "names": list(self.trees_.names), "strangers": self.strangers_}, indent=1)
        )

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        import lightgbm

        super().load(folder, graph, task)
        try:
            kept = json.loads((folder / "ranker.json").read_text())
            texts = [(folder / f"model-{number}.txt").read_text() for number in range(len(kept["scales"]))]
            self.trees_ = Trees([lightgbm.Booster(model_str=text) for text in texts], kept["scales"], kept["names"])
            self.strangers_ = kept["strangers"]
        except (OSError, ValueError, KeyError, TypeError, lightgbm.basic.LightGBMError) as error:
            raise KgrecError(f"{folder}: the ranker's files are damaged or missing ({error}); fit again") from error

    def _place(self, graph: Graph, task: Task, mask: NDArray[np.bool_]) -> None:
        super()._place(graph, task, mask)
        self._stage = _Stage(self.channels, Features(graph, task), graph)

    def _search(
        self,
        queries: Nodes,
        vectors: Vectors | None,
        k: int,
        allowed: Filter | None,
        exclude: Ragged | None,
        trees: Trees,
    ) -> Hits:
        parts = []
        for block in _blocks(len(queries)):
            nodes, v, gone = queries.take(block), _take(vectors, block), None if exclude is None else exclude.take(block)
            pool, scores, found = self._pool(self._stage, nodes, v, max(self.pool, k), allowed, gone)
            if trees.models:
                ranked = trees(self._columns(self._stage, nodes, pool, scores), len(pool.rows), self.threads)
            else:
                ranked = fuse(pool, found, scores, "rank", {})
            ranked = ranked.astype(np.float32)
            strange = self._strange(nodes) & (bool(trees.models) and not self.strangers_)
            if strange.any():
                blind = {name: 1e-3 for name, channel in self.channels.items() if channel.reads == "nothing"}
                ranked = np.where(strange[pool.owner], fuse(pool, found, scores, "rank", blind), ranked)
            if gone is not None:
                keep = ~pool.among(gone)
                pool, ranked, scores = pool.keep(keep), ranked[keep], {name: values[keep] for name, values in scores.items()}
            parts.append(top(pool, ranked, k, scores))
        if not parts:
            return Hits(np.zeros((0, k), np.int64), np.zeros((0, k), np.float32))
        return Hits(
            np.concatenate([p.rows for p in parts]),
            np.concatenate([p.scores for p in parts]),
            {name: np.concatenate([p.columns[name] for p in parts]) for name in parts[0].columns},
        )

    def _pool(
        self, stage: _Stage, queries: Nodes, vectors: Vectors | None, n: int, allowed: Filter | None, exclude: Ragged | None
    ) -> tuple[Ragged, Columns, dict[str, Hits]]:
        asked = {name: channel.ask(queries, vectors) for name, channel in stage.channels.items() if channel is not None}
        found = {name: one.search(n, allowed, exclude) for name, one in asked.items()}
        # Where repeats may be right the models have learnt with the history in the pool: ranks and best scores are meant with it.
        history = exclude.keep(exclude.rows < len(self.mask_)) if exclude is not None and self.task_.repeats else None
        pool = union(found.values(), len(queries), history)
        scores = {name: one.score(pool) for name, one in asked.items()}
        return pool, scores, found

    def _columns(self, stage: _Stage, queries: Nodes, pool: Ragged, scores: Columns) -> Columns:
        columns = {}
        for name, values in scores.items():
            columns |= {f"{name}: score": values, f"{name}: relative": relative(pool, values), f"{name}: rank": places(pool, values)}
        columns |= stage.features(queries, pool)
        return {name: values for name, values in columns.items() if not name.startswith(tuple(self.leave_out))}

    def _learn_from(
        self, stage: _Stage, queries: Queries, vectors: Vectors | None, names: Sequence[str] | None = None
    ) -> tuple[Rows, Sequence[str]]:
        """The queries' examples; a query without a right candidate in its pool has none."""
        rng, parts = np.random.default_rng(self.seed), []
        for block in _blocks(len(queries.nodes)):
            nodes, v, targets = queries.nodes.take(block), _take(vectors, block), queries.targets.take(block)
            pool, scores, _ = self._pool(stage, nodes, v, self.pool, None, self._excluded(nodes))
            columns = self._columns(stage, nodes, pool, scores)
            names = list(columns) if names is None else names
            y, keep = pool.among(targets), ~pool.among(self._lost(stage, nodes))
            keep &= np.bincount(pool.owner, y & keep, minlength=len(nodes))[pool.owner] > 0
            if self.negatives:
                keep &= y | (places(pool, np.where(y, -1.0, rng.random(len(y)))) < self.negatives)
            parts.append(Rows(stack(columns, names, len(y))[keep], y[keep], np.bincount(pool.owner[keep], minlength=len(nodes))))
        if not parts:
            return Rows(np.zeros((0, len(names or ())), np.float32), np.zeros(0, bool), np.zeros(0, np.int64)), names or ()
        return Rows(*(np.concatenate(column) for column in zip(*parts, strict=True))), names

    def _lost(self, stage: _Stage, nodes: Nodes) -> Ragged:
        """What the queries had met before its past was taken: for them it is not new, and they would say that new is what comes back."""
        met = replace(nodes, graph=stage.whole).read(self.task_.relation)
        return met.keep(~met.among(nodes.read(self.task_.relation)))

    def _earlier(self, number: int) -> tuple[_Stage, Queries]:
        """The channels as they would have been `number` windows ago, and who came back in the window after it."""
        whole, queries = earlier(self.graph_, self.task_, number, self.days)
        then = unsold(whole, self.task_, self.cold, self.seed + number) if self.cold else whole
        log.info("lambdarank learns from %d more queries, %d x %g days ago", len(queries.nodes), number, self.days)
        return self._stage_on(then, whole, blind=True), queries.on(then)

    def _without(self, queries: Queries) -> tuple[_Stage, Queries, Vectors | None]:
        """The queries asked again where nobody has chosen some of the candidates yet, vectors included."""
        then = unsold(self.graph_, self.task_, self.cold, self.seed)
        queries = queries.on(then)
        return self._stage_on(then, self.graph_), queries, self._encode(queries.nodes)

    def _train(self, examples: Sequence[Rows], names: Sequence[str]) -> Trees:
        settings = {
            "num_leaves": self.leaves,
            "learning_rate": self.rate,
            "lambdarank_truncation_level": self.truncation,
            "min_data_in_leaf": self.smallest,
            "feature_fraction": self.columns,
            "num_threads": self.threads,
        }
        objectives = ("lambdarank", "rank_xendcg") if self.objective == "both" else (self.objective,)
        return learn(examples, names, objectives, self.bags, self.seed, self.trees, settings)

    def _rehearsed(self, names: Sequence[str]) -> list[Rows]:
        """The windows' examples. They know nothing of vectors: a later fit on the same graph takes them again."""
        if self._windows is None or self._windows[0] is not self.graph_ or self._windows[1] != names:
            windows = self.windows if clocked(self.graph_, self.task_.relation) else 0
            found = [self._learn_from(*self._earlier(n + 1), None, names)[0] for n in range(windows)]
            self._windows = self.graph_, names, found
        return list(self._windows[2])

    def _stage_on(self, graph: Graph, whole: Graph, blind: bool = False) -> _Stage:
        """Channels and features built again on another graph; blind: those that look at vectors stay silent."""
        channels: dict[str, Retrieval | None] = {}
        for name, channel in self.channels.items():
            channels[name] = None if blind and channel.reads == "vectors" else copy.copy(channel)
            if channels[name] is not None:
                channels[name].build(graph, self.task_, candidates(graph, self.task_), self._encode)
        return _Stage(channels, Features(graph, self.task_), whole)

    def _strange(self, queries: Nodes) -> NDArray[np.bool_]:
        """(n,) which queries have no history."""
        return queries.read(self.task_.relation, last=1).counts == 0

    def _excluded(self, queries: Nodes) -> Ragged | None:
        return None if self.task_.repeats else queries.read(self.task_.relation)


def _blocks(n: int) -> Iterator[NDArray[np.int64]]:
    return (np.arange(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))


def _take(vectors: Vectors | None, index: NDArray[np.int64]) -> Vectors | None:
    return None if vectors is None else vectors[index]
