"""Several channels, one ranking, nothing learnt: the re-ranker to start with."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError, choices, damage
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Task
from kgrec_core.interfaces import Asked, Encode, Filter, Hits, Retrieval, Vectors
from kgrec_core.recipe.ranges import Size
from kgrec_core.retrieval.blockwise import chosen
from kgrec_core.retrieval.pool import Columns, alike, explained, lookup, relative, top, union
from kgrec_core.stored import rows

OWN = 1e-3  # of what a channel says of a candidate alone, where it counts together with others: enough to order them
DEPTH = 100  # hits by which a re-ranker is judged: every channel gives at least so many, so that the order does not depend on k


class Around(Retrieval):
    """Base of the re-rankers: a mapping of channels that are built, fitted, extended, saved and loaded together.

    own: what the re-ranker itself reads of a query, whatever its channels do.
    """

    channels: Mapping[str, Retrieval]
    own: ClassVar[str] = "nothing"
    scales = "as its channels do; what it adds depends on the pool that they find, not on the candidates"

    @property
    def reads(self) -> Literal["vectors", "history", "nothing"]:
        """the most that it or one of its channels reads"""
        return max((self.own, *(channel.reads for channel in self.channels.values())), key=("nothing", "history", "vectors").index)

    @property
    def learns(self) -> bool:
        return any(channel.learns for channel in self.channels.values())

    @property
    def newcomers(self) -> bool:
        return any(channel.newcomers for channel in self.channels.values())

    def without_language_model(self, vectors: bool) -> Retrieval | None:
        left = {n: rest for n, channel in self.channels.items() if (rest := channel.without_language_model(vectors)) is not None}
        if self.language_model:
            return Merge(channels=left) if left else None
        if all(left.get(name) is channel for name, channel in self.channels.items()):
            return self
        return self._with(left) if left else None

    def _with(self, channels: Mapping[str, Retrieval]) -> Self:
        other = copy.copy(self)
        other.channels = channels
        return other

    def build(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        if not self.channels:
            raise KgrecError(
                f'retrieval.{task.name}: no channel to rank; add a table such as [retrieval.{task.name}.popular] use = "popular"'
            )
        for channel in self.channels.values():
            channel.build(graph, task, candidates, encode)
        self._place(graph, task, chosen(graph.size(task.relation.target), candidates.rows))

    def score(self, queries: Nodes, vectors: Vectors | None, pairs: Ragged) -> NDArray[np.float32]:
        """See Retrieval; NaN for what is not among the best 100, as a rank is one among others."""
        return self.ask(queries, vectors).score(pairs)

    def ask(self, queries: Nodes, vectors: Vectors | None) -> Asked:
        return _Ranked(self, queries, vectors)

    def extended(self, graph: Graph, new: Nodes, encode: Encode) -> Self:
        """A copy that also finds the new candidates, as far as its channels can."""
        other = copy.copy(self)
        other.channels = {name: channel.extended(graph, new, encode) for name, channel in self.channels.items()}
        other._place(graph, self.task_, chosen(graph.size(self.task_.relation.target), new.rows, self.mask_))
        return other

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "candidates.npy", np.flatnonzero(self.mask_))
        for name, channel in self.channels.items():
            channel.save(folder / name)

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        for name, channel in self.channels.items():
            channel.load(folder / name, graph, task)
        size = graph.size(task.relation.target)
        with damage(f"{folder}: candidates.npy is damaged or missing", "fit again"):
            self._place(graph, task, chosen(size, rows(np.load(folder / "candidates.npy", mmap_mode="r"), size)))

    def _place(self, graph: Graph, task: Task, mask: NDArray[np.bool_]) -> None:
        """Take over a graph and its candidates, a bool by row."""
        self.graph_, self.task_, self.mask_ = graph, task, mask

    def _found(
        self, queries: Nodes, vectors: Vectors | None, n: int, allowed: Filter | None = None, exclude: Ragged | None = None
    ) -> tuple[dict[str, Hits], Ragged, dict[str, NDArray[np.float32]]]:
        """What each channel finds, all of it as one pool, and what each channel thinks of every pair of the pool."""
        asked = {name: channel.ask(queries, vectors) for name, channel in self.channels.items()}
        found = {name: one.search(n, allowed, exclude) for name, one in asked.items()}
        pool = union(found.values(), len(queries))
        return found, pool, {name: one.score(pool) for name, one in asked.items()}

    def _fitted(self, queries: Queries, vectors: Vectors | None, n: int) -> tuple[dict[str, Hits], Ragged, dict[str, NDArray[np.float32]]]:
        """As `_found`, the channels that learn fitted first and represented by their out-of-fold hits."""
        nodes = queries.nodes
        exclude = None if self.task_.repeats else nodes.read(self.task_.relation)
        learned = {name: channel.fit(queries, vectors) for name, channel in self.channels.items() if channel.learns}
        asked = {name: channel.ask(nodes, vectors) for name, channel in self.channels.items() if not channel.learns}
        found = {name: learned[name] if name in learned else asked[name].search(n, None, exclude) for name in self.channels}
        pool = union(found.values(), len(nodes))
        return found, pool, {name: lookup(learned[name], pool) if name in learned else asked[name].score(pool) for name in found}


class _Ranked(Asked):
    """Scores of a re-ranker are those of its hits: with other candidates in the field they would be others."""

    hits: Hits | None = None

    def search(self, k: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> Hits:
        self.hits = super().search(k, allowed, exclude)
        return self.hits

    def score(self, pairs: Ragged) -> NDArray[np.float32]:
        return lookup(self.search(DEPTH) if self.hits is None else self.hits, pairs)


@dataclass(kw_only=True, eq=False)
class Merge(Around):
    """The union of the channels' best, by reciprocal rank or by weighted scores.

    by: "rank", sum of weight / (60 + rank) (Cormack et al. 2009); "score", sum of weight * score / best score of the query.
    weights: per channel, 1 where none is given. pool: how many candidates each channel gives.
    together: a channel; candidates that it says the same of stand together, as the answers to one known question do: every other channel
        counts for all of them by the one that it likes best, so that no stranger comes between them. "none" = each for itself.
    Every channel is asked for at least k, so where one of them always finds k, so does this.
    """

    channels: Mapping[str, Retrieval]
    by: Literal["rank", "score"] = "rank"
    weights: Mapping[str, float] = field(default_factory=dict)
    pool: Size = 200
    together: str = "none"

    def search(self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> Hits:
        """See Retrieval; `columns` holds every channel's score."""
        for key, names in (("weights", self.weights), ("together", [self.together] if self.together != "none" else [])):
            for name in names:
                if name not in self.channels:
                    raise choices("channel", name, self.channels, f"retrieval.{self.task_.name}.{key} names channels")
        return self._merged(*self._found(queries, vectors, max(k, self.pool), allowed, exclude), k)

    def explain(
        self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None
    ) -> tuple[Hits, Mapping[str, NDArray[np.float64]]]:
        """See Retrieval: what every channel adds; of a merge by scores among them what those within it add."""
        found, pool, columns = self._found(queries, vectors, max(k, self.pool), allowed, exclude)
        how, added = (self.by, self.weights, self.together), dict[str, NDArray[np.float64]]()
        for name, part in parts(pool, found, columns, *how):
            for inner, value in _shared(self.channels[name], found[name], pool, np.asarray(part, np.float64)).items():
                added[inner or name] = added.get(inner or name, 0.0) + value
        return explained(pool, fuse(pool, found, columns, *how), k, columns | self._within(found, pool), added)

    def fit(self, queries: Queries, vectors: Vectors | None) -> Hits:
        """Fit the channels that learn; nothing is learnt here. Returns (n, min(100, candidates)) hits."""
        k = min(DEPTH, len(self.mask_))
        return self._merged(*self._fitted(queries, vectors, max(k, self.pool)), k)

    def _with(self, channels: Mapping[str, Retrieval]) -> Self:
        other = super()._with(channels)
        other.weights = {name: weight for name, weight in self.weights.items() if name in channels}
        other.together = self.together if self.together in channels else "none"
        return other

    def _merged(self, found: Mapping[str, Hits], pool: Ragged, columns: Columns, k: int) -> Hits:
        return top(pool, fuse(pool, found, columns, self.by, self.weights, self.together), k, columns | self._within(found, pool))

    def _within(self, found: Mapping[str, Hits], pool: Ragged) -> dict[str, NDArray[np.float32]]:
        """What the channels of merges among the channels thought, so that what is said of an answer is theirs; the higher of two of one name."""
        within: dict[str, NDArray[np.float32]] = {}
        for name, channel in self.channels.items():
            for inner in channel.channels if isinstance(channel, Merge) else ():
                if inner not in self.channels and inner in found[name].columns:
                    thought = lookup(found[name], pool, found[name].columns[inner])
                    within[inner] = np.fmax(within[inner], thought) if inner in within else thought
        return within


def _shared(channel: Retrieval, hits: Hits, pool: Ragged, part: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """What a channel adds, shared out among the channels within it as they add to its own score; "" is what none of them accounts for."""
    if not isinstance(channel, Merge) or channel.by != "score" or channel.together != "none":
        return {"": part}
    own = {
        name: channel.weights.get(name, 1.0) * np.nan_to_num(relative(pool, lookup(hits, pool, hits.columns[name])))
        for name in channel.channels
        if name in hits.columns
    }
    total = np.sum(list(own.values()), axis=0) if own else np.zeros(len(part))
    shares = {name: np.divide(value, total, out=np.zeros(len(part)), where=total > 0) * part for name, value in own.items()}
    return shares | {"": np.where(total > 0, 0.0, part)}


def fuse(
    pool: Ragged, found: Mapping[str, Hits], columns: Columns, by: str, weights: Mapping[str, float], together: str = "none"
) -> NDArray[np.float32]:
    """(len(pool.rows),) the merged score of every pair."""
    total = np.zeros(len(pool.rows), np.float32)
    for _, part in parts(pool, found, columns, by, weights, together):
        total += part
    return total


def parts(
    pool: Ragged, found: Mapping[str, Hits], columns: Columns, by: str, weights: Mapping[str, float], together: str = "none"
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Every channel and what it adds to the score of every pair."""
    group = alike(pool, columns[together]) if together != "none" else None
    for name, hits in found.items():
        if by == "rank":
            rank = lookup(hits, pool, np.broadcast_to(np.arange(1, hits.rows.shape[1] + 1), hits.rows.shape))
            part = 1 / (60 + rank)
        else:
            part = relative(pool, columns[name])
        part = np.nan_to_num(part)
        if group is not None and name != together:
            best = np.zeros(len(part), part.dtype)
            np.maximum.at(best, group, part)
            part = best[group] + np.float32(OWN) * part
        yield name, np.float32(weights.get(name, 1.0)) * part
