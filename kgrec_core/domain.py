"""For authors of domains: what a domain is made of, and what its verbs are written with. Everything is imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "errors": "KgrecError choices",
    "printing": "columns figures",
    "recipe.components": "Component Domain Verb",
    "recipe.hookspecs": "hookimpl",
    "recipe.recipe": "Layer Recipe resolve",
    "recipe.registry": "Registry",
    "requests": "as_data made",
    "run.run": "Answer Judged Run Snapshot open_run",
    "verbs": "each grouped one words",
}
_LATE = {name: module for module, names in _PLACES.items() for name in names.split()}
__all__ = sorted(_LATE)


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'kgrec_core.domain' has no attribute '{name}'")
    return getattr(import_module(f"kgrec_core.{_LATE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
