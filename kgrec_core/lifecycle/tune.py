"""Better settings than a recipe's, looked for on its select queries: trials of fine-tuning alone, the hopeless ones cut short.

    found = tune(resolve("kgrec_support:recipe.toml", ["data.faq=faq.csv"]), Path("tuned"), trials=30, minutes=60)
    fit(resolve(found.file), Path("runs/desk"))

Optuna (extra `tune`) proposes (tree-structured Parzen estimator: Bergstra et al. 2011) and cuts what is below the median at the same
validation; its study is tuned/study.sqlite, so the same call goes on. The recipe's own settings are the first trial: what is written is
never below them on these queries. The test is not looked at, and neither are the adjust queries.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kgrec_core.comparison.results import select_value
from kgrec_core.encoder.named import refuse_absent, refused
from kgrec_core.finetuning import SECTIONS, build_model, sections
from kgrec_core.graph import Dataset, View
from kgrec_core.later import Tune
from kgrec_core.lifecycle.search_space import checked, drawn, flat, holding, of_recipe, usual
from kgrec_core.lifecycle.study import alone, finished, opened, optuna_of
from kgrec_core.limits import Budget, sampled
from kgrec_core.loading import loaded
from kgrec_core.outputs import output
from kgrec_core.recipe.binding import Leaf
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.run.stored_graph import fingerprint
from kgrec_core.split import split
from kgrec_core.stages import Progress, silent
from kgrec_core.teaching.distillation import with_teacher
from kgrec_core.teaching.leak import refuse_leak
from kgrec_core.training.failures import Failed
from kgrec_core.training.fitting import train
from kgrec_core.training.loop import Learner
from kgrec_core.training.range_test import range_test, steepest

log = logging.getLogger("kgrec")


class Tuned(NamedTuple):
    """file: the recipe with the best settings. value: what it has on the select queries, own: what the recipe had; trials: done, cut: of them cut.

    range: the rates between which the search stayed, where the range test was made.
    """

    file: str
    settings: dict[str, Any]
    value: float
    own: float
    trials: int
    cut: int
    range: tuple[float, float] | None


def tune(
    recipe: Recipe, folder: Path, trials: int = 30, minutes: float = 0.0, registry: Registry | None = None, progress: Progress = silent
) -> Tuned:
    """Search by [tune] of the recipe; folder: of the study, the checkpoints and best.toml. minutes: 0 = as long as it takes.

    Raises KgrecError without optuna, for a space that is none, and where the study in `folder` is of another recipe or data.
    """
    optuna = optuna_of()
    registry, folder = registry or Registry.discover(), Path(folder)
    with alone(folder):
        return _tuned(optuna, recipe, folder, trials, minutes, registry, progress)


def _tuned(optuna: Any, recipe: Recipe, folder: Path, trials: int, minutes: float, registry: Registry, progress: Progress) -> Tuned:
    recipe = recipe.check(registry, SECTIONS)
    what, budget = recipe.section("tune", Tune), Budget(minutes)
    how, options, limits = sections(recipe, registry)
    progress("loading data", 0, 0)
    dataset = loaded(recipe, registry, progress=progress).dataset
    refused(recipe.tables, dataset)
    views = sampled(split(dataset, how), limits, how.seed)
    refuse_leak(options, recipe, registry, dataset, views)
    space = {key: checked(key, of) for key, of in (flat(what.space) or usual(recipe)).items()}
    for key, of in space.items():
        for model in of if key.endswith(".model") and isinstance(of, list) else ():
            refuse_absent(str(model), f"tune.space.{key}")
    own = of_recipe(recipe, registry, space)
    space = {key: holding(of, own.get(key)) for key, of in space.items()}
    purpose = recipe.dumps() + fingerprint(dataset.graph) + ("" if what.space else " ".join(space))  # what words set is not searched
    study = opened(optuna, folder, hashlib.sha256(purpose.encode()).hexdigest(), options.seed)
    bounds = _bounds(recipe, registry, dataset, views["train"], what, space, own.get("train.lr"), study, progress)
    if not any(trial.user_attrs.get("own") and trial.state.name in ("WAITING", "COMPLETE") for trial in study.trials):
        study.enqueue_trial(own, user_attrs={"own": True})

    def tried(trial: Any) -> float:
        settings = {key: drawn(trial, key, of) for key, of in space.items()}
        try:
            return _value(recipe, registry, dataset, views, settings, what.updates, trial, folder, budget)
        except Failed as error:  # other settings may do; where the recipe's own do not, the user is told
            if trial.user_attrs.get("own"):
                raise
            log.warning("trial %d: %s", trial.number, error)
            raise optuna.TrialPruned from error

    while (done := len(finished(study))) < trials and (not done or budget.left() > 0):
        progress("trials", done, trials)
        study.optimize(tried, n_trials=1, catch=())
    complete = [t for t in study.trials if t.state.name == "COMPLETE"]
    best = max(complete, key=lambda t: t.value)
    settings = {key: best.params[key] for key in space}
    file = folder / "best.toml"
    for use, source in recipe.foreign.items():  # a part from a file is looked for beside the recipe
        with output(folder / f"{use.partition(':')[0]}.py", remedy="name another folder") as place:
            shutil.copyfile(source, place)
    with output(file, remedy="name another folder") as place:
        place.write_text(_with(recipe, settings).check(registry, SECTIONS).dumps())
    return Tuned(
        str(file),
        settings,
        float(best.value),
        float(next(trial.value for trial in complete if trial.user_attrs.get("own"))),
        len(finished(study)),
        len(finished(study)) - len(complete),
        bounds,
    )


def _with(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with these settings; everything else keeps the folder that it comes from."""

    def put(node: Any, words: list[str], value: Any) -> Any:
        below = node if isinstance(node, dict) else {}
        return {**below, words[0]: put(below.get(words[0]), words[1:], value)} if words else Leaf(value, Path.cwd(), "tune")

    made: Any = recipe.tree
    for key, value in settings.items():
        made = put(made, key.split("."), value)
    return Recipe(made)


def _value(
    recipe: Recipe,
    registry: Registry,
    dataset: Dataset,
    views: Mapping[str, View],
    settings: Mapping[str, Any],
    updates: int,
    trial: Any,
    folder: Path,
    budget: Budget,
) -> float:
    """The best validation of a fine-tuning; raises what cuts the trial."""
    made = _with(recipe, settings | ({"train.steps": updates} if updates else {})).check(registry, SECTIONS)
    options = sections(made, registry)[1]
    model = build_model(made, registry, dataset.tasks, views["train"].graph)
    select, file, reported = views["select"], folder / f"trial-{trial.number}.pt", []

    def validate() -> dict[str, float]:
        model.refresh(select.graph, new={})
        found = {task.name: select_value(model, select, task, options.metric) for task in dataset.tasks}
        trial.report(float(np.mean(list(found.values()))), len(reported))
        reported.append(found)
        if trial.should_prune():
            raise optuna_of().TrialPruned
        return found

    try:
        history = train(model, views["train"], with_teacher(options), validate, file, str(settings), silent, budget)
    finally:
        file.unlink(missing_ok=True)
    found = [record["select"] for record in history] or [validate()]
    learned = [name for name in found[0] if options.weights.get(name, 1.0) > 0] or list(found[0])
    return max(float(np.mean([select[name] for name in learned])) for select in found)


def _bounds(
    recipe: Recipe,
    registry: Registry,
    dataset: Dataset,
    view: View,
    what: Tune,
    space: dict[str, Any],
    own: float | None,
    study: Any,
    progress: Progress,
) -> tuple[float, float] | None:
    """The space of train.lr is narrowed by the range test, once, down to the recipe's own at most; None without it."""
    if not what.range_test or not isinstance(space.get("train.lr"), dict):
        return None
    if (bounds := study.user_attrs.get("range")) is None:
        progress("learning-rate range test", 0, 0)
        model = build_model(recipe, registry, dataset.tasks, view.graph)
        options = with_teacher(sections(recipe, registry)[1])
        learner = Learner(model.encoder, model.heads, model.tasks, view, options)
        rates, losses = range_test(learner)
        learner.end()
        bounds = steepest(rates, losses)
        study.set_user_attr("range", bounds)
    of = space["train.lr"]
    if bounds and max(of["low"], bounds[0]) < min(of["high"], bounds[1]):
        of |= holding({**of, "low": max(of["low"], bounds[0]), "high": min(of["high"], bounds[1])}, own)
    return (of["low"], of["high"])
