"""The pairs that a ranker looks at: every channel's best for a block of queries as one pool, and what the channels say of each."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Nodes, Ragged, Task, candidates
from kgrec_core.interfaces import Encode, Filter, Hits, Retrieval, Vectors
from kgrec_core.retrieval.features import Features
from kgrec_core.retrieval.pool import Columns, lookup, places_of_each, relative, union

FEW = 4  # times as many as a channel gives: where a filter leaves no more, all of them are looked at
KEPT = 2**28  # bytes of what is said that wait for the next encoder to be compared


class Said(NamedTuple):
    """What several channels say of a pool of theirs: names, and of each the score and the rank of every pair, (channels, pairs)."""

    pool: Ragged
    names: tuple[str, ...]
    scores: NDArray[np.float32]
    ranks: NDArray[np.int16]

    def columns(self, pool: Ragged) -> Columns:
        """Score, share of the query's best, and rank for every pair of a pool that holds this one; NaN where nothing is said."""
        place = None
        if len(pool.rows) > len(self.pool.rows):
            width = int(pool.rows.max()) + 1
            place = np.searchsorted(pool.owner * width + pool.rows, self.pool.owner * width + self.pool.rows)
        columns = {}
        for what, said in (("score", self.scores), ("relative", relative(self.pool, self.scores)), ("rank", self.ranks.astype(np.float32))):
            if place is not None:
                some, said = said, np.full((len(said), len(pool.rows)), np.nan, np.float32)
                said[:, place] = some
            columns |= {f"{name}: {what}": values for name, values in zip(self.names, said, strict=True)}
        return columns


class Shelf:
    """What is asked for again: of channels that read no vectors, whatever the encoder. What does not fit is found anew."""

    def __init__(self) -> None:
        self.kept: dict[Any, tuple[Said, tuple[object, ...]]] = {}
        self.room = KEPT

    def get(self, key: tuple[Any, ...], holds: tuple[object, ...], make: Callable[[], Said]) -> Said:
        """holds: objects that are part of the key by their identity."""
        whole = (key, tuple(map(id, holds)))
        if whole not in self.kept:
            said = make()
            size = said.scores.nbytes + said.ranks.nbytes + sum(part.nbytes for part in said.pool)
            if size > self.room:
                return said
            self.room -= size
            self.kept[whole] = said, holds
        return self.kept[whole][0]


class Stage:
    """The channels and the features as of one graph.

    whole: the graph before a past was taken from some candidates, else the same. encode: given, the channels were built on `whole`
    and are built again on `graph` where they are needed. mark: what made this graph of the whole, so that what was said on a graph
    made alike can be taken; None = it is not kept. blind: channels that read vectors are not asked. weights: of relations, for the features.
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
        weights: Mapping[str, float] = {},
    ) -> None:
        self.graph, self.task, self.whole, self.encode, self.mark = graph, task, whole or graph, encode, mark
        self.channels = {name: channel for name, channel in channels.items() if not (blind and channel.reads == "vectors")}
        self.size, self.weights = graph.size(task.relation.target), weights
        self._built: dict[str, Retrieval] = {}

    @cached_property
    def features(self) -> Features:
        return Features(self.graph, self.task, self.weights)

    def pool(
        self,
        queries: Nodes,
        vectors: Vectors | None,
        n: int,
        allowed: Filter | None = None,
        exclude: Ragged | None = None,
        given: Mapping[str, Hits] | None = None,
    ) -> tuple[Ragged, Columns]:
        """The union of every channel's best n, and of each pair the channels' scores, shares of the best one, and ranks.

        Of a pair that only channels found which read vectors or learn, the others say nothing (NaN): so theirs is the same for every
        encoder, and asked for once. given: hits to be taken for those of a channel that learns. Where repeats may be right, what is
        excluded is in the pool: the ranker has learned so, and ranks and best scores are meant with it. Where a filter leaves few candidates, all
        of them are in it.
        """
        settled = [name for name, channel in self.channels.items() if channel.reads != "vectors" and not channel.learns]
        first = self._settled(settled, queries, n, allowed, exclude)
        others = [name for name in self.channels if name not in settled]
        asked = {name: self._channel(name).ask(queries, vectors) for name in others if name not in (given or {})}
        found = {name: asked[name].search(n, allowed, exclude) if name in asked else given[name] for name in others}
        pool = union(found.values(), len(queries), first.pool)
        scores = [asked[name].score(pool) if name in asked else lookup(found[name], pool) for name in others]
        return pool, first.columns(pool) | _said(pool, others, scores).columns(pool)

    def _settled(self, names: list[str], queries: Nodes, n: int, allowed: Filter | None, exclude: Ragged | None) -> Said:
        """What the channels find and say that depend neither on vectors nor on what was learned."""

        def ask() -> Said:
            asked = [self._channel(name).ask(queries, None) for name in names]
            history = exclude.keep(exclude.rows < self.size) if exclude is not None and self.task.repeats else None
            every = self._few(len(queries), n, allowed)
            pool = union([one.search(n, allowed, exclude) for one in asked], len(queries), history) if every is None else every
            if every is not None and exclude is not None and not self.task.repeats:
                pool = pool.keep(~pool.among(exclude))
            return _said(pool, names, [one.score(pool) for one in asked])

        channels = [self.channels[name] for name in names]
        if self.mark is None or allowed is not None or any(channel.key_ is None for channel in channels):
            return ask()
        key = (self.mark, n, _digest(queries), None if exclude is None else _digest(exclude), *(channel.key_ for channel in channels))
        graph = self.whole if self.mark else queries.graph
        holds = tuple(table for channel in channels for table in (*channel.holds_, *channel.holds(graph, self.task)))
        return self.whole.memo.get(("said",), (), Shelf).get(key, holds, ask)

    def _few(self, queries: int, n: int, allowed: Filter | None) -> Ragged | None:
        """Where a filter leaves few candidates, all of them for every query: so each channel says something of each."""
        rows = np.zeros(0, np.int64) if allowed is None else np.flatnonzero(allowed.rows[: self.size])
        if allowed is None or len(rows) > FEW * n:
            return None
        return Ragged(np.arange(queries + 1) * len(rows), np.tile(rows, queries), np.full(queries * len(rows), -1))

    def _channel(self, name: str) -> Retrieval:
        """As of this stage's graph."""
        if self.encode is None:
            return self.channels[name]
        if name not in self._built:
            self._built[name] = copy.copy(self.channels[name])
            self._built[name].build(self.graph, self.task, candidates(self.graph, self.task), self.encode)
        return self._built[name]


def _said(pool: Ragged, names: Sequence[str], scores: Sequence[NDArray[np.float32]]) -> Said:
    said = np.reshape(scores, (len(names), len(pool.rows))).astype(np.float32)
    ranks = np.minimum(places_of_each(pool, said), np.iinfo(np.int16).max).astype(np.int16)
    return Said(pool, tuple(names), said, ranks)


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
