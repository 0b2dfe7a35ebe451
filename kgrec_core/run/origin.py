"""What a run was made from and with: data, seed, code from files, plugins and libraries."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from kgrec_core.graph import Dataset
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.run.folder import checksum

LIBRARIES = ("kgrec-core", "torch", "transformers", "sentence-transformers", "faiss-cpu", "faiss-gpu", "polars", "lightgbm", "numpy")


def manifest(dataset: Dataset, recipe: Recipe, fingerprint: str, seed: int, registry: Registry) -> dict[str, Any]:
    """The first part of manifest.json; the checksums of the files are added at publishing."""
    return {
        "tasks": [
            {"name": t.name, "relation": list(t.relation), "history": [list(r) for r in t.history], "repeats": t.repeats}
            for t in dataset.tasks
        ],
        "data": fingerprint,
        "seed": seed,
        "foreign": {use: checksum(path) for use, path in recipe.foreign.items()},
        "plugins": {plugin.name: str(plugin.version) for plugin in registry.plugins if plugin.state == "active"},
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "python": platform.python_version(),
    }


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
