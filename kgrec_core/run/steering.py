"""Lists as rules want them, k long as ever: from what a retrieval finds, the best that keep the rules."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kgrec_core.evaluation.diversity import NOTHING, picked, relevance, unit
from kgrec_core.graph import Graph, Task
from kgrec_core.interfaces import Filter, Hits
from kgrec_core.run.groups import group, values_of
from kgrec_core.run.rules import Rules

log = logging.getLogger("kgrec")
FIRST, DEEPER = 100, 4  # how deep is looked at first, and how many times as deep where that does not do
Search = Callable[[int, Filter], Hits]  # (k, which candidates) -> hits
Encode = Callable[[NDArray[np.int64]], NDArray[np.float32]]  # rows -> vectors


def steered(search: Search, rules: Rules, graph: Graph, task: Task, k: int, allowed: Filter, encode: Encode) -> Hits:
    """The k best of every query that keep the rules, each with its own score; where they leave fewer than k, the best of the rest follow.

    A quota looks as deep as it must. Scores no longer fall where the order is no longer theirs.
    """
    total, depth = int(np.count_nonzero(allowed.rows)), max(FIRST, 10 * k)
    while True:
        hits = _with_groups(search(min(depth, total), allowed), search, rules, graph, task, k, allowed)
        order, short = _ordered(hits, rules, graph, task, k, encode)
        if not short or depth >= total:
            break
        depth *= DEEPER
    if short:
        log.info("the rules leave fewer than %d for %d lists: filled with the best of the rest", k, short)
    return picked(hits, order)


def _with_groups(hits: Hits, search: Search, rules: Rules, graph: Graph, task: Task, k: int, allowed: Filter) -> Hits:
    """The hits, and below them the best of every group that lists must have some of."""
    for said, n in rules.at_least.items():
        inside = allowed.rows & _fit(group(graph, task, said), len(allowed.rows))
        if not inside.any():
            log.warning("at_least %s = %d: there is none to choose from", said, n)
            continue
        more = search(min(max(n, 1), k, int(inside.sum())), Filter(inside))
        known = (more.rows[:, :, None] == hits.rows[:, None, :]).any(2)
        rows = np.where(known, -1, more.rows)
        low = np.where(np.isfinite(hits.scores), hits.scores, np.inf).min(1, keepdims=True, initial=np.inf)
        scores = np.where(rows >= 0, np.minimum(more.scores, np.where(np.isfinite(low), low, 0)), -np.inf).astype(np.float32)
        columns = {
            name: np.hstack([values, more.columns.get(name, np.full(rows.shape, np.nan, np.float32))])
            for name, values in hits.columns.items()
        }
        hits = Hits(np.hstack([hits.rows, rows]), np.hstack([hits.scores, scores]), columns)
    return hits


def _ordered(hits: Hits, rules: Rules, graph: Graph, task: Task, k: int, encode: Encode) -> tuple[NDArray[np.int64], int]:
    """(n, k) places of the hits that are taken, and how many lists had to be filled with what breaks a quota."""
    n, m = hits.rows.shape
    rows, where = np.unique(np.maximum(hits.rows, 0), return_inverse=True)
    where = where.reshape(n, m)
    scores = np.where(hits.rows >= 0, hits.scores, -np.inf).astype(np.float64)
    spread = np.nan_to_num(np.std(np.where(np.isfinite(scores), scores, 0), axis=1, keepdims=True))
    for said, lift in rules.boost.items():
        scores = scores + lift * np.maximum(spread, 1e-9) * _fit(group(graph, task, said), rows.max(initial=0) + 1)[rows][where]
    value, own = relevance(scores), unit(encode(rows)) if rules.diversity else None
    counted = {name: values_of(graph, task, name, rows) for name in rules.at_most}
    needed = {said: (number, _fit(group(graph, task, said), rows.max(initial=0) + 1)[rows]) for said, number in rules.at_least.items()}
    order, short = np.full((n, min(k, m)), -1, np.int64), 0
    for i in range(n):
        vectors = None if own is None else own[where[i]]
        order[i], broken = _one(value[i], vectors, where[i], rules, counted, needed, order.shape[1])
        short += broken
    return order, short


def _one(value, vectors, where, rules: Rules, counted, needed, k: int) -> tuple[NDArray[np.int64], bool]:
    """The places of one list, greedily: the best gain that breaks no quota; the last places are kept for what is still owed."""
    order, taken, nearest = np.full(k, -1, np.int64), value == NOTHING, np.zeros(len(value))
    have, got, broken = {name: Counter() for name in counted}, dict.fromkeys(needed, 0), False
    for place in range(k):
        open_ = ~taken & _within(where, counted, have, rules)
        owed = {said: n - got[said] for said, (n, _) in needed.items() if n > got[said]}
        if owed and k - place <= sum(owed.values()):
            due = open_ & np.any([needed[said][1][where] for said in owed], axis=0)
            open_ = due if due.any() else open_
        if not open_.any():
            open_, broken = ~taken, broken or bool((~taken).any()) or place < k
            if not open_.any():
                break
        gain = (1 - rules.diversity) * value - rules.diversity * nearest
        best = int(np.where(open_, gain, -np.inf).argmax())
        order[place], taken[best] = best, True
        for name, values in counted.items():
            have[name].update(values[where[best]])
        for said, (_, mask) in needed.items():
            got[said] += bool(mask[where[best]])
        if vectors is not None:
            nearest = np.maximum(nearest, vectors @ vectors[best])
    return order, broken


def _within(where, counted, have, rules: Rules) -> NDArray[np.bool_]:
    """Which places hold no value that the list has enough of."""
    open_ = np.ones(len(where), bool)
    for name, values in counted.items():
        full = {value for value, n in have[name].items() if n >= rules.at_most[name]}
        if full:
            open_ &= np.array([not full.intersection(values[of]) for of in where])
    return open_


def _fit(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """A mask as long as another."""
    return np.concatenate([mask, np.zeros(max(0, size - len(mask)), bool)])[:size]
