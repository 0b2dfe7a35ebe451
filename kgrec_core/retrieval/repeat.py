"""What the query met before, often and lately: the strongest single signal where people buy again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Nodes
from kgrec_core.interfaces import Vectors
from kgrec_core.recipe.ranges import Amount
from kgrec_core.retrieval.blockwise import Blockwise
from kgrec_core.retrieval.profile import profile, strangers


@dataclass(kw_only=True, eq=False)
class Repeat(Blockwise):
    """The query's own targets, each event counting .5^(days ago / half_life); undated edges count 1.

    half_life: days; 0 counts all events alike.
    """

    half_life: Amount = 60.0

    says = "chosen before"
    evidence = "habit"
    newcomers = True
    scales = "reads the query's own edges alone; ranking a million candidates is one pass over a row of scores"

    def silent(self, queries: Nodes) -> bool:
        return strangers(queries, self.task_.relation)

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        half_life = self.half_life or np.inf
        return profile(queries, self.task_.relation, len(self.mask_), self.now_, half_life=half_life).toarray()
