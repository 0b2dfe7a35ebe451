"""What a ranker may know about a query, a candidate and the two together, as of the query's own moment.

Nothing here depends on what the domain is: times and counts of the task's edges, numeric columns, shared neighbours.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.graph import DAY, Graph, Nodes, Ragged, Relation, Task
from kgrec_core.graph.ragged import ranges
from kgrec_core.retrieval.profile import clocked, events, horizon, moments, profile, rarity, unit_rows

WINDOWS = (7, 14, 30, 60, 90)  # days
CELLS = 2**22  # of dense rows that are looked up at once
Columns = dict[str, NDArray[np.float32]]


class Features:
    """Computes the columns of (query, candidate) pairs. Ages are days; unknown is NaN.

    Nothing after a query's `before` is counted; its own history is read through `Nodes.read` only. Where the task's relation has no
    clock that its sources share, nothing is counted in days.
    """

    def __init__(self, graph: Graph, task: Task) -> None:
        self.graph, self.task, self.now = graph, task, horizon(graph, task.relation)
        self.clock = clocked(graph, task.relation)
        self.size = graph.size(task.relation.target)
        table = graph.relations[task.relation]
        self.trail = graph.memo.get(("trail", task.relation, self.clock), (table,), lambda: _Trail(graph, task.relation))
        self.numbers = _numbers(graph, task.relation.target)
        self.ties = _ties(graph, task.relation.target)

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
        columns |= self._closeness(queries, pool)
        return {name: np.asarray(values, np.float32) for name, values in columns.items()}

    def _candidates(self, rows: NDArray, time: NDArray) -> Columns:
        if self.trail.times is None:
            return {"edges": self.trail.degree[rows]}
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
        for name, values in self.numbers.items():
            own = values[pool.rows]
            apart = own - _medians(found.owner, values[found.rows], len(queries))[pool.owner]
            columns |= {name: own, f"{name} above own": apart, f"{name} apart": np.abs(apart)}
        return columns

    def _closeness(self, queries: Nodes, pool: Ragged) -> Columns:
        """Cosine of what the query's history and the candidate are tied to, rare ends counting more; all and lately."""
        columns = {}
        if not self.ties:
            return columns
        # Lately is the last few by place and by time: baskets are long, streams are not.
        for when, how in (("", {}), (" lately", {"half_life": 30.0}), (" last", {"decay": 0.6})):
            if "half_life" in how and not self.clock:
                continue
            read = profile(queries, self.task.relation, self.size, self.now, **how)
            for name, ties in self.ties.items():
                columns[f"near by {name}{when}"] = _pair_products(unit_rows(read @ ties), ties, pool)
        return columns


class _Trail:
    """All events of the task's relation by candidate and time: counts in windows by binary search, running sums at an event.

    An event is a distinct (source, target, time).
    """

    def __init__(self, graph: Graph, relation: Relation) -> None:
        table = graph.relations[relation].drop_nulls(["source", "target"])
        self.times = None
        if not graph.clocked(relation):
            self.degree = np.bincount(table["target"].to_numpy(), minlength=graph.size(relation.target))
            return
        weight = pl.col("weight").sum() if "weight" in table.columns else pl.len().cast(pl.Float64)
        table = table.group_by("source", "target", "time").agg(weight.alias("weight")).sort("source", "target", "time")
        pair = pl.struct("source", "target")
        table = table.with_columns(nth=pl.int_range(pl.len()).over(pair)).sort("target", "time", "source")
        self.times, nth = table["time"].to_numpy(), table["nth"].to_numpy()
        self.stamps = np.unique(self.times)
        self.width = len(self.stamps) + 1
        self.codes = table["target"].to_numpy().astype(np.int64) * self.width + np.searchsorted(self.stamps, self.times)
        # Who came first, who came back: running sums over the order by (target, time), so a difference counts one candidate's.
        weight = np.log1p(np.maximum(np.nan_to_num(table["weight"].to_numpy()), 0))
        self.sources, self.returned, self.weight = (np.concatenate([[0], np.cumsum(x)]) for x in (nth == 0, nth == 1, weight))

    def columns(self, rows: NDArray[np.int64], time: NDArray[np.int64]) -> Columns:
        start, end = np.searchsorted(self.codes, rows * self.width), self._end(rows, time)
        count = {days: end - np.maximum(start, self._end(rows, time - days * DAY)) for days in WINDOWS}
        ever, known = end - start, end > start
        first = self.times[np.minimum(start, len(self.times) - 1)] if len(self.times) else time
        last = self.times[np.maximum(end - 1, 0)] if len(self.times) else time
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
        return self.degree[rows] if self.times is None else self._end(rows, time) - np.searchsorted(self.codes, rows * self.width)

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
        breadth = np.bincount(np.unique(self.owner * self.size + self.found.rows) // self.size, minlength=self.n)
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


def _numbers(graph: Graph, kind: str) -> Columns:
    """Numeric columns of a kind; logarithms where all are positive, so that a difference is a ratio."""
    numbers = {}
    for name in graph.columns(kind):
        if name not in ("since", "until") and graph.entities[kind].schema[name].is_numeric():
            values = graph.entities[kind][name].cast(pl.Float64).fill_null(np.nan).to_numpy()
            numbers[name] = (np.log(values) if np.nanmin(values, initial=np.inf) > 0 else values).astype(np.float32)
    return numbers


def _ties(graph: Graph, kind: str) -> dict[str, sp.csr_matrix]:
    """Relation name -> (size of kind, ends) unit rows, weighted by rarity; the timeless relations that touch the kind."""
    ties = {}
    for relation in graph.timeless:
        if kind not in (relation.source, relation.target):
            continue
        here, there = ("source", "target") if relation.source == kind else ("target", "source")
        other = relation.target if relation.source == kind else relation.source
        table = graph.relations[relation].drop_nulls(["source", "target"]).select(here, there).unique()
        ends = tuple(table[end].to_numpy().astype(np.int64) for end in (here, there))
        m = sp.csr_matrix((np.ones(len(table), np.float32), ends), shape=(graph.size(kind), graph.size(other)))
        ties[relation.name] = unit_rows((m @ sp.diags(rarity(m))).tocsr())
    if len(ties) > 1:
        ties["all"] = unit_rows(sp.hstack([ties[name] for name in sorted(ties)]).tocsr())
    return dict(sorted(ties.items()))


def _medians(owner: NDArray, values: NDArray, n: int) -> NDArray[np.float32]:
    """(n,) the (lower) median of every owner's values, NaN for none; NaN values are left out."""
    owner, values = owner[~np.isnan(values)], values[~np.isnan(values)]
    counts = np.bincount(owner, minlength=n)
    ordered = values[np.lexsort((values, owner))]
    middle = np.cumsum(counts) - counts + np.maximum(counts - 1, 0) // 2
    out = np.full(n, np.nan, np.float32)
    out[counts > 0] = ordered[middle[counts > 0]]
    return out


def _pair_products(left: sp.csr_matrix, right: sp.csr_matrix, pool: Ragged) -> NDArray[np.float32]:
    """(len(pool.rows),) dot products of a query's row on the left and a candidate's on the right.

    A few queries at a time: their dense rows are looked up where the candidate's row has something.
    """
    out, width = np.empty(len(pool.rows), np.float32), left.shape[1]
    step = max(1, CELLS // max(1, width))
    for start in range(0, left.shape[0], step):
        part = pool.take(np.arange(start, min(start + step, left.shape[0])))
        flat, indptr = ranges(right.indptr[part.rows].astype(np.int64), right.indptr[part.rows + 1].astype(np.int64))
        pair = np.repeat(np.arange(len(part.rows)), np.diff(indptr))
        dense = left[start : start + step].toarray().ravel()
        found = dense[part.owner[pair] * width + right.indices[flat]] * right.data[flat]
        out[pool.indptr[start] : pool.indptr[start] + len(part.rows)] = np.bincount(pair, found, len(part.rows))
    return out
