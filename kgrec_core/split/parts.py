"""Which part of a split every edge belongs to: the recipe's [split], read edge by edge.

`kgrec_core.split` makes views of the parts; here is only who is held out, by which rule, and from when on.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.graph import DAY, Graph, Relation, Task
from kgrec_core.recipe.ranges import Count

TRAIN, VALIDATION, TEST, DROPPED = 0, 1, 2, 3
BESIDE = (0.2, 0.4)  # test, and test and validation, of what has no time where the split is by time
LAST = 253_402_300_799  # the last second that a date can tell


@dataclass(frozen=True, kw_only=True)
class Split:
    """How to hold edges out. The recipe's [split].

    by: "time" (all later edges; of a task without times, whose history has some, a fifth of the sources is tested and a fifth validates), "last" (leave-last-out per source; equal times and undated edges keep the table's order), "random" (a
        share of every source's edges), "targets" (all edges of a share of the targets: cold targets) or "column" (train, validation or
        test in a column of the task's relation, edge by edge, or else of its source kind).
    test: time: a date ("2010-11-01") or a span before the last edge ("31d"); random, targets: a share (.2).
    validation: time: a date or a span before test ("31d"); random, targets: a share of the known edges (.1); so it is by column
        where that says validation of none: of every source the latest, or if undated any.
    column: by = "column": the column. group: a column of the source kind; equal values stay in one part (random).
    known_only: only queries whose source has an edge of the task in the view's graph.
    cold: by = "time": this share of the targets is taken out of everything known; only they are then asked for.
    rebuild: build retrieval again with the validation edges before the test, weights unchanged.
    """

    by: Literal["time", "last", "random", "targets", "column"] = "time"
    test: str | float | None = None
    validation: str | float | None = None
    column: str = "part"
    group: str | None = None
    known_only: bool = False
    cold: float = 0.0
    rebuild: bool = True
    seed: Count = 0


class Parts(NamedTuple):
    """Of one task: the part of every edge, times (strict for "last" of one relation), and from when on nothing may be read."""

    part: NDArray[np.int8]
    time: NDArray[np.int64] | None
    before: dict[int, NDArray[np.int64] | int | None]  # VALIDATION, TEST -> a time, times by source row, or no limit
    cold: dict[int, NDArray[np.int64]]  # VALIDATION, TEST -> targets that are not known yet
    held: dict[int, NDArray[np.int64]] | None = None  # "last": the held-out edge's own time, as it was given


def hold_out(graph: Graph, task: Task, how: Split, alone: bool = True) -> Parts:
    """The part of every edge of the task's relation. Raises KgrecError where a setting cannot be read.

    alone: whether all tasks are about this relation. Then "last" sets a source's equal times apart, in the table's order, so that
    each edge can be asked for after those before it. Two relations' equal times cannot be set apart so that neither knows of the
    other; then they stay, and equal times are one query in training.
    """
    source, target, time = columns(graph, task.relation)
    if not len(source):
        raise KgrecError(f"task {task.name}: relation {task.relation} has no edges to split; check the file and its filter")
    rng = np.random.default_rng(how.seed)
    part, before, held = np.zeros(len(source), np.int8), {VALIDATION: None, TEST: None}, None
    cold = dict.fromkeys((VALIDATION, TEST), np.zeros(0, np.int64))
    if how.by == "time" and time is None:  # what holds for good of a source (a user's segment), told from what it met until then
        if not any(graph.dated(relation) for relation in task.history):
            raise KgrecError(f'task {task.name}: {task.relation} has no time; give it one or set split.by = "random"')
        part = _random(graph, task, source, BESIDE, how, rng.random(len(source)))
    elif how.by == "time":
        test = _moment_or_span(how.test, "split.test", int(time.max()) + 1)
        validation = _moment_or_span(how.validation, "split.validation", test)
        if validation >= test:
            raise KgrecError(f"split.validation ({_date(validation)}) must be earlier than split.test ({_date(test)})")
        part = ((time >= validation).astype(np.int8) + (time >= test)).astype(np.int8)
        before = {VALIDATION: validation, TEST: test}
        if how.cold:
            drawn = _draw(np.unique(target[target >= 0]), _share(how.cold, "split.cold", 0.1), rng)
            is_cold, cold = np.isin(target, drawn), dict.fromkeys(cold, drawn)
            part[is_cold & (part < TEST)] = DROPPED
            part[~is_cold & (part == TEST)] = DROPPED
    elif how.by == "last":
        size, given = graph.size(task.relation.source), np.arange(len(source)) if time is None else time
        part, time = _last(source, given, size), _strict(source, given) if alone else given
        held, before = ({n: limits(source, t, part == n, size) for n in before} for t in (given, time if alone else time + 1))
    elif how.by == "random":
        test = _share(how.test, "split.test", 0.2)
        shares = test, test + (1 - test) * _share(how.validation, "split.validation", 0.1)
        part = _random(graph, task, source, shares, how, rng.random(len(source)))
    elif how.by == "targets":
        chosen = np.unique(target[target >= 0])
        test = _draw(chosen, _share(how.test, "split.test", 0.1), rng)
        validation = _draw(np.setdiff1d(chosen, test), _share(how.validation, "split.validation", 0.1), rng)
        part[np.isin(target, validation)] = VALIDATION
        part[np.isin(target, test)] = TEST
        cold = {VALIDATION: np.concatenate([test, validation]), TEST: test}
    else:
        part = _by_column(graph, task, source, how)
        if not (part == VALIDATION).any():
            known = np.flatnonzero(part == TRAIN)
            order = rng.random(len(known)) if time is None else -time[known]
            part[known] = _random(graph, task, source[known], (0.0, _share(how.validation, "split.validation", 0.1)), how, order)
    return Parts(part, time, before, cold, held)


def _strict(source: NDArray, time: NDArray) -> NDArray[np.int64]:
    """Times that grow strictly within a source: of equal ones the earlier in the table go back by a microsecond each.

    Back and never on: whoever reads other relations up to such a time meets nothing of the true time or later.
    """
    order = np.lexsort((time, source))
    end = np.flatnonzero(np.diff(source[order], append=-2))
    left = np.repeat(end, np.diff(end, prepend=-1)) - np.arange(len(order))
    frame = pl.DataFrame({"source": source[order], "shifted": time[order] + left})
    strict = np.empty(len(time), np.int64)
    strict[order] = frame.select(pl.col("shifted").cum_min(reverse=True).over("source")).to_series().to_numpy() - left
    return strict


def _last(source: NDArray, time: NDArray, size: int) -> NDArray[np.int8]:
    """The last edge of a source is test, the one before it validation; sources with fewer than three edges only train."""
    order = np.lexsort((time, source))
    counts = np.bincount(source[source >= 0], minlength=size)
    order = order[source[order] >= 0]
    left = np.repeat(np.cumsum(counts), counts) - np.arange(len(order))
    part = np.zeros(len(source), np.int8)
    long = np.repeat(counts >= 3, counts)
    part[order[long & (left == 2)]] = VALIDATION
    part[order[long & (left == 1)]] = TEST
    return part


def limits(source: NDArray, time: NDArray, chosen: NDArray[np.bool_], size: int) -> NDArray[np.int64]:
    """(size,) the time of every source's first chosen edge; the end of time where it has none."""
    limit = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(limit, source[chosen], time[chosen])
    return limit


def _random(graph: Graph, task: Task, source: NDArray, shares: tuple[float, float], how: Split, first: NDArray) -> NDArray[np.int8]:
    """Test, then validation, then train: floor(n * share + u) edges of a source, lowest `first` first, u drawn once per source (or group).

    The same u for every task of a kind keeps a source with one edge in each task in one part for all of them.
    """
    unit = units(graph, task.relation.source, how)
    if how.group:
        u = unit[source]
        return np.where(u < shares[0], TEST, np.where(u < shares[1], VALIDATION, TRAIN)).astype(np.int8)
    order = np.lexsort((first, source))
    counts = np.unique(source[order], return_counts=True)[1]
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    of = np.repeat(counts, counts)
    taken = [np.floor(of * share + unit[source[order]]) for share in shares]
    part = np.zeros(len(source), np.int8)
    part[order[place < taken[1]]] = VALIDATION
    part[order[place < taken[0]]] = TEST
    return part


def units(graph: Graph, kind: str, how: Split) -> NDArray[np.float64]:
    """(size,) one uniform number per source, equal for equal values of the group column, whatever the kind."""
    if not how.group:
        return np.random.default_rng([how.seed, 1]).random(graph.size(kind))
    if how.group not in graph.columns(kind):
        raise KgrecError(f'split.group = "{how.group}" is no column of {kind}; it has {", ".join(graph.columns(kind))}')
    values = graph.entities[kind][how.group].cast(pl.String).fill_null("")
    distinct = values.unique().to_list()
    hashed = [int.from_bytes(hashlib.blake2b(f"{how.seed}|{v}".encode(), digest_size=7).digest()) / 2**56 for v in distinct]
    return values.replace_strict(distinct, hashed, return_dtype=pl.Float64).to_numpy()


def _by_column(graph: Graph, task: Task, source: NDArray, how: Split) -> NDArray[np.int8]:
    kind, names, table = task.relation.source, ["train", "validation", "test"], graph.relations[task.relation]
    of = task.relation if how.column in table.columns else kind
    if of == kind and how.column not in graph.columns(kind):
        raise KgrecError(
            f"split.column = {how.column!r} is no column of {task.relation}, which has {', '.join(table.columns)}, "
            f"nor of {kind}; it has {', '.join(graph.columns(kind))}"
        )
    values = (table if of != kind else graph.entities[kind])[how.column].cast(pl.String)
    wrong = values.filter(~values.is_in(names) & values.is_not_null())
    if len(wrong):
        raise KgrecError(
            f"split.column {how.column} of {of} holds {wrong[0]!r}; it may hold train, validation, test (or nothing: left out)"
        )
    part = values.replace_strict(names, [TRAIN, VALIDATION, TEST], default=DROPPED, return_dtype=pl.Int8).to_numpy()
    return part.copy() if of != kind else part[source]


def _draw(rows: NDArray, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(rng.choice(rows, max(1, round(share * len(rows))), replace=False)) if len(rows) else rows


def check(graph: Graph, task: Task, parts: Parts, how: Split) -> None:
    """Raise KgrecError where a part is empty."""
    counts = np.bincount(parts.part, minlength=4)
    for number, name in ((TRAIN, "train"), (VALIDATION, "validation"), (TEST, "test")):
        if not counts[number]:
            time = columns(graph, task.relation)[2]
            span = "" if time is None else f"; its edges go from {_date(time.min())} to {_date(time.max())}"
            remedy = "change split.test or split.validation"
            if how.by == "random":
                remedy = f"of {len(parts.part):,} edges chance left it none; give more of them, a larger share, or another split.seed"
            raise KgrecError(f'split by "{how.by}": the {name} part of task {task.name} is empty{span}; {remedy}')


def columns(graph: Graph, relation: Relation) -> tuple[NDArray, NDArray, NDArray | None]:
    """source, target (-1 = null) and time of every edge."""
    if relation not in graph.relations:
        raise KgrecError(f"task relation {relation} is not in the graph; it has {', '.join(map(str, graph.relations)) or 'no relations'}")
    table = graph.relations[relation]
    ends = [table[end].cast(pl.Int64).fill_null(-1).to_numpy() for end in ("source", "target")]
    return ends[0], ends[1], table["time"].to_numpy() if "time" in table.columns else None


def _moment(value: str, name: str) -> int:
    """A date or datetime as int64 microseconds UTC; no zone means UTC."""
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        raise KgrecError(f'{name} = "{value}" is no date; write "2010-11-01", "2010-11-01 12:00" or a span such as "31d"') from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1e6)


def _moment_or_span(value: str | float | None, name: str, end: int) -> int:
    if value is None:
        raise KgrecError(f'{name} is missing; write a date ("2010-11-01") or a span before what follows ("31d", "12h")')
    if match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([dhw])\s*", str(value)):
        return end - int(float(match[1]) * {"h": DAY // 24, "d": DAY, "w": 7 * DAY}[match[2]])
    return _moment(str(value), name)


def _share(value: str | float | None, name: str, default: float) -> float:
    value = default if value is None else value
    if not isinstance(value, (int, float)) or not 0 < value < 1:
        raise KgrecError(f"{name} = {value!r} must be a share between 0 and 1, e.g. {default}")
    return float(value)


def _date(time: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=min(int(time) // 1_000_000, LAST))).strftime("%Y-%m-%d %H:%M:%S")
