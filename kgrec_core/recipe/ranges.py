"""Which numbers a key takes, said in its annotation: a recipe is refused by it, and `kgrec show` tells it.

def __init__(self, *, share: Share = 0.1, batch: Size = 64) -> None: ...
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple


class Range(NamedTuple):
    """From `least` to `most`. above, below: the bound itself is none of them."""

    least: float
    most: float = math.inf
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        return (value > self.least if self.above else value >= self.least) and (value < self.most if self.below else value <= self.most)

    def __str__(self) -> str:
        low = f"{'above' if self.above else 'from'} {self.least:g}"
        return low + (f" to {'below ' * self.below}{self.most:g}" if self.most < math.inf else "" if self.above else " on")


Count = Annotated[int, Range(0)]
Size = Annotated[int, Range(1)]
Several = Annotated[int, Range(2)]
Amount = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, above=True)]
Share = Annotated[float, Range(0, 1)]
Fraction = Annotated[float, Range(0, 1, above=True)]  # 1 = nothing is lost or left out
Inside = Annotated[float, Range(0, 1, above=True, below=True)]
Dropout = Annotated[float, Range(0, 1, below=True)]  # something is left
Cosine = Annotated[float, Range(-1, 1)]
