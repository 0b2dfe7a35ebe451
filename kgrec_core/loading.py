"""From a recipe to its data set and what is to be said of it: what `fit` begins with, and all that `check` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from kgrec_core.data.facts import summary_of
from kgrec_core.data.summary import Summary
from kgrec_core.errors import Faults, KgrecError
from kgrec_core.graph import Dataset
from kgrec_core.knowledge.build import build
from kgrec_core.knowledge.source import Source
from kgrec_core.limits import Fit
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.stages import Progress

if TYPE_CHECKING:
    from kgrec_core.interfaces import Data


class Loaded(NamedTuple):
    """dataset: with what the sources of [knowledge] know. sources: as they have learned. found: what each of them gave."""

    dataset: Dataset
    summary: Summary
    sources: Mapping[str, Source]
    found: Mapping[str, Any]


def loaded(
    recipe: Recipe, registry: Registry, strict: bool = False, sources: Mapping[str, Source] | None = None, progress: Progress | None = None
) -> Loaded:
    """Load what the recipe's data part gives, and build its knowledge: the one way to a data set that is fitted.

    strict: a doubt is an error. sources: those of a run, which have learned;
        None = the recipe's, which learn now. Raises KgrecError for every mistake in the files, where there is no task, and where one has
        no parts.
    """
    faults, allow_leak = Faults(), recipe.section("fit", Fit).allow_leak

    def check(dataset: Dataset) -> None:
        if not dataset.tasks:
            names = [relation.name for relation in dataset.graph.relations]
            example = f'[data.tasks.{names[0]}] with relation = "{names[0]}"' if names else '[data.tasks.NAME] with relation = "..."'
            raise KgrecError(f"data.tasks: there is nothing to predict; add {example}")
        for task in dataset.tasks:
            for kind in ("head", "retrieval"):
                with faults:
                    recipe.of_task(kind, task.name)

    learn, sources = sources is None, recipe.knowledge(registry) if sources is None else sources
    dataset, part, found = known(recipe, registry, sources, learn, allow_leak, progress, check)
    summary = summary_of(dataset, getattr(part, "summary_", None))
    for doubt in summary.doubts if strict else ():
        with faults:
            raise KgrecError(f"{doubt} (a doubt, and --strict)")
    faults.refuse()
    return Loaded(dataset, summary, sources, found)


def known(
    recipe: Recipe,
    registry: Registry,
    sources: Mapping[str, Source],
    learn: bool = True,
    allow_leak: bool = False,
    progress: Progress | None = None,
    check: Callable[[Dataset], None] = lambda dataset: None,
) -> tuple[Dataset, Data, dict[str, Any]]:
    """The recipe's data with what the sources know, the part that they are from, and what each source gave.

    check: of the data, before knowledge is built.
    """
    part = recipe.data(registry)
    if progress:
        progress("loading data", 0, 0)
    dataset = part.load()
    check(dataset)
    dataset, found = build(dataset, sources, learn, allow_leak, progress)
    return dataset, part, found
