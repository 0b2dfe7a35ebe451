"""Which fusion of text and graph pays: `auto` in a recipe's encoder is written out, by what each choice finds for the select queries."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec_core.encoder.auto import Auto, check
from kgrec_core.errors import KgrecError
from kgrec_core.evaluation import class_metrics, class_tables, rank_tables, variants
from kgrec_core.evaluation.interval import gain, mean_error
from kgrec_core.evaluation.metrics import measure
from kgrec_core.graph import Task, View
from kgrec_core.model import Model
from kgrec_core.recipe.binding import Table, plain, tree
from kgrec_core.recipe.recipe import Recipe

log = logging.getLogger("kgrec")
AUTO, ALONE = ("core/auto", "auto"), ("none", "verbalize", "propagate", "attention")  # that need no encoder of entities
Fitted = Callable[
    [Recipe, int, str], Model
]  # (recipe, updates, name) -> its model, fine-tuned for so long, refreshed for the select queries


def chosen(
    recipe: Recipe, checked: Callable[[Recipe], Recipe], tasks: Sequence[Task], view: View, fitted: Fitted, seed: int
) -> tuple[Recipe, list[dict[str, Any]]]:
    """The recipe with a fusion in place of `auto`, and the table of candidates: name, value, gain over none, seconds, chosen.

    checked: gives a recipe checked and written out. As it was, with no table, where nothing is to be chosen. Raises KgrecError where
    several are.
    """
    places = list(_places(recipe.tree.get("encoder", {}), ()))
    if not places:
        return recipe, []
    if len(places) > 1:
        where = " and ".join(".".join(("encoder", *place)) for place in places)
        raise KgrecError(f"[{where}]: one `auto` may be chosen for; name a fusion in the other")
    place, settings = places[0], {**_defaults(), **plain(_at(recipe.tree["encoder"], places[0]))}
    check(settings["choices"], settings["minutes"], settings["steps"])
    end, values, rows = time.monotonic() + 60 * settings["minutes"], {}, []
    for name in sorted(settings["choices"], key=lambda name: name != "none"):
        began = time.monotonic()
        if values and began > end:
            rows.append({"name": name, "tried": False})
            continue
        model = fitted(checked(_frozen(_with(recipe, place, name))), int(settings["steps"]), name)
        values[name] = np.concatenate([_values(model, view, task) for task in tasks])
        rows.append({"name": name, "tried": True, "value": float(np.nanmean(values[name])), "seconds": round(time.monotonic() - began, 1)})
        if name != "none":
            rows[-1]["gain"] = gain(values[name], values["none"], seed)
    best = _best(values)
    for row in rows:
        row["chosen"] = row["name"] == best
        log.warning("fusion %s", _line(row))
    return checked(_with(recipe, place, best)), rows


def _best(values: dict[str, NDArray[np.float64]]) -> str:
    """The simpler within noise: what gains most, if it is more than one standard error over none."""
    name = max(values, key=lambda name: np.nanmean(values[name]))
    mean, error = mean_error(values[name] - values["none"])
    return name if name != "none" and mean > error else "none"


def _line(row: dict[str, Any]) -> str:
    if not row["tried"]:
        return f"{row['name']}: not tried, the minutes were used up"
    more = f", {row['gain']['mean']:+.4f} [{row['gain']['low']:.4f}, {row['gain']['high']:.4f}] over none" if "gain" in row else ""
    return f"{row['name']}: {row['value']:.4f} on the select queries{more}; {row['seconds']} s{' <- taken' if row['chosen'] else ''}"


def _values(model: Model, view: View, task: Task) -> NDArray[np.float64]:
    """(n,) of the select queries: NDCG@10, or whether the class is right; NaN where nothing is."""
    case = variants.whole(view.queries[task.name], task)
    if model.heads[task.name].encodes_candidates:
        return measure(rank_tables.model_ranks(model, view.graph, task, case), case.queries.targets, ("ndcg@10",))["ndcg@10"]
    return class_metrics.right(class_tables.model_classes(model, view.graph, task, case), case.queries.targets)


# --- tables of a recipe -----------------------------------------------------------------------------------------------
def _places(node: Any, where: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(node, dict):
        if getattr(node.get("use"), "value", None) in AUTO:
            yield where
        for key, value in node.items():
            yield from _places(value, (*where, key))


def _at(node: Table, place: Sequence[str]) -> Table:
    for key in place:
        node = node[key]
    return node


def _defaults() -> dict[str, Any]:
    keys = inspect.signature(Auto.__init__).parameters.values()
    return {key.name: key.default for key in keys if key.default is not inspect.Parameter.empty}


def _with(recipe: Recipe, place: Sequence[str], name: str) -> Recipe:
    """The recipe with a fusion by name where `auto` stood; "none": what it stood around."""
    auto = _at(recipe.tree["encoder"], place)
    entity = auto.get("entity")
    if name == "none":
        new = auto["text"]
    else:
        new = {**tree({"use": f"core/{name}"}, Path.cwd(), "auto"), "text": auto["text"]}
        if entity is not None and name in ("gate", "attention"):
            new["entity"] = entity
        elif name not in ALONE:
            new["entity"] = tree({"use": "core/kge"}, Path.cwd(), "auto")

    def placed(node: Table, place: Sequence[str]) -> Table:
        return {**node, place[0]: placed(node[place[0]], place[1:])} if place else new

    return Recipe({**recipe.tree, "encoder": placed(recipe.tree["encoder"], place)})


def _frozen(recipe: Recipe) -> Recipe:
    """With every language model as it came, and in its place an adapter in every head that ranks: what is tried are the fusions, and none of
    them must win for being the only one that learns.
    """

    def still(node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        node = {key: still(value) for key, value in node.items()}
        frozen = tree({"train_layers": 0}, Path.cwd(), "auto") if getattr(node.get("use"), "value", None) in ("core/text", "text") else {}
        return {**node, **frozen}

    ranks = {name: head for name, head in recipe.tree.get("head", {}).items() if head["use"].value in ("core/rank", "rank")}
    heads = {name: {**head, **tree({"adapter": True}, Path.cwd(), "auto")} for name, head in ranks.items()}
    changed = {"head": {**recipe.tree["head"], **heads}} if heads else {}
    return Recipe({**recipe.tree, **changed, "encoder": still(recipe.tree["encoder"])})
