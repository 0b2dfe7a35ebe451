"""Imports between the core's folders and files point one way, as docs/architecture.md draws them; what is imported in a call may point up."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

CORE = Path(__file__).parents[1] / "kgrec_core"
LAYERS = (
    "cli serving console jobs testing",
    "lifecycle",
    "pipeline",
    "finetuning publishing",
    "comparison teaching",
    "run report",
    "explain calibration guard",
    "encoder head retrieval",
    "evaluation training knowledge",
    "data split",
    "model interfaces",
    "graph recipe",
)


def below() -> dict[str, set[str]]:
    """Folder, or file of the root -> those that it imports when it is imported itself."""
    found: dict[str, set[str]] = {}
    for path in CORE.rglob("*.py"):
        own = path.relative_to(CORE).with_suffix("").parts[0]
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "kgrec_core":
                names = node.module.split(".")[1:2] or [alias.name for alias in node.names]
                found.setdefault(own, set()).update(name for name in names if name != own)
    return found


def test_nothing_stands_on_what_stands_on_it():
    assert "graph" in list(TopologicalSorter(below()).static_order())  # raises CycleError with the cycle


def test_layers():
    """Each imports from its own line or from those below it."""
    found, place = below(), {name: number for number, names in enumerate(LAYERS) for name in names.split()}
    assert place.keys() <= found.keys(), "a layer that is no longer there"
    up = [(one, other) for one in place for other in found[one] & place.keys() if place[other] < place[one]]
    assert not up
