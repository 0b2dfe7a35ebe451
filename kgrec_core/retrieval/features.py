"""What a ranker may know about a query, a candidate and the two together, as of the query's own moment.

Nothing here depends on what the domain is: times and counts of the task's edges, numeric columns, shared neighbours.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.graph import DAY, Graph, Nodes, Ragged, Relation, Task
from kgrec_core.graph.clock import clocked, horizon, moments
from kgrec_core.graph.ragged import distinct
from kgrec_core.retrieval.profile import events, profile
from kgrec_core.retrieval.ties import Ends

WINDOWS = (7, 14, 30, 60, 90)  # days
Columns = dict[str, NDArray[np.float32]]


class Features:
    """Computes the columns of (query, candidate) pairs. Ages are days; unknown is NaN.

    Nothing after a query's `before` is counted; its own history is read through `Nodes.read` only. Where the task's relation has no
    clock that its sources share, nothing is counted in days. weights: of relations, see `Ends`.
    """

    def __init__(self, graph: Graph, task: Task, weights: Mapping[str, float] = {}) -> None:
        self.graph, self.task, self.now = graph, task, horizon(graph, task.relation)
        self.clock = clocked(graph, task.relation)
        self.size = graph.size(task.relation.target)
        table = graph.relations[task.relation]
        self.trail = graph.memo.get(("trail", task.relation, self.clock), (table,), lambda: _Trail(graph, task.relation))
        self.numbers = _Numbers(graph, task.relation.target)
        self.ends = Ends(graph, task.relation.target, weights)

    def extended(self, graph: Graph, rows: NDArray[np.int64]) -> Features:
        """As of a graph that `join` made of this one, in which these candidates came or changed; without new events it costs what they cost."""
        relation, other = self.task.relation, copy.copy(self)
        other.graph, other.size = graph, graph.size(relation.target)
        rows = np.union1d(rows, np.arange(self.size, other.size))
        if len(graph.relations[relation]) != len(self.graph.relations[relation]):
            other.now, other.trail = horizon(graph, relation), _Trail(graph, relation)
        other.numbers, other.ends = self.numbers.extended(graph, rows), self.ends.extended(graph, rows)
        return other

    def __call__(self, queries: Nodes, pool: Ragged) -> Columns:
        """name -> (len(pool.rows),) float32."""
        pool_time = moments(queries, self.now)[pool.owner]
        columns = self._candidates(pool.rows, pool_time)
        for relation in (self.task.relation, *self.task.history):
            if relation.target == self.task.relation.target:
                prefix = "" if relation == self.task.relation else f"{relation.name} "
                met = _Met(queries, relation, self.now if self.clock else None, self.size)
                columns |= {prefix + name: values[pool.owner] for name, values in met.of_queries().items()}
                columns |= {prefix + name: values for name, values in met.of_pairs(pool).items()}
        columns |= self._taste(queries, pool)
        columns |= self.ends.near(self.histories(queries), pool)
        return {name: np.asarray(values, np.float32) for name, values in columns.items()}

    def _candidates(self, rows: NDArray, time: NDArray) -> Columns:
        if not self.trail.clocked:
            return {"edges": self.trail.count(rows, time)}
        # Many queries share a moment: every (candidate, moment) is counted once.
        stamps, which = np.unique(time, return_inverse=True)
        keys, back = np.unique(which * self.size + rows, return_inverse=True)
        counted = self.trail.columns(keys % self.size, stamps[keys // self.size])
        return {name: values[back] for name, values in counted.items()}

    def _taste(self, queries: Nodes, pool: Ragged) -> Columns:
        """A candidate's numbers (price) and events against the median over what the query met."""
        columns = {}
        found = queries.read(self.task.relation)
        found = found.keep(found.rows < self.size)
        met = np.log1p(self.trail.count(found.rows, moments(queries, self.now)[found.owner]).astype(np.float32))
        columns["own median events"] = _medians(found.owner, met, len(queries))[pool.owner]
        for name, values in self.numbers.values.items():
            own = values[pool.rows]
            apart = own - _medians(found.owner, values[found.rows], len(queries))[pool.owner]
            columns |= {name: own, f"{name} above own": apart, f"{name} apart": np.abs(apart)}
        return columns

    def histories(self, queries: Nodes) -> dict[str, sp.csr_matrix]:
        """What the queries met, as it is held against the candidates' ties: all of it and, under a name, what counts lately."""
        # Lately is the last few by place and by time: baskets are long, streams are not.
        how = {"": {}, " lately": {"half_life": 30.0}, " last": {"decay": 0.6}}
        how = {when: of for when, of in how.items() if self.ends.ties and (self.clock or "half_life" not in of)}
        return {when: profile(queries, self.task.relation, self.size, self.now, **of) for when, of in how.items()}


class _Trail:
    """All events of the task's relation by candidate and time: counts in windows by binary search, running sums at an event.

    An event is a distinct (source, target, time).
    """

    def __init__(self, graph: Graph, relation: Relation) -> None:
        table = graph.relations[relation].drop_nulls(["source", "target"])
        self.clocked = graph.clocked(relation)
        if not self.clocked:
            self.degree = np.bincount(table["target"].to_numpy(), minlength=graph.size(relation.target))
            return
        weight = pl.col("weight").sum() if "weight" in table.columns else pl.len().cast(pl.Float64)
        table = table.group_by("source", "target", "time").agg(weight.alias("weight")).sort("source", "target", "time")
        pair = pl.struct("source", "target")
        table = table.with_columns(nth=pl.int_range(pl.len()).over(pair)).sort("target", "time", "source")
        times, nth = table["time"].to_numpy(), table["nth"].to_numpy()
        self.stamps = distinct(times)
        self.width = len(self.stamps) + 1
        self.codes = table["target"].to_numpy().astype(np.int64) * self.width + np.searchsorted(self.stamps, times)
        # Who came first, who came back: running sums over the order by (target, time), so a difference counts one candidate's.
        weight = np.log1p(np.maximum(np.nan_to_num(table["weight"].to_numpy()), 0))
        self.sources, self.returned = (np.concatenate([[0], np.cumsum(x)]).astype(np.int32) for x in (nth == 0, nth == 1))
        self.weight = np.concatenate([[0], np.cumsum(weight)])

    def columns(self, rows: NDArray[np.int64], time: NDArray[np.int64]) -> Columns:
        start, end = np.searchsorted(self.codes, rows * self.width), self._end(rows, time)
        count = {days: end - np.maximum(start, self._end(rows, time - days * DAY)) for days in WINDOWS}
        ever, known = end - start, end > start
        first, last = (
            self._time(at) if len(self.codes) else time for at in (np.minimum(start, len(self.codes) - 1), np.maximum(end - 1, 0))
        )
        sources, returned, weight = (total[end] - total[start] for total in (self.sources, self.returned, self.weight))
        columns = {f"events in {days} days": n for days, n in count.items()}
        columns |= {
            "events": ever,
            "sources": sources,
            "trend 7 of 30 days": (count[7] + 1) / (count[30] * 7 / 30 + 1),
            "trend 14 of 60 days": (count[14] + 1) / (count[60] * 14 / 60 + 1),
            "trend 30 of 90 days": (count[30] + 1) / (count[90] / 3 + 1),
            "trend 90 days of ever": (count[90] + 1) / (ever + 1),
            "age": np.where(known, (time - first) / DAY, np.nan),
            "since last seen": np.where(known, (time - last) / DAY, np.nan),
            "share that returns": (returned + 1) / (sources + 5),
            "events per source": (ever + 5) / (sources + 5),
            "mean weight": np.where(known, weight / np.maximum(ever, 1), np.nan),
        }
        return columns

    def count(self, rows: NDArray[np.int64], time: NDArray[np.int64]) -> NDArray[np.int64]:
        """Events of candidates before their times."""
        if not self.clocked:
            return np.where(rows < len(self.degree), self.degree[np.minimum(rows, len(self.degree) - 1)], 0)
        return self._end(rows, time) - np.searchsorted(self.codes, rows * self.width)

    def _time(self, at: NDArray) -> NDArray[np.int64]:
        """Of events, by their rank in the code."""
        return self.stamps[self.codes[at] % self.width]

    def _end(self, rows: NDArray, time: NDArray) -> NDArray[np.int64]:
        return np.searchsorted(self.codes, rows * self.width + np.searchsorted(self.stamps, time))


class _Met:
    """One relation's history of a block of queries, by event: what is counted per query and per pair. now = None: without ages."""

    def __init__(self, queries: Nodes, relation: Relation, now: int | None, size: int) -> None:
        found, time = events(queries, relation)
        known = found.rows < size
        self.found, self.size, self.n = found.keep(known), size, len(queries)
        self.owner = self.found.owner
        self.age = None if time is None or now is None else (moments(queries, now)[self.owner] - time[known]) / DAY
        weight = queries.graph.values(relation, "weight", self.found.edges) if relation in queries.graph.relations else np.zeros(0)
        self.weight = np.log1p(np.maximum(np.nan_to_num(weight), 0))
        # Baskets (events at one time) of every query, numbered from its last, which is 0.
        turn = np.zeros(len(self.owner), bool)
        if self.age is None:
            turn[1:] = self.owner[1:] == self.owner[:-1]
        else:
            turn[1:] = (self.owner[1:] == self.owner[:-1]) & (self.age[1:] != self.age[:-1])
        running = np.cumsum(turn)
        highest = np.zeros(self.n, np.int64)
        np.maximum.at(highest, self.owner, running)
        self.ago = highest[self.owner] - running
        self.baskets = np.zeros(self.n)
        np.maximum.at(self.baskets, self.owner, self.ago + 1)

    def of_queries(self) -> Columns:
        edges = np.bincount(self.owner, minlength=self.n)
        breadth = np.bincount(distinct(self.owner * self.size + self.found.rows) // self.size, minlength=self.n)
        baskets = np.maximum(self.baskets, 1)
        columns = {
            "own events": edges,
            "own baskets": self.baskets,
            "own breadth": breadth,
            "own basket size": edges / baskets,
            "own share repeated": 1 - breadth / np.maximum(edges, 1),
            "own last basket size": np.bincount(self.owner, self.ago == 0, minlength=self.n),
            "own mean weight": np.bincount(self.owner, self.weight, minlength=self.n) / np.maximum(edges, 1),
        }
        if self.age is not None:
            first, last = np.full(self.n, -np.inf), np.full(self.n, np.inf)
            np.maximum.at(first, self.owner, self.age)
            np.minimum.at(last, self.owner, self.age)
            any_ = edges > 0
            columns["own first"], columns["own last"] = np.where(any_, first, np.nan), np.where(any_, last, np.nan)
            columns["own gap"] = np.where(any_, first - last, 0) / np.maximum(self.baskets - 1, 1)
            columns["own events in 60 days"] = np.bincount(self.owner, self.age < 60, minlength=self.n)
        return columns

    def of_pairs(self, pool: Ragged) -> Columns:
        """What the query met the candidate: how often, how lately, how regularly."""
        keys, back = np.unique(self.owner * self.size + self.found.rows, return_inverse=True)
        times = np.bincount(back, minlength=len(keys))
        latest, earliest = np.full(len(keys), np.inf), np.zeros(len(keys))
        np.minimum.at(latest, back, self.ago)
        np.maximum.at(earliest, back, self.ago)
        columns = {
            "met": times,
            "met baskets ago": latest,
            "met share": times / np.maximum(self.baskets[keys // self.size], 1),
            "met share since first": times / (earliest + 1),
            "met weight": np.bincount(back, self.weight, minlength=len(keys)),
        }
        if self.age is not None:
            last, first = np.full(len(keys), np.inf), np.zeros(len(keys))
            np.minimum.at(last, back, self.age)
            np.maximum.at(first, back, self.age)
            gap = np.where(times > 1, (first - last) / np.maximum(times - 1, 1), np.nan)
            columns |= {"met last": last, "met first": first, "met gap": gap, "met due": last / np.maximum(gap, 1)}
            for days in (10, 30, 90):
                columns[f"met faded {days}"] = np.bincount(back, 0.5 ** np.clip(self.age / days, 0, 100), minlength=len(keys))
        wanted = pool.owner * self.size + pool.rows
        place = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        known = keys[place] == wanted if len(keys) else np.zeros(len(wanted), bool)
        zero = {"met", "met share", "met share since first", "met weight", "met faded 10", "met faded 30", "met faded 90"}
        out = {}
        for name, values in columns.items():
            out[name] = np.full(len(wanted), 0.0 if name in zero else np.nan, np.float32)
            out[name][known] = values[place[known]]
        return out


class _Numbers:
    """Numeric columns of a kind; logarithms where all were positive at first, so that a difference is a ratio."""

    def __init__(self, graph: Graph, kind: str) -> None:
        self.kind, self.values, self.positive = kind, {}, set()
        for name in graph.columns(kind):
            if name not in ("since", "until") and graph.entities[kind].schema[name].is_numeric():
                values = _floats(graph.entities[kind][name])
                if np.nanmin(values, initial=np.inf) > 0:
                    self.positive.add(name)
                self.values[name] = self._told(name, values)

    def extended(self, graph: Graph, rows: NDArray[np.int64]) -> _Numbers:
        other, new = copy.copy(self), graph.gather(self.kind, rows, *self.values) if self.values else None
        other.values = {}
        for name, values in self.values.items():
            other.values[name] = np.full(graph.size(self.kind), np.nan, np.float32)
            other.values[name][: len(values)] = values
            other.values[name][rows] = self._told(name, _floats(new[name]))
        return other

    def _told(self, name: str, values: NDArray[np.float64]) -> NDArray[np.float32]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (np.log(values) if name in self.positive else values).astype(np.float32)


def _floats(column: pl.Series) -> NDArray[np.float64]:
    return column.cast(pl.Float64).to_numpy()  # null is NaN


def _medians(owner: NDArray, values: NDArray, n: int) -> NDArray[np.float32]:
    """(n,) the (lower) median of every owner's values, NaN for none; NaN values are left out."""
    owner, values = owner[~np.isnan(values)], values[~np.isnan(values)]
    counts = np.bincount(owner, minlength=n)
    ordered = values[np.lexsort((values, owner))]
    middle = np.cumsum(counts) - counts + np.maximum(counts - 1, 0) // 2
    out = np.full(n, np.nan, np.float32)
    out[counts > 0] = ordered[middle[counts > 0]]
    return out
