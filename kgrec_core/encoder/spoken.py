"""The door of encoders that read texts: more may be put into a text before it is tokenised."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Nodes
from kgrec_core.interfaces import Encoder

Through = Callable[[Nodes, list[str], "Spoken"], list[str]]


class Spoken(Encoder):
    """through: (nodes, their texts, this encoder) -> the texts that are read instead, as many. Set before `prepare`; not saved.

    augment: texts of queries -> what is learned from in their place, while it learns. Set and taken back by a fit.
    longest: tokens that are read of a text, None = all.
    """

    through: Through | None = None
    augment: Callable[[list[str]], list[str]] | None = None

    @property
    def longest(self) -> int | None:
        return None

    def tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """(n,) how many tokens each text has."""
        raise NotImplementedError

    def spoken(self, nodes: Nodes, texts: list[str]) -> list[str]:
        return texts if self.through is None else self.through(nodes, texts, self)
