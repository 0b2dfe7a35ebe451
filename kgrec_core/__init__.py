"""kgrec: fine-tune a pretrained language model together with a knowledge graph, retrieve with FAISS, answer and explain.

Heavy libraries are imported only when a name that needs them is first used. Domains have more names in `kgrec_core.domain`, wrappers of
built-in parts in `kgrec_core.parts`, tests in `kgrec_core.testing`.
"""

from __future__ import annotations

from kgrec_core.late import late

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = late(
    __name__,
    {
        "errors": "KgrecError",
        "recipe.components": "Component Domain Verb",
        "recipe.hookspecs": "hookimpl",
        "graph": "DAY Dataset Graph Nodes Queries Ragged Relation Task View candidates histories",
        "knowledge.source": "Source",
        "interfaces": "Batch Data Encoder Filter Head Hits Retrieval",
        "training.objective": "Objective Step",
        "split": "Split",
        "pipeline": "fit",
        "jobs.bulk": "bulk",
        "run.run": "open_run",
    },
)
