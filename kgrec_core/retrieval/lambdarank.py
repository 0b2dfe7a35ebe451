"""The learnt ranker: gradient-boosted trees over what the channels found and what the graph says of each pair."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Task
from kgrec_core.graph.clock import clocked
from kgrec_core.interfaces import Encode, Filter, Hits, Retrieval, Vectors
from kgrec_core.recipe.ranges import Count, Fraction, Positive, Several, Share, Size
from kgrec_core.retrieval.boosting import Rows, Trees, learn, stack
from kgrec_core.retrieval.merge import DEPTH
from kgrec_core.retrieval.pairs import Stage
from kgrec_core.retrieval.placing import Placing, blocks, hits_of, part_of, placed_hits
from kgrec_core.retrieval.pool import places
from kgrec_core.retrieval.rehearsal import Rehearsal, Window, drawn_anew, earlier, hidden, unsold
from kgrec_core.retrieval.relation_weights import relation_weights, stored_weights
from kgrec_core.retrieval.trees import booster
from kgrec_core.stored import document

log = logging.getLogger("kgrec")
HIDDEN = 0.1  # of what every source met, where nothing orders it


@dataclass(kw_only=True, eq=False)
class Lambdarank(Placing):
    """LightGBM ranking of the pool that the channels find together.

    objective: "lambdarank" (Burges 2010), "rank_xendcg" (Bruch 2021), or "both": the mean of the two, which differ in their mistakes.
    pool: candidates each channel gives. trees: of the boosting. leaves: of a tree. rate: what a tree adds of what it learned. smallest: rows in
    a leaf, at least. columns: share of them that a tree sees. seed: of what is drawn. folds: for out-of-fold hits; 0 saves their time where nothing is calibrated on them.
    queries: at most so many are learned from, and of each window and of those asked once more at most so many: drawn by the seed.
    windows, days: simulated earlier moments within the training graph, `days` apart, whose later edges are further examples (where
        nothing orders what a source met, and it has no text, as often a tenth of that, drawn anew; none where there is an order but no clock);
    channels that look at the encoder's vectors stay silent there, as the encoder has learned from those very edges.
    cold: share of the candidates whose past is taken away, in the windows and in the adjust queries asked once more, so that the models
        learn what to make of a candidate that nobody has chosen yet; 0 = they place it last.
    apart: learn also from lists of those candidates alone that nobody had chosen at that moment, in the windows and of the adjust queries: as a
        filter for what is new asks for them. Among all others hardly two of them come so high that their order counts.
    unchosen: channel -> weight: what nobody has chosen yet comes in the order of the weighted sum of these channels' scores, each as a share of the
        query's best, in the places that the trees give to such candidates. These channels do nothing else; none = by the trees alone.
    negatives: most wrong candidates per query to learn from; 0 = all. threads: 0 = all cores.
    leave_out: columns whose name starts with one of these are not learned from ("events", "age"): where held-out edges of a data set
        can be told by its popularity or order of rows, say.

    Before `fit` it ranks as `merge` does; so it does with a query without a history (a text alone) where it has learned from none of
    that kind, and channels that look at no query, as `popular`, then only order what the others leave equal; of whom nothing at all is
    known they alone are asked. Every channel is asked for at least k, so where one of them always finds k, so does this.
    Learning holds (windows + 2) * queries * (negatives + right ones) rows of some 90 numbers twice: 8,000 * 190 * 90 * 8 bytes, 1.1 GB, at
    most with two windows and 150 negatives, however many queries there are.
    """

    channels: Mapping[str, Retrieval]
    pool: Size = 150
    objective: Literal["lambdarank", "rank_xendcg", "both"] = "both"
    trees: Size = 80
    leaves: Several = 31
    rate: Positive = 0.1
    smallest: Size = 150
    columns: Fraction = 0.3
    folds: Count = 3
    queries: Size = 2000
    windows: Count = 0
    days: Positive = 30.0
    cold: Share = 0.0
    apart: bool = False
    unchosen: Mapping[str, float] = field(default_factory=dict)
    negatives: Count = 0
    threads: Count = 0
    leave_out: Sequence[str] = ()
    seed: Count = 0

    own = "history"
    learns = True

    def __post_init__(self) -> None:
        for name in self.unchosen:
            if name not in self.channels:
                raise choices("channel", name, self.channels, "unchosen names channels of this lambdarank")

    def build(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        if not self.trees_.models:  # what was fitted is meant with the weights that it learned from
            self.relation_weights_ = relation_weights(graph, task.relation)
        super().build(graph, task, candidates, encode)
        self._encode, _ = encode, self._stage.features

    def extended(self, graph: Graph, new: Nodes, encode: Encode) -> Self:
        other = super().extended(graph, new, encode)
        other._stage.features = self._stage.features.extended(graph, new.rows)
        return other

    def fit(self, queries: Queries, vectors: Vectors | None) -> Hits:
        """Learn from the queries; returns hits (n, 100) of models that have not seen the query, all empty where folds = 0.

        Of fewer than two queries with a target among the candidates found it learns nothing, says so, and goes on ranking as `merge` does.
        """
        given = {name: channel.fit(queries, vectors) for name, channel in self.channels.items() if channel.learns}
        taught = self._drawn(len(queries.nodes), "queries")
        own = queries.take(taught)
        examples, names, _ = self._learn_from(
            self._stage, own, part_of(vectors, taught), given={n: hits_of(h, taught) for n, h in given.items()}
        )
        past, asked = self._rehearsed(names), [examples]
        if self.cold:
            asked.append(self._learn_from(*self._without(own), names)[0])
        if self.apart:
            asked.append(self._learn_from(self._stage, own, part_of(vectors, taught), names, within=self._unchosen(self._stage))[0])
        used = taught[examples.counts > 0]
        k = min(DEPTH, len(self.mask_))
        held_out = Hits(np.full((len(queries.nodes), k), -1, np.int64), np.full((len(queries.nodes), k), -np.inf, np.float32), {})
        if len(used) < 2:
            found = f"{len(used)} queries find a right answer among the channels' {self.pool} best"
            log.warning("retrieval.%s: lambdarank learns nothing and ranks as merge does: %s", self.task_.name, found)
            self.trees_ = Trees([], [], [])
            return held_out
        fold = np.zeros(len(queries.nodes), np.int64)
        folds = min(self.folds, len(used)) if self.folds > 1 else 0
        order = np.random.default_rng(self.seed).permutation(len(fold))
        order = np.concatenate([order[np.isin(order, used)], order[~np.isin(order, used)]])
        fold[order] = np.arange(len(order)) % max(1, folds)
        self.strangers_ = bool(self._strange(own.nodes).any())
        for number in range(folds):
            trees = self._train([*(of.only(fold[taught] != number) for of in asked), *past], names)
            mine = np.flatnonzero(fold == number)
            nodes, known = queries.nodes.take(mine), {n: hits_of(h, mine) for n, h in given.items()}
            found = placed_hits(self._placed(nodes, part_of(vectors, mine), k, None, self._excluded(nodes), trees, known), k)
            held_out.rows[mine], held_out.scores[mine] = found.rows, found.scores
            for name, values in found.columns.items():
                held_out.columns.setdefault(name, np.full((len(fold), k), np.nan, np.float32))[mine] = values
        self.trees_ = self._train([*asked, *past], names)
        return held_out

    def save(self, folder: Path) -> None:
        super().save(folder)
        for number, model in enumerate(self.trees_.models):
            (folder / f"model-{number}.txt").write_text(model.model_to_string())
        (folder / "ranker.json").write_text(
            json.dumps(
                {
                    "scales": list(self.trees_.scales),
                    "names": list(self.trees_.names),
                    "strangers": self.strangers_,
                    "relation_weights": dict(self.relation_weights_),
                },
                indent=1,
            )
        )

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        import lightgbm

        try:
            kept = document(folder / "ranker.json")
            scales, names = [float(scale) for scale in kept["scales"]], [str(name) for name in kept["names"]]
            texts = [(folder / f"model-{number}.txt").read_text() for number in range(len(scales))]
            if not all(scale > 0 for scale in scales):
                raise ValueError("a scale is not above 0")
            self.trees_ = Trees([booster(text, len(names)) for text in texts], scales, names)
            self.strangers_ = bool(kept["strangers"])
            self.relation_weights_ = stored_weights(kept["relation_weights"])
        except (OSError, ValueError, LookupError, TypeError, lightgbm.basic.LightGBMError) as error:
            raise KgrecError(f"{folder}: the ranker's files are damaged or missing ({error}); fit again") from error
        super().load(folder, graph, task)
        _ = self._stage.features  # before the first question, not with it

    def _learn_from(
        self,
        stage: Stage,
        queries: Queries,
        vectors: Vectors | None,
        names: Sequence[str] = (),
        given: Mapping[str, Hits] | None = None,
        within: Filter | None = None,
    ) -> tuple[Rows, Sequence[str], Ragged]:
        """The queries' examples, the names of their columns, and which candidates they are; a query without a right candidate in its pool
        has none. Only what is learned from gets its features. within: which candidates compete."""
        rng, parts, pools = np.random.default_rng(self.seed), [], [Ragged.empty(0)]
        for block in blocks(len(queries.nodes)):
            nodes, v, targets = queries.nodes.take(block), part_of(vectors, block), queries.targets.take(block)
            known = {name: hits_of(hits, block) for name, hits in (given or {}).items()}
            pool, said = stage.pool(nodes, v, self.pool, within, self._excluded(nodes), known)
            y, keep = pool.among(targets), ~pool.among(self._lost(stage, nodes))
            if within is not None:  # where repeats may be right, what was met is in every pool
                keep &= within.rows[pool.rows]
            keep &= np.bincount(pool.owner, y & keep, minlength=len(nodes))[pool.owner] > 0
            if self.negatives:
                keep &= y | (places(pool, np.where(y, -1.0, rng.random(len(y)))) < self.negatives)
            pool = pool.keep(keep)
            columns = {name: values[keep] for name, values in said.items()} | stage.features(nodes, pool)
            names = names or [name for name in columns if not name.startswith(tuple(self.leave_out))]
            parts.append(Rows(stack(columns, names, len(pool.rows)), y[keep], pool.counts))
            pools.append(pool)
        owner = np.repeat(np.arange(len(queries.nodes)), np.concatenate([of.counts for of in pools]))
        pool = Ragged.of(owner, np.concatenate([of.rows for of in pools]), len(queries.nodes))
        if not parts:
            return Rows(np.zeros((0, len(names)), np.float32), np.zeros(0, bool), np.zeros(0, np.int64)), names, pool
        return Rows(*(np.concatenate(column) for column in zip(*parts, strict=True))), names, pool

    def _lost(self, stage: Stage, nodes: Nodes) -> Ragged:
        """What the queries had met before its past was taken: for them it is not new, and they would say that new is what comes back."""
        if stage.whole is stage.graph:
            return Ragged.empty(len(nodes))
        met = replace(nodes, graph=stage.whole).read(self.task_.relation)
        return met.keep(~met.among(nodes.read(self.task_.relation)))

    def _earlier(self, number: int) -> tuple[Stage, Queries]:
        """The channels as they would have been `number` windows ago, and who came back in the window after it."""
        if drawn_anew(self.graph_, self.task_):
            whole, queries = hidden(self.graph_, self.task_, number, HIDDEN, self.seed)
        else:
            whole, queries = earlier(self.graph_, self.task_, number, self.days)
        then = unsold(whole, self.task_, self.cold, self.seed + number) if self.cold else whole
        queries = queries.take(self._drawn(len(queries.nodes), f"queries, {number} x {self.days:g} days ago"))
        stage = Stage(self.ranked, then, self.task_, whole, self._encode, None, blind=True, weights=self.relation_weights_)
        return stage, queries.on(then)

    def _without(self, queries: Queries) -> tuple[Stage, Queries, Vectors | None]:
        """The queries asked again where nobody has chosen some of the candidates yet, vectors included."""
        then = unsold(self.graph_, self.task_, self.cold, self.seed)
        stage = Stage(
            self.ranked, then, self.task_, self.graph_, self._encode, ("unsold", self.cold, self.seed), weights=self.relation_weights_
        )
        return stage, queries.on(then), self._encode(queries.on(then).nodes)

    def _unchosen(self, stage: Stage) -> Filter:
        """What nobody had chosen at a moment, what lost its past aside: that was chosen often, and is of another kind."""
        chosen = stage.whole.degree(self.task_.relation, np.arange(stage.size), inverse=True)
        return Filter((chosen == 0) & self.mask_[: stage.size])

    def _drawn(self, n: int, what: str) -> NDArray[np.int64]:
        """Which of n queries are learned from."""
        log.info("lambdarank learns from %d of %d %s", min(n, self.queries), n, what)
        return np.sort(np.random.default_rng(self.seed).permutation(n)[: self.queries])

    def _train(self, examples: Sequence[Rows], names: Sequence[str]) -> Trees:
        settings = {
            "num_leaves": self.leaves,
            "learning_rate": self.rate,
            "min_data_in_leaf": self.smallest,
            "feature_fraction": self.columns,
            "num_threads": self.threads,
        }
        objectives = ("lambdarank", "rank_xendcg") if self.objective == "both" else (self.objective,)
        return learn(examples, names, objectives, self.seed, self.trees, settings)

    def _rehearsed(self, names: Sequence[str]) -> list[Rows]:
        """The windows' examples. They know nothing of vectors: whatever chain asks for them on the same edges takes them again, but for
        what the graph says, which may be another."""
        blind = [channel for channel in self.ranked.values() if channel.reads != "vectors"]
        windows = self.windows if clocked(self.graph_, self.task_.relation) or drawn_anew(self.graph_, self.task_) else 0

        def rehearsed() -> Rehearsal:
            return Rehearsal([w for n in range(windows) for w in self._windows(n + 1, names)], names, known)

        known = [self.graph_.relations[relation] for relation in sorted(self.graph_.timeless)]
        if any(channel.key_ is None for channel in blind):
            return [window.rows for window in rehearsed().windows]
        key = (
            "windows",
            windows,
            self.days,
            self.cold,
            self.apart,
            self.queries,
            self.negatives,
            self.pool,
            self.seed,
            *(c.key_ for c in blind),
        )
        holds = tuple(table for channel in blind for table in channel.holds_)
        # The first to ask knows most: without knowledge there are only fewer columns.
        found = self.graph_.memo.get(key, holds, rehearsed)
        if not set(names) <= set(found.names):
            found = self.graph_.memo.get((*key, tuple(names)), holds, rehearsed)
        return found.told(names, known, self._stage.features.ends)

    def _windows(self, number: int, names: Sequence[str]) -> list[Window]:
        stage, queries = self._earlier(number)
        histories = stage.features.histories(queries.nodes)
        found = [
            self._learn_from(stage, queries, None, names, within=of) for of in ([None, self._unchosen(stage)] if self.apart else [None])
        ]
        return [Window(rows, pool, histories) for rows, _, pool in found]

    def _excluded(self, queries: Nodes) -> Ragged | None:
        return None if self.task_.repeats else queries.read(self.task_.relation)
