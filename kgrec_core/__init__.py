"""kgrec: fine-tune a pretrained language model together with a knowledge graph, retrieve with FAISS, answer and explain.

Heavy libraries are imported only when a name that needs them is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from kgrec_core.errors import KgrecError
from kgrec_core.recipe.components import Component, Domain, Verb
from kgrec_core.recipe.hookspecs import hookimpl

__version__ = "0.1.0"

_LATE = {
    "Batch": "interfaces", "Data": "interfaces", "Encoder": "interfaces", "Filter": "interfaces", "Head": "interfaces", "Hits": "interfaces",
    "Objective": "training.objective", "Step": "training.objective",
    "Retrieval": "interfaces", "Dataset": "graph", "Graph": "graph", "Nodes": "graph", "Queries": "graph",
    "Ragged": "graph", "Relation": "graph", "Task": "graph", "View": "graph", "Split": "split",
    "fit": "pipeline", "open_run": "run.run",
}  # fmt: skip

__all__ = ["Component", "Domain", "KgrecError", "Verb", "hookimpl", *_LATE]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'kgrec_core' has no attribute '{name}'")
    return getattr(import_module(f"kgrec_core.{_LATE[name]}"), name)
