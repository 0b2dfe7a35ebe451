"""What was learnt from a graph, kept where the graph is: two parts that ask for the same build share it, and none is built twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import RLock
from typing import Any, TypeVar

T = TypeVar("T")


class Memo:
    """Values by what they were made from. A graph and its views `at` and `with_edges` share one; `join` begins another.

    Thread-safe: of several threads that ask for one value, one makes it and the others wait. Values live as long as the graphs.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, _Place] = {}
        self._lock = RLock()

    def get(self, key: tuple[Hashable, ...], holds: tuple[Any, ...], make: Callable[[], T]) -> T:
        """The value of `key` and of these very objects, made by `make` where it is not known; what raises is not kept.

        holds: objects that count by identity, not by equality (tables, graphs); they stay alive with the value.
        """
        whole = (key, tuple(map(id, holds)))
        with self._lock:
            place = self._kept.setdefault(whole, _Place(holds))
        with place.lock:
            if not place.made:
                place.value, place.made = make(), True
            return place.value

    def __len__(self) -> int:
        return sum(place.made for place in self._kept.values())


class _Place:
    """A value or where it will be; its lock may be taken again by the thread that makes it."""

    def __init__(self, holds: tuple[Any, ...]) -> None:
        self.lock, self.holds, self.made, self.value = RLock(), holds, False, None
