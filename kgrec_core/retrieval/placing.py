"""How a learnt ranker answers: the pool that the channels find together, placed by trees or, of strangers, by `merge`'s rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Nodes, Ragged, Task
from kgrec_core.interfaces import Filter, Hits, Retrieval, Vectors
from kgrec_core.retrieval.boosting import Trees, stack
from kgrec_core.retrieval.merge import DEPTH, Around
from kgrec_core.retrieval.pairs import Stage
from kgrec_core.retrieval.pool import Columns, explained, lookup, places, relative, top

BLOCK = 256  # queries whose pairs and columns are in memory at once


class Placed(NamedTuple):
    """A block of queries and the score of every pair of its pool. said: what the channels say; columns: that, and the features where
    trees were asked; merged: (n,) whom `merge`'s rule answers; moved: what a score changed by, since what nobody has chosen is ordered otherwise."""

    nodes: Nodes
    pool: Ragged
    scores: NDArray[np.float32]
    said: Columns
    columns: Columns
    merged: NDArray[np.bool_]
    moved: NDArray[np.bool_]

    def only(self, keep: NDArray[np.bool_]) -> Placed:
        """Of these pairs alone."""
        said, columns = ({name: values[keep] for name, values in of.items()} for of in (self.said, self.columns))
        return Placed(self.nodes, self.pool.keep(keep), self.scores[keep], said, columns, self.merged, self.moved[keep])


class Placing(Around):
    """Base of the ranker: everything that is asked of it. `pool`, `threads`: see `Lambdarank`. trees_: what it learned; none = as `merge`.

    strangers_: whether it learned from queries without a history.
    """

    pool: int
    threads: int
    unchosen: Mapping[str, float]
    trees_ = Trees()
    strangers_ = False

    @property
    def ranked(self) -> dict[str, Retrieval]:
        """The channels that find candidates; the others order those that nobody has chosen."""
        return {name: channel for name, channel in self.channels.items() if name not in self.unchosen}

    def without_language_model(self, vectors: bool) -> Retrieval | None:
        rest = super().without_language_model(vectors)
        return None if isinstance(rest, Placing) and not rest.ranked else rest

    def _place(self, graph: Graph, task: Task, mask: NDArray[np.bool_]) -> None:
        super()._place(graph, task, mask)
        self._stage = Stage(self.ranked, graph, task, weights=self.relation_weights_)

    def search(self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> Hits:
        """See Retrieval; `columns` holds every channel's score of what is among its own best, else NaN."""
        return placed_hits(self._placed(queries, vectors, k, allowed, exclude, self.trees_), k)

    def explain(
        self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None
    ) -> tuple[Hits, Mapping[str, NDArray[np.float64]]]:
        """See Retrieval: exactly what every column of the trees adds (TreeSHAP, Lundberg et al. 2020), beside "baseline", their mean; where
        `merge`'s rule answers, what every channel adds."""
        found, every, names = [], [], [*self.trees_.names, "baseline"]
        for of in self._placed(queries, vectors, k, allowed, exclude, self.trees_):
            added: dict[str, NDArray[np.float64]] = {}
            learned = (places(of.pool, of.scores) < k) & ~of.merged[of.pool.owner]
            if learned.any():
                columns = {name: values[learned] for name, values in of.columns.items()}
                shares = self.trees_.contributions(stack(columns, self.trees_.names, int(learned.sum())), self.threads)
                for name, values in zip(names, shares.T, strict=True):
                    added[name] = np.zeros(len(learned))
                    added[name][learned] = values
                if of.moved.any():
                    added[f"{next(iter(self.unchosen))}: place"] = place = np.zeros(len(learned))
                    place[learned] = np.where(of.moved[learned], of.scores[learned] - shares.sum(1), 0.0)
            for name, part in self._said(of.nodes, of.pool, of.said, of.merged, self.trees_) if of.merged.any() else ():
                added[name] = np.where(of.merged[of.pool.owner], part, 0.0)
            hits, parts = explained(of.pool, of.scores, k, _scores(of.said), added)
            found.append(hits)
            every.append(parts)
        every_name = dict.fromkeys(name for parts in every for name in parts)
        blank = [np.zeros(hits.rows.shape) for hits in found]
        return stacked(found, k), {n: np.concatenate([p.get(n, b) for p, b in zip(every, blank, strict=True)]) for n in every_name}

    def again(
        self, queries: Nodes, vectors: Vectors | None, pairs: Ragged, allowed: Filter | None = None, exclude: Ragged | None = None
    ) -> NDArray[np.float32]:
        """See Retrieval; the trees are asked of the pairs alone, whose places are still those among all that the channels find."""
        placed, each = self._placed(queries, vectors, DEPTH, allowed, exclude, self.trees_, only=pairs), pairs.counts.max(initial=1)
        found = [top(of.pool, of.scores, each, {}) for of in placed]
        return lookup(stacked(found, each), pairs)

    def _placed(
        self,
        queries: Nodes,
        vectors: Vectors | None,
        k: int,
        allowed: Filter | None,
        exclude: Ragged | None,
        trees: Trees,
        given: Mapping[str, Hits] | None = None,
        only: Ragged | None = None,
    ) -> Iterator[Placed]:
        """The pool and its scores, a block of queries after the other. only: of these pairs alone."""
        for block in blocks(len(queries)):
            nodes = queries if len(block) == len(queries) else queries.take(block)  # which know already what was found out about them
            v, gone = part_of(vectors, block), None if exclude is None else exclude.take(block)
            known = {name: hits_of(hits, block) for name, hits in (given or {}).items()}
            pool, said = self._stage.pool(nodes, v, max(self.pool, k), allowed, gone, known)
            if gone is not None:  # before any tree is asked: what a query met would fill the places of those that are asked all
                keep = ~pool.among(gone)
                pool, said = pool.keep(keep), {name: values[keep] for name, values in said.items()}
            wanted = None if only is None else only.take(block)
            merged = self._strange(nodes) & (bool(trees.models) and not self.strangers_) | np.full(len(nodes), not trees.models)
            new = self._new(pool) if self.unchosen and not merged.all() else None
            if wanted is not None:  # and what is ordered beside them
                keep = pool.among(wanted) if new is None else pool.among(wanted) | new
                new = None if new is None else new[keep]
                pool, said = pool.keep(keep), {name: values[keep] for name, values in said.items()}
            ranked, columns = np.zeros(len(pool.rows), np.float32), said
            if merged.any():
                for _, part in self._said(nodes, pool, said, merged, trees):
                    ranked += part
            if not merged.all():
                columns = said | self._stage.features(nodes, pool)
                ranked = np.where(merged[pool.owner], ranked, trees(columns, pool, max(self.pool, k), self.threads))
            ranked, moved = ranked.astype(np.float32), np.zeros(len(pool.rows), bool)
            if new is not None:
                moved = new & ~merged[pool.owner]
                ranked = self._ordered(nodes, v, pool, ranked, moved)
            found = Placed(nodes, pool, ranked, said, columns, merged, moved)
            yield found if wanted is None or new is None else found.only(pool.among(wanted))

    def _new(self, pool: Ragged) -> NDArray[np.bool_]:
        """Which pairs are of a candidate that nobody has chosen yet."""
        rows, place = np.unique(pool.rows, return_inverse=True)
        return (self.graph_.degree(self.task_.relation, rows, inverse=True) == 0)[place]

    def _ordered(
        self, nodes: Nodes, vectors: Vectors | None, pool: Ragged, ranked: NDArray[np.float32], new: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """The scores, those of a query's new candidates given to them in the order of `unchosen`: the places are the trees', who is in each is not."""
        some, own, likeness = pool.keep(new), ranked[new], np.zeros(int(new.sum()))
        for name, weight in self.unchosen.items() if len(own) else ():
            if name in self.channels:
                likeness += weight * relative(some, np.nan_to_num(self.channels[name].score(nodes, vectors, some)))
        out, owner = ranked.copy(), some.owner
        own[np.lexsort((-own, -likeness, owner))] = own[np.lexsort((-own, owner))]
        out[new] = own
        return out

    def _said(
        self, nodes: Nodes, pool: Ragged, said: Columns, merged: NDArray[np.bool_], trees: Trees
    ) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Every channel and what it adds where `merge`'s rule answers: of a stranger, what looks at no query only orders what others
        leave equal; it stands alone where nothing at all is known."""
        silent = [name for name, channel in self.ranked.items() if channel.reads == "nothing"] if trees.models else []
        blank = merged & self._blank(nodes) if silent else np.zeros(len(nodes), bool)
        for name in self.ranked:
            part = _by_rank(said, name)
            if silent:
                part = np.where(blank[pool.owner], part if name in silent else 0, np.float32(1e-3 if name in silent else 1) * part)
            yield name, part.astype(np.float32)

    def _strange(self, queries: Nodes) -> NDArray[np.bool_]:
        """(n,) which queries have no history."""
        return queries.read(self.task_.relation, last=1).counts == 0

    def _blank(self, queries: Nodes) -> NDArray[np.bool_]:
        """(n,) which queries neither say anything nor have met anything, by any relation of the task."""
        met = sum(queries.read(relation, last=1).counts for relation in (self.task_.relation, *self.task_.history))
        return (met == 0) & np.array([not text.strip() for text in queries.texts], bool)


def _by_rank(said: Columns, name: str) -> NDArray[np.float32]:
    """1 / (60 + rank) of every pair that a channel says something of, as `merge` has it."""
    score = said[f"{name}: score"]
    found = (score != 0) & (score == score)  # NaN says nothing
    return np.where(found, 1 / (61 + said[f"{name}: rank"]), 0).astype(np.float32)


def _scores(said: Columns) -> Columns:
    """Every channel's own."""
    return {name.removesuffix(": score"): values for name, values in said.items() if name.endswith(": score")}


def placed_hits(placed: Iterable[Placed], k: int) -> Hits:
    """The k best of every query, with every channel's score."""
    return stacked([top(of.pool, of.scores, k, _scores(of.said)) for of in placed], k)


def stacked(parts: Sequence[Hits], k: int) -> Hits:
    """Hits of one part of the queries below those of another; of none (0, k)."""
    if not parts:
        return Hits(np.zeros((0, k), np.int64), np.zeros((0, k), np.float32))
    rows, scores = (np.concatenate([hits[place] for hits in parts]) for place in (0, 1))
    return Hits(rows, scores, {name: np.concatenate([p.columns[name] for p in parts]) for name in parts[0].columns})


def blocks(n: int) -> Iterator[NDArray[np.int64]]:
    """Numbers 0 ... n - 1 in their order, at most BLOCK at once."""
    return (np.arange(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))


def part_of(vectors: Vectors | None, index: NDArray[np.int64]) -> Vectors | None:
    """Vectors of some queries, where there are vectors."""
    return None if vectors is None else vectors[index]


def hits_of(hits: Hits, index: NDArray[np.int64]) -> Hits:
    """Hits of some queries, without columns."""
    return Hits(hits.rows[index], hits.scores[index])
