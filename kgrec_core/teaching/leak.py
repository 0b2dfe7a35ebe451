"""A teacher must not have learned what a fit holds out: its student would be tested on what it was told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Queries, Task, View
from kgrec_core.loading import loaded
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.run.run import open_run
from kgrec_core.run.stored_graph import fingerprint
from kgrec_core.split import Split, split
from kgrec_core.teaching.teacher import is_run, refuse_absent
from kgrec_core.training.options import Train

log = logging.getLogger("kgrec")
SOME = 0.05  # of what is held out: fewer equal texts are the data's own duplicates
REMEDY = "fit the teacher with the same [split] on the same data, or on data that hold nothing of it"


def refuse_leak(options: Train, recipe: Recipe, registry: Registry, dataset: Dataset, views: Mapping[str, View]) -> None:
    """Raises KgrecError where a run that teaches was fitted on queries that `views` hold out, or on a later time; and where nobody is there to teach.

    Where its data can no longer be loaded, that nothing is known of it is said.
    """
    teachers = [options.teacher.model, *options.teacher.also] if options.teacher else []
    teachers += [str(o.run) for o in options.objectives.values() if isinstance(getattr(o, "run", None), Path)]
    for model in teachers:
        refuse_absent(model)
        if is_run(model):
            _look(model, recipe, registry, dataset, views)


def _look(model: str, recipe: Recipe, registry: Registry, dataset: Dataset, views: Mapping[str, View]) -> None:
    run = open_run(model)
    same = run.manifest["data"] == fingerprint(dataset.graph)
    if same and run.recipe.section("split", Split) == recipe.section("split", Split):
        return
    try:
        theirs = loaded(run.recipe, registry, sources=run.snapshot.sources).dataset
        seen = split(theirs, run.recipe.section("split", Split))["train"]
    except KgrecError as error:
        log.warning("whether %s, which teaches, has learned what is held out here is not known: %s", model, error)
        return
    for task in dataset.tasks:
        for of in theirs.tasks:
            if of.relation == task.relation:
                _refuse(model, task, seen.queries[of.name], views)


def _refuse(model: str, task: Task, seen: Queries, views: Mapping[str, View]) -> None:
    held = [views[part].queries[task.name] for part in ("select", "adjust", "test")]
    if seen.nodes.before is not None and held[0].nodes.before is not None:
        first = min((of.nodes.before.min() for of in held if len(of.nodes)), default=None)
        if first is not None and len(seen.nodes) and seen.nodes.before.max() > first:
            raise KgrecError(f"train.teacher: {model} learned {task.name} from a later time than this fit may know; {REMEDY}")
        return
    learned, own = _named(seen), _named(views["train"].queries[task.name])
    asked = set().union(*map(_named, held))
    known = sorted((asked & learned) - own)
    if len(known) > SOME * len(asked):
        raise KgrecError(
            f"train.teacher: {model} learned from {len(known):,} of the {len(asked):,} queries of {task.name} that this fit holds out "
            f"(e.g. {known[0][:60]!r}); {REMEDY}"
        )


def _named(queries: Queries) -> set[str]:
    """The queries by their text, or id."""
    nodes = queries.nodes
    column = "text" if "text" in nodes.graph.columns(nodes.kind) else "id"
    return set(nodes.graph.gather(nodes.kind, nodes.rows, column)[column].drop_nulls().to_list())
