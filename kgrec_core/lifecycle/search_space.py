"""What a search may set: [tune.space] of a recipe, looked at, and with the recipe's own settings in it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from kgrec_core.errors import KgrecError
from kgrec_core.recipe.parameters import parameters
from kgrec_core.recipe.recipe import WORDS, Recipe
from kgrec_core.recipe.registry import Registry, load
from kgrec_core.training.options import Train

log = logging.getLogger("kgrec")
USUAL: dict[str, Any] = {
    "train.lr": {"low": 1e-5, "high": 2e-4, "log": True},
    "train.head_lr": {"low": 2e-4, "high": 1e-2, "log": True},
    "train.epochs": [1, 2, 3],
}


def usual(recipe: Recipe) -> dict[str, Any]:
    """What is searched where [tune] says nothing: without what was set on the command line. Raises KgrecError where that is all of it."""
    words = recipe.tree.get("train", {})
    given = [key for key in USUAL if getattr(words.get(key.removeprefix("train.")), "source", "") == WORDS]
    left = {key: of for key, of in USUAL.items() if key not in given}
    if not left:
        raise KgrecError(f"tune: {', '.join(given)} are set on {WORDS}, so nothing is left to search; leave one out, or give [tune.space]")
    if given:
        log.warning("tune: not searched, as set on %s: %s; name it in [tune.space] to have it searched", WORDS, ", ".join(given))
    return left


def flat(space: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Dotted key -> values, however the tables of [tune.space] were nested."""
    found: dict[str, Any] = {}
    for key, of in space.items():
        name = f"{place}.{key}" if place else key
        found |= flat(of, name) if isinstance(of, Mapping) and "low" not in of else {name: of}
    return found


def checked(key: str, of: Any) -> Any:
    """Raises KgrecError where a part of the space cannot be drawn from."""
    section, _, rest = key.partition(".")
    if section in ("data", "split", "knowledge", "fit", "tune") or not rest:
        raise KgrecError(f"tune.space: {key} is no setting of fine-tuning; search below train, encoder or head")
    if isinstance(of, list) and of and all(isinstance(v, bool | int | float | str) for v in of):
        return of
    if isinstance(of, Mapping) and set(of) <= {"low", "high", "log"} and {"low", "high"} <= set(of):
        low, high = of["low"], of["high"]
        if (
            all(isinstance(v, int | float) and not isinstance(v, bool) for v in (low, high))
            and (0 if of.get("log") else -np.inf) < low < high
        ):
            return dict(of)
    raise KgrecError(f"tune.space.{key} = {of!r}: give a list of values, or {{ low = 1e-5, high = 1e-4, log = true }}")


def drawn(trial: Any, key: str, of: Any) -> Any:
    if isinstance(of, list):
        return trial.suggest_categorical(key, of)
    whole = all(isinstance(of[end], int) for end in ("low", "high"))
    return (trial.suggest_int if whole else trial.suggest_float)(key, of["low"], of["high"], log=bool(of.get("log")))


def of_recipe(recipe: Recipe, registry: Registry, space: Mapping[str, Any]) -> dict[str, Any]:
    """What the recipe itself has of the space, a part's default where it says nothing; without what a list or a range cannot name."""
    found = {}
    for key in space:
        (*place, name), node = key.split("."), recipe.tables
        for word in place:
            node = node.get(word) if isinstance(node, Mapping) else None
        node = node if isinstance(node, Mapping) else {}
        factory: Any = Train if place == ["train"] else None
        if "use" in node and node.get(name) is None:
            factory = load(registry.component(place[0], node["use"], [f.parent for f in recipe.foreign.values()]), place[0])
        known = parameters(factory) if factory else {}
        value = node.get(name, known[name].default if name in known else None)
        if isinstance(value, bool | int | float | str):
            found[key] = value
    return found


def holding(of: Any, own: Any) -> Any:
    """A part of the space that holds the recipe's own value, too."""
    if isinstance(of, list):
        return of if own is None or own in of else [*of, own]
    number = isinstance(own, int | float) and not isinstance(own, bool) and (own > 0 or not of.get("log"))
    return of | {"low": min(of["low"], own), "high": max(of["high"], own)} if number else of
