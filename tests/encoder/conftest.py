"""A few chairs whose facts are rare or what everything has."""

from __future__ import annotations

import polars as pl
import pytest

from kgrec_core.graph import Graph, Relation
from kgrec_core.testing import BUYS, HAS, checkerboard

MADE = Relation("item", "made_by", "maker")


@pytest.fixture
def chairs():
    """Three chairs of one maker, one of a rare one; every item has a colour, only two have a maker."""
    entities = {
        "user": pl.DataFrame({"id": ["u"]}),
        "item": pl.DataFrame({"id": list("abcd"), "text": ["chair", "stool", None, "bench"]}),
        "colour": pl.DataFrame({"id": ["r", "g"], "text": ["red", "green"]}),
        "maker": pl.DataFrame({"id": ["x", "y"], "text": ["Ajax", None]}),
    }
    edges = {
        BUYS: pl.DataFrame({"source": [0], "target": [0], "time": [1]}).cast({"source": pl.UInt32, "target": pl.UInt32}),
        HAS: pl.DataFrame({"source": [0, 1, 2, 3, 0], "target": [0, 0, 0, 0, 1]}).cast(pl.UInt32),
        MADE: pl.DataFrame({"source": [0, 1], "target": [0, 1]}).cast(pl.UInt32),
    }
    return Graph(entities, edges, frozenset({HAS, MADE})), checkerboard()[1]
