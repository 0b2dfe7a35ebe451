"""ALS: sources and targets as vectors whose products rebuild who chose what, each side solved in closed form given the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec_core.encoder.squares import Squares
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.recipe.ranges import Amount, Count, Fraction, Positive, Size
from kgrec_core.retrieval.blockwise import Blockwise
from kgrec_core.retrieval.profile import matrix, profile, strangers
from kgrec_core.stored import numbers


@dataclass(kw_only=True, eq=False)
class Als(Blockwise):
    """Alternating least squares for implicit feedback, see `Squares`.

    A query's vector is solved from its history as it is when asked, so that a newcomer, and a purchase of a minute ago, count at once.

    width: of the vectors. confidence: of a choice beyond that of none; with a half_life, of a choice just made. l2: regularisation.
    frequency: the power of a row's number of choices by which its regularisation grows. rounds: how often both sides are solved. seed: of the numbers
    that they begin with.
    half_life: days after which a choice counts half, where there is a clock; decay: with half_life = 0, a query's weights by position,
    as in `ease`.
    """

    width: Size = 64
    confidence: Amount = 5.0
    l2: Positive = 1.0
    frequency: Amount = 0.25
    rounds: Size = 10
    half_life: Amount = 0.0
    decay: Fraction = 1.0
    seed: Count = 0

    says = "goes with what was chosen"
    scales = "solves a system of `width` equations per source and target, ten times each; ranking a million is one product of `width` numbers each"
    state = ("factors_",)

    def learn(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        """factors_: (size, width) float32 of the targets."""
        x = matrix(graph, task.relation, self.now_, self.half_life)
        self.factors_ = self._squares().factors(x, self.width, self.rounds, self.seed)

    def attach(self) -> None:
        if len(numbers(self.factors_, (None, None))) > len(self.mask_):
            raise ValueError(f"{len(self.factors_):,} vectors do not belong to this graph of {len(self.mask_):,} candidates")
        self._gram = self.factors_.T @ self.factors_

    def silent(self, queries: Nodes) -> bool:
        return strangers(queries, self.task_.relation)

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        read = profile(queries, self.task_.relation, len(self.factors_), self.now_, self.decay, self.half_life)
        read.sum_duplicates()
        if not self.half_life and self.decay == 1:
            read.data[:] = 1  # as it was learned: whether, not how often
        return self._squares().solved(read, self.factors_, self._gram) @ self.factors_.T

    def _squares(self) -> Squares:
        return Squares(self.confidence, self.l2, self.frequency)
