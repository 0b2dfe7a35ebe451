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
from kgrec_core.errors import KgrecError
from kgrec_core.finetuning import SECTIONS, build_model, sections
from kgrec_core.graph import Dataset, View
from kgrec_core.later import Tune
from kgrec_core.limits import Budget, sampled
from kgrec_core.loading import loaded
from kgrec_core.recipe.binding import Leaf
from kgrec_core.recipe.recipe import WORDS, Recipe
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
USUAL: dict[str, Any] = {
    "train.lr": {"low": 1e-5, "high": 2e-4, "log": True},
    "train.head_lr": {"low": 2e-4, "high": 1e-2, "log": True},
    "train.epochs": [1, 2, 3],
}


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
    optuna = _optuna()
    registry, folder = registry or Registry.discover(), Path(folder)
    recipe = recipe.check(registry, SECTIONS)
    what, budget = recipe.section("tune", Tune), Budget(minutes)
    how, options, limits = sections(recipe, registry)
    progress("loading data", 0, 0)
    dataset = loaded(recipe, registry, progress=progress).dataset
    refused(recipe.tables, dataset)
    views = sampled(split(dataset, how), limits, how.seed)
    refuse_leak(options, recipe, registry, dataset, views)
    space = {key: _checked(key, of) for key, of in (flat(what.space) or _usual(recipe)).items()}
    for key, of in space.items():
        for model in of if key.endswith(".model") and isinstance(of, list) else ():
            refuse_absent(str(model), f"tune.space.{key}")
    folder.mkdir(parents=True, exist_ok=True)
    study = _study(optuna, folder, hashlib.sha256((recipe.dumps() + fingerprint(dataset.graph)).encode()).hexdigest(), options.seed)
    bounds = _bounds(recipe, registry, dataset, views["train"], what, space, study, progress)
    if not any(trial.user_attrs.get("own") and trial.state.name in ("WAITING", "COMPLETE") for trial in study.trials):
        study.enqueue_trial(_own(recipe, space), user_attrs={"own": True})

    def tried(trial: Any) -> float:
        settings = {key: _drawn(trial, key, of) for key, of in space.items()}
        try:
            return _value(recipe, registry, dataset, views, settings, what.updates, trial, folder, budget)
        except Failed as error:  # other settings may do; where the recipe's own do not, the user is told
            if trial.user_attrs.get("own"):
                raise
            log.warning("trial %d: %s", trial.number, error)
            raise optuna.TrialPruned from error

    while (done := len(_finished(study))) < trials and (not done or budget.left() > 0):
        progress("trials", done, trials)
        study.optimize(tried, n_trials=1, catch=())
    complete = [t for t in study.trials if t.state.name == "COMPLETE"]
    best = max(complete, key=lambda t: t.value)
    settings = {key: best.params[key] for key in space}
    file = folder / "best.toml"
    for use, source in recipe.foreign.items():  # a part from a file is looked for beside the recipe
        shutil.copyfile(source, folder / f"{use.partition(':')[0]}.py")
    file.write_text(_with(recipe, settings).check(registry, SECTIONS).dumps())
    return Tuned(
        str(file),
        settings,
        float(best.value),
        float(next(trial.value for trial in complete if trial.user_attrs.get("own"))),
        len(_finished(study)),
        len(_finished(study)) - len(complete),
        bounds,
    )


def _usual(recipe: Recipe) -> dict[str, Any]:
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


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise KgrecError("tune needs optuna; pip install 'kgrec-core[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _study(optuna: Any, folder: Path, purpose: str, seed: int) -> Any:
    """The study in the folder; what was being tried when it was killed counts as failed."""
    from sqlalchemy.exc import SQLAlchemyError

    file, pruner = folder / "study.sqlite", optuna.pruners.MedianPruner(n_startup_trials=4)
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{file}", study_name="kgrec", direction="maximize", load_if_exists=True, pruner=pruner
        )
    except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
        raise KgrecError(f"{file} is no study of optuna's ({str(error).splitlines()[0][:120]}); remove it or name another folder") from None
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), n_startup_trials=8)  # a search that goes on draws anew
    if study.user_attrs.setdefault("purpose", purpose) != purpose:
        raise KgrecError(f"{folder} holds a study of another recipe or data; remove it or name another folder")
    study.set_user_attr("purpose", purpose)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _finished(study: Any) -> list[Any]:
    return [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]


def _checked(key: str, of: Any) -> Any:
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


def _drawn(trial: Any, key: str, of: Any) -> Any:
    if isinstance(of, list):
        return trial.suggest_categorical(key, of)
    whole = all(isinstance(of[end], int) for end in ("low", "high"))
    return (trial.suggest_int if whole else trial.suggest_float)(key, of["low"], of["high"], log=bool(of.get("log")))


def _own(recipe: Recipe, space: Mapping[str, Any]) -> dict[str, Any]:
    """What the recipe itself says of the space, as the first trial; a value beyond it is moved to its edge."""
    from kgrec_core.training.options import Train

    found = {}
    for key, of in space.items():
        node: Any = recipe.tables
        for word in key.split("."):
            node = node.get(word) if isinstance(node, Mapping) else None
        if node is None:
            node = getattr(Train(), key.removeprefix("train."), None)
        if isinstance(of, list):
            found |= {key: node} if node in of else {}
        elif isinstance(node, int | float):
            found[key] = type(of["low"])(min(max(node, of["low"]), of["high"]))
    return found


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
            raise _optuna().TrialPruned
        return found

    try:
        history = train(model, views["train"], with_teacher(options), validate, file, str(settings), silent, budget)
    finally:
        file.unlink(missing_ok=True)
    found = [record["select"] for record in history] or [validate()]
    learned = [name for name in found[0] if options.weights.get(name, 1.0) > 0] or list(found[0])
    return max(float(np.mean([select[name] for name in learned])) for select in found)


def _bounds(
    recipe: Recipe, registry: Registry, dataset: Dataset, view: View, what: Tune, space: dict[str, Any], study: Any, progress: Progress
) -> tuple[float, float] | None:
    """The space of train.lr is narrowed by the range test, once; None without it."""
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
        of |= {"low": max(of["low"], bounds[0]), "high": min(of["high"], bounds[1])}
    return (of["low"], of["high"])
