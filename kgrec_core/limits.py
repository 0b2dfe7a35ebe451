"""What a fit may cost: its minutes, and how many queries choose, rank and test. What that leaves out is said."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Queries, View
from kgrec_core.recipe.ranges import Amount, Count, Dropout

log = logging.getLogger("kgrec")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a fit may cost, and what its promises are stated for. The recipe's [fit].

    minutes: of a whole fit, counted from when it is started (again); fine-tuning stops in time for what must follow it, comparisons that
        no longer fit are left out; 0 = as long as it takes.
    publish: "best" = what the referee finds best on the select queries, see `kgrec_core.comparison.referee`; "chain" = the whole chain, fine-tuned, whatever
        is found; how it compares is told all the same. Below 300 select queries further held-out edges count, too.
    graph: "auto" = a chain whose relations of knowledge do not pay on the select queries, by one standard error, is published without: no channel
        by them, no column of a ranker; "keep" = as the recipe has it. An encoder's fusion has an "auto" of its own.
    select, adjust, test: most queries of a task that choose (the best weights, the floor's settings), that ranker and calibration learn
        from, and that are tested, drawn by split.seed where there are more; 0 = all. Candidates are never sampled.
    allow_leak: let a relation of [knowledge] pass that is a task's target in disguise.
    out_of_scope: of the queries to come, the share that nothing here answers, for which budgets of errors are stated where validation
        does not show it.
    """

    minutes: Amount = 0.0
    publish: Literal["best", "chain"] = "best"
    graph: Literal["keep", "auto"] = "keep"
    select: Count = 4_000
    adjust: Count = 4_000
    test: Count = 10_000
    strict: bool = False
    allow_leak: bool = False
    out_of_scope: Dropout = 0.1


Apart = Callable[[str, Queries], Sequence[NDArray[np.bool_]]]


def sampled(views: Mapping[str, View], limits: Fit, seed: int, apart: Apart | None = None) -> dict[str, View]:
    """The views with at most so many queries of every task. apart(task, queries): masks of those that are drawn
    on their own, of each at most so many."""
    found = dict(views)
    for number, name in enumerate(("select", "adjust", "test")):
        if name not in views:
            continue
        most = getattr(limits, name)
        found[name] = View(views[name].graph, {t: _drawn(q, most, [seed, number], name, t, apart) for t, q in views[name].queries.items()})
    return found


def _drawn(queries: Queries, most: int, seed: list[int], name: str, task: str, apart: Apart | None) -> Queries:
    n = len(queries.nodes)
    if not most or n <= most:
        return queries
    rng, parts = np.random.default_rng(seed), [np.arange(n)] if apart is None else map(np.flatnonzero, apart(task, queries))
    some = np.unique(np.concatenate([rng.choice(of, min(most, len(of)), replace=False) for of in parts]))
    if len(some) < n:
        log.warning("%s queries of task %s: %s of %s are drawn; fit.%s = 0 takes all", name, task, f"{len(some):,}", f"{n:,}", name)
    return queries.take(some)


class Budget:
    """The minutes of a fit from now on, and in `dropped` what they did not suffice for."""

    def __init__(self, minutes: float) -> None:
        self.minutes, self.dropped = minutes, []
        self.end = time.monotonic() + 60 * minutes if minutes else float("inf")

    def part(self, minutes: float, after: float) -> Budget:
        """For a step that may take so many minutes (0 = all), and leaves `after` seconds to what must follow."""
        found = Budget(minutes)
        found.end, found.dropped = min(found.end, self.end - after), self.dropped
        return found

    def left(self) -> float:
        """Seconds; inf without a limit."""
        return self.end - time.monotonic()

    def allows(self, what: str, seconds: float = 0.0) -> bool:
        """Whether a step that takes about so long may begin; else that is said, and kept in `dropped`."""
        if self.left() > seconds:
            return True
        self.drop(f"{what} was not measured: fit.minutes = {self.minutes:g} were used up")
        return False

    def drop(self, said: str) -> None:
        log.warning(said)
        self.dropped.append(said)
