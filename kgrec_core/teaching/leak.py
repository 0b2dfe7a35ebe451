"""A teacher must not have learned what a fit holds out: its student would be tested on what it was told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Nodes, Queries, Task, View, candidates
from kgrec_core.loading import loaded
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.run.run import open_run
from kgrec_core.run.stored_graph import fingerprint
from kgrec_core.split import Split, split
from kgrec_core.teaching.teacher import is_run, refuse_absent, refuse_other_classes
from kgrec_core.training.options import Train

if TYPE_CHECKING:
    from kgrec_core.run.run import Run

log = logging.getLogger("kgrec")
SOME = 0.05  # of what is held out: fewer equal texts are the data's own duplicates
REMEDY = "fit the teacher with the same [split] on the same data, or on data that hold nothing of it"


def refuse_leak(options: Train, recipe: Recipe, registry: Registry, dataset: Dataset, views: Mapping[str, View]) -> None:
    """Raises KgrecError where a run that teaches was fitted on queries that `views` hold out, or on a later time; where nobody is there to teach, or knows other classes.

    Where its data can no longer be loaded, that nothing is known of it is said.
    """
    teachers = [options.teacher.model, *options.teacher.also] if options.teacher else []
    others = [str(o.run) for o in options.objectives.values() if isinstance(getattr(o, "run", None), Path)]
    logits = [] if options.teacher is None or (options.teacher.what and "logits" not in options.teacher.what) else teachers
    for model in [*teachers, *others]:
        refuse_absent(model)
        if is_run(model):
            run = open_run(model)
            for task in dataset.tasks if model in logits else ():
                if not recipe.head(registry, task.name).encodes_candidates:
                    refuse_other_classes(run, model, task, _named(candidates(dataset.graph, task), "id"))
            _look(run, model, recipe, registry, dataset, views)


def _look(run: Run, model: str, recipe: Recipe, registry: Registry, dataset: Dataset, views: Mapping[str, View]) -> None:
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
    learned, own, *asked = (_named(queries.nodes, "text") for queries in (seen, views["train"].queries[task.name], *held))
    asked = set().union(*asked)
    known = sorted((asked & learned) - own)
    if len(known) > SOME * len(asked):
        raise KgrecError(
            f"train.teacher: {model} learned from {len(known):,} of the {len(asked):,} queries of {task.name} that this fit holds out "
            f"(e.g. {known[0][:60]!r}); {REMEDY}"
        )


def _named(nodes: Nodes, column: str) -> set[str]:
    """Nodes by this column, or their id where there is none."""
    column = column if column in nodes.graph.columns(nodes.kind) else "id"
    return set(nodes.graph.gather(nodes.kind, nodes.rows, column)[column].drop_nulls().to_list())
