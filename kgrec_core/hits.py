"""What a retrieval is told it may find, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Hits(NamedTuple):
    """Ranked candidates of n queries.

    rows: (n, k) int64 rows of the target kind, best first, -1 = none. scores: (n, k) float32, -inf where there is none.
    columns: name -> (n, k) float32, e.g. the score of every channel below a re-ranker.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    columns: Mapping[str, NDArray[np.float32]] = {}


@dataclass(frozen=True, eq=False)
class Filter:
    """Which candidates may be returned.

    rows: bool by row of the target kind; rows beyond its end are not allowed. where: the condition that is part of it, for an index
    that tests conditions itself: parsed, checked and written again in PostgreSQL's words ('"price" < 5'). What such an index gives
    is still held against `rows`, which also know what was removed or left out by hand.
    """

    rows: NDArray[np.bool_]
    where: str | None = None
