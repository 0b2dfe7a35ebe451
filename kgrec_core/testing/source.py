"""What a source of knowledge promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from kgrec_core.graph import Graph
from kgrec_core.knowledge.build import visible
from kgrec_core.knowledge.source import Source
from kgrec_core.testing.world import checkerboard

Triple = tuple[str, str, str, str, str]


def check_source(factory: Callable[[], Source]) -> None:
    """Undated triples, the same each time; of single rows what the whole has of them, also after save and load."""
    dataset = checkerboard()
    graph, rows = visible(dataset.graph, dataset.tasks), {"item": np.array([1, 4])}
    one, other = factory(), factory()
    for source in (one, other):
        source.learn(graph)
    whole = _triples(one.read(graph))
    assert whole, "it gives nothing for items with texts"
    assert whole == _triples(other.read(graph)), "learning twice gives two graphs"
    ids = set(graph.gather("item", rows["item"], "id")["id"])
    mine = {t for t in whole if (t[0] == "item" and t[1] in ids) or (t[3] == "item" and t[4] in ids)}
    some = {t for t in _triples(one.read(graph, rows)) if t[0] == "item" or t[3] == "item"}
    assert some <= mine, f"of single rows it says what the whole has not of them: {sorted(some - mine)[:2]}"
    with TemporaryDirectory() as folder:
        one.save(Path(folder))
        again = factory()
        again.load(Path(folder))
        found = {t for t in _triples(again.read(graph, rows)) if t[0] == "item" or t[3] == "item"}
    assert found == some, "a loaded source must say the same"


def _triples(graph: Graph) -> set[Triple]:
    found: set[Triple] = set()
    for relation, table in graph.relations.items():
        assert "time" not in table.columns, f"{relation} has times; knowledge is timeless"
        assert relation in graph.timeless, f"{relation} is not said to be timeless"
        ends = [graph.gather(k, table[e].to_numpy(), "id")["id"] for e, k in (("source", relation.source), ("target", relation.target))]
        found |= {(relation.source, one, relation.name, relation.target, other) for one, other in zip(*ends, strict=True)}
    return found
