"""What a run was made from and with: data, seed, code from files, whose parts, plugins and libraries; compared on opening."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Task
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.run.folder import checksum

log = logging.getLogger("kgrec")
LIBRARIES = ("kgrec-core", "torch", "transformers", "sentence-transformers", "faiss-cpu", "faiss-gpu", "polars", "lightgbm", "numpy")


def manifest(dataset: Dataset, recipe: Recipe, fingerprint: str, seed: int, registry: Registry) -> dict[str, Any]:
    """The first part of manifest.json; the checksums of the files are added at publishing."""
    return {
        "tasks": described(dataset.tasks),
        "data": fingerprint,
        "seed": seed,
        "foreign": {use: checksum(path) for use, path in recipe.foreign.items()},
        "parts": {use: {"distribution": p.distribution, "version": p.version} for use in recipe.uses if (p := registry.owner(use))},
        "plugins": {plugin.name: str(plugin.version) for plugin in registry.plugins if plugin.state == "active"},
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "python": platform.python_version(),
    }


def described(tasks: Iterable[Task]) -> list[dict[str, Any]]:
    """Tasks as the manifest has them."""
    return [{"name": t.name, "relation": list(t.relation), "history": [list(r) for r in t.history], "repeats": t.repeats} for t in tasks]


def check_owners(folder: Path, manifest: Mapping[str, Any], registry: Registry) -> None:
    """Raise KgrecError where a part's plugin is absent, or somebody else's now; another version is logged."""
    parts = manifest.get("parts", {})
    if not isinstance(parts, dict) or not all(isinstance(of, dict) and {"distribution", "version"} <= set(of) for of in parts.values()):
        raise KgrecError(f"{folder} is damaged: its manifest does not say whose its parts are; restore it from a copy or fit again")
    for use, of in parts.items():
        name, wanted = use.partition("/")[0], f"{of['distribution']}=={of['version']}"
        was, plugin = f"{folder} was fitted with {use} of {of['distribution']} {of['version']}", registry.owner(use)
        if plugin is None:
            absent = next((f"is {p.state} here: {p.reason}" for p in registry.plugins if p.name == name), "is not installed")
            raise KgrecError(f"{was}; the plugin '{name}' {absent}; pip install '{wanted}'")
        if plugin.distribution != of["distribution"]:
            raise KgrecError(
                f"{was}; the plugin '{name}' is {plugin.distribution}'s here; pip uninstall {plugin.distribution}, pip install '{wanted}'"
            )
        if plugin.version != of["version"]:
            log.warning("%s, here it is of version %s; if answers differ: pip install '%s'", was, plugin.version, wanted)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
