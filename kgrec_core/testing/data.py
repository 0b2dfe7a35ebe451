"""What a data part promises."""

from __future__ import annotations

from collections.abc import Callable

from kgrec_core.guard import datasets
from kgrec_core.interfaces import Data


def check_data(factory: Callable[[], Data]) -> None:
    """Loading gives valid tasks with edges, and the same dataset each time."""
    first, second = factory().load(), factory().load()
    fault = datasets.dataset(first) or datasets.dataset(second) or datasets.repeated(first, second)
    assert not fault, fault
