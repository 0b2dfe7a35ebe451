"""What a data part promises."""

from __future__ import annotations

from collections.abc import Callable

from kgrec_core.guard import checks
from kgrec_core.interfaces import Data


def check_data(factory: Callable[[], Data]) -> None:
    """Loading gives valid tasks with edges, and the same dataset each time."""
    first, second = factory().load(), factory().load()
    fault = checks.dataset(first)
    assert not fault, fault
    for mine, other in ((first.graph.entities, second.graph.entities), (first.graph.relations, second.graph.relations)):
        assert list(mine) == list(other) and all(mine[name].equals(other[name]) for name in mine), "loading twice gives two datasets"
