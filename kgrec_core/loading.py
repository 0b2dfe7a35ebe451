"""From a recipe to its data set and what is to be said of it: what `fit` begins with, and all that `check` does."""

from __future__ import annotations

from kgrec_core.data.facts import summary_of
from kgrec_core.data.summary import Summary
from kgrec_core.errors import Faults, KgrecError
from kgrec_core.graph import Dataset
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry


def loaded(recipe: Recipe, registry: Registry, strict: bool = False, bare: bool = False) -> tuple[Dataset, Summary]:
    """strict: a doubt is an error. bare: without a guard around the part, which needs torch. Raises KgrecError for every mistake in the files, where there is no task, and where one has no parts."""
    part, faults = recipe.data(registry, bare), Faults()
    dataset = part.load()
    if not dataset.tasks:
        names = [relation.name for relation in dataset.graph.relations]
        example = f'[data.tasks.{names[0]}] with relation = "{names[0]}"' if names else '[data.tasks.NAME] with relation = "..."'
        raise KgrecError(f"data.tasks: there is nothing to predict; add {example}")
    for task in dataset.tasks:
        for kind in ("head", "retrieval"):
            with faults:
                recipe.of_task(kind, task.name)
    summary = summary_of(dataset, getattr(part, "summary_", None))
    for doubt in summary.doubts if strict else ():
        with faults:
            raise KgrecError(f"{doubt} (a doubt, and --strict)")
    faults.refuse()
    return dataset, summary
