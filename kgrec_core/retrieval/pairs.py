"""The pairs that a ranker looks at: every channel's best for a block of queries as one pool, and what the channels say of each."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Nodes, Ragged, Task, candidates
from kgrec_core.interfaces import Encode, Filter, Hits, Retrieval, Vectors
from kgrec_core.retrieval.features import Features
from kgrec_core.retrieval.pool import Columns

DEEP = 4  # a channel's rank and score are known for so many times what it gives the pool
KEPT = 2**28  # bytes of channels' bests that wait for the next encoder to be compared


class Best(NamedTuple):
    """What a channel finds for n queries, by query and row: m entries.

    owner: (m,) int32 number of the query. row: (m,) int32. rank: (m,) int32 from 0. score: (m,) float32. highest: (n,) float32.
    """

    owner: NDArray[np.int32]
    row: NDArray[np.int32]
    rank: NDArray[np.int32]
    score: NDArray[np.float32]
    highest: NDArray[np.float32]

    @classmethod
    def of(cls, hits: Hits) -> Best:
        order = np.argsort(np.where(hits.rows < 0, np.iinfo(np.int64).max, hits.rows), axis=1)
        owner, place = np.nonzero(np.take_along_axis(hits.rows, order, 1) >= 0)
        rank = order[owner, place]
        highest = hits.scores.max(1, initial=0.0)
        return cls(
            owner.astype(np.int32), hits.rows[owner, rank].astype(np.int32), rank.astype(np.int32), hits.scores[owner, rank], highest
        )


class Shelf:
    """Bests that are asked for again: of channels that read no vectors, whatever the encoder. What no longer fits is found anew."""

    def __init__(self) -> None:
        self.kept: dict[Any, tuple[Best, tuple[object, ...]]] = {}
        self.room = KEPT

    def get(self, key: tuple[Any, ...], holds: tuple[object, ...], make: Any) -> Best:
        """holds: objects that are part of the key by their identity."""
        whole = (key, tuple(map(id, holds)))
        if whole not in self.kept:
            best = make()
            size = sum(part.nbytes for part in best)
            if size > self.room:
                return best
            self.room -= size
            self.kept[whole] = best, holds
        return self.kept[whole][0]


class Stage:
    """The channels and the features as of one graph.

    whole: the graph before a past was taken from some candidates, else the same. encode: given, the channels were built on `whole`
    and are built again on `graph` where they are needed. mark: what made this graph of the whole, so that bests found on a graph
    made alike can be taken; None = they are not kept. blind: channels that read vectors are not asked.
    """

    def __init__(
        self,
        channels: Mapping[str, Retrieval],
        graph: Graph,
        task: Task,
        whole: Graph | None = None,
        encode: Encode | None = None,
        mark: tuple[Any, ...] | None = (),
        blind: bool = False,
    ) -> None:
        self.graph, self.task, self.whole, self.encode, self.mark = graph, task, whole or graph, encode, mark
        self.channels = {name: channel for name, channel in channels.items() if not (blind and channel.reads == "vectors")}
        self.features = Features(graph, task)
        self._built: dict[str, Retrieval] = {}

    def pool(
        self,
        queries: Nodes,
        vectors: Vectors | None,
        n: int,
        allowed: Filter | None = None,
        exclude: Ragged | None = None,
        given: Mapping[str, Hits] | None = None,
    ) -> tuple[Ragged, Columns]:
        """The union of every channel's best n that are not excluded, and of each pair the channels' scores, ranks, shares of the best.

        A channel says nothing (NaN) of what is beyond its best DEEP * n. given: hits to be taken for those of a channel.
        Where repeats may be right, what is excluded takes up ranks: the ranker has learned so.
        """
        out = exclude if exclude is None or self.task.repeats else None
        asked = None if self.task.repeats else exclude
        k = DEEP * n + (0 if out is None else int(out.counts.max(initial=0)))
        bests = {}
        for name in self.channels:
            bests[name] = Best.of(given[name]) if given and name in given else self._best(name, queries, vectors, k, allowed, asked)
        width = self.graph.size(self.task.relation.target)
        gone = np.zeros(0, np.int64) if out is None else np.sort(out.owner * width + out.rows)
        keys, members = {}, []
        for name, best in bests.items():
            keys[name] = key = best.owner * width + best.row.astype(np.int64)
            left = np.zeros(len(key), bool)
            if len(gone):
                left = gone[np.minimum(np.searchsorted(gone, key), len(gone) - 1)] == key
            skipped = np.bincount(best.owner[left], minlength=len(queries))
            members.append(key[~left & (best.rank < n + skipped[best.owner])])
        every = np.unique(np.concatenate(members)) if members else np.zeros(0, np.int64)
        pool = Ragged.of(every // width, every % width, len(queries))
        columns: dict[str, NDArray[np.float32]] = {}
        for name, best in bests.items():
            place = np.searchsorted(every, keys[name])
            known = every[np.minimum(place, len(every) - 1)] == keys[name] if len(every) else np.zeros(len(place), bool)
            owner, score, rank, place = best.owner[known], best.score[known], best.rank[known], place[known]
            top = best.highest[owner]
            for what, values in (("score", score), ("relative", score / np.where(top > 0, top, np.inf)), ("rank", rank)):
                columns[f"{name}: {what}"] = column = np.full(len(every), np.nan, np.float32)
                column[place] = values
        return pool, columns

    def _best(self, name: str, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None, exclude: Ragged | None) -> Best:
        channel = self.channels[name]
        if self.mark is None or channel.key_ is None or allowed is not None:
            return Best.of(self._channel(name).search(queries, vectors, k, allowed, exclude))
        shelf = self.whole.memo.get(("bests",), (), Shelf)
        key = (channel.key_, self.mark, k, _digest(queries), None if exclude is None else _digest(exclude))
        holds = (*channel.holds_, *channel.holds(self.whole if self.mark else queries.graph, self.task))
        return shelf.get(key, holds, lambda: Best.of(self._channel(name).search(queries, None, k, None, exclude)))

    def _channel(self, name: str) -> Retrieval:
        """As of this stage's graph."""
        if self.encode is None:
            return self.channels[name]
        if name not in self._built:
            self._built[name] = copy.copy(self.channels[name])
            self._built[name].build(self.graph, self.task, candidates(self.graph, self.task), self.encode)
        return self._built[name]


def _digest(asked: Nodes | Ragged) -> bytes:
    """Equal for queries of the same rows that may read the same, or for the same lists."""
    if isinstance(asked, Ragged):
        parts = [asked.indptr, asked.rows]
    else:
        hidden = [part for relation, lists in (asked.hide or {}).items() for part in (str(relation).encode(), lists.indptr, lists.rows)]
        parts = [asked.kind.encode(), asked.rows, b"-" if asked.before is None else asked.before, *hidden]
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(part if isinstance(part, bytes) else np.ascontiguousarray(part))
    return found.digest()
