"""What knowledge comes from: a source reads what a graph says of its entities and gives further entities and timeless relations.

    [knowledge.attributes]
    use = "attributes"

A source's keyword-only, annotated constructor parameters are the keys of its recipe table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Graph
from kgrec_core.knowledge.linking import Pair

Rows = Mapping[str, NDArray[np.int64]]  # kind -> rows


class Source:
    """One source of knowledge. Constructors only store; what `learn` finds out ends in an underscore.

    The graph that it is given has entities with their texts and columns, and the timeless relations so far: neither dated edges nor those
    that a task predicts or reads as history.
    """

    doubtful: Sequence[Pair] = ()  # pairs of spellings that a person has to decide, see `linking`
    notes: tuple[str, ...] = ()  # what is to be said of the last `learn` and `read`: what was left out, what is doubtful

    def progress(self, done: int, total: int) -> None:
        """Called by a source that takes long; while a graph is built the host puts a function here that shows it."""

    def learn(self, graph: Graph) -> None:
        """Learn vocabularies and patterns from the whole graph. Called once, before `read`; deterministic."""

    def read(self, graph: Graph, rows: Rows | None = None) -> Graph:
        """What is known of these rows (None = of all): a delta with entities that are new or named, and undated relations between them.

        A relation's `weight`, where it has one, is the confidence in (0, 1]. Depends on what was learned and on the rows alone, so that
        a product that comes later gets what it would have got at the fit.
        """
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write what `learn` found out; no pickle."""

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote; raises KgrecError on a damaged folder."""
