"""From a recipe to a run folder, top to bottom: load, split, floor, before, fine-tune, retrieve, referee, test once, publish."""

from __future__ import annotations

import gc
import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from kgrec_core import devices, fusing, wordless
from kgrec_core.calibration.calibration import Calibration
from kgrec_core.calibration.confidence import as_table
from kgrec_core.comparison import Chain, Comparison
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Graph, Task, View
from kgrec_core.interfaces import Retrieval
from kgrec_core.knowledge.leaks import leaks
from kgrec_core.later import Tune, Update
from kgrec_core.limits import Budget, Fit, sampled
from kgrec_core.loading import loaded
from kgrec_core.model import Model
from kgrec_core.publishing import Finished, publish
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.referee import Referee
from kgrec_core.results import results_of, select_value
from kgrec_core.run import carry, stored_graph
from kgrec_core.run import folder as run_folder
from kgrec_core.run.certain import by_known
from kgrec_core.run.run import Run, open_run
from kgrec_core.split import Split, classes, split
from kgrec_core.stages import Progress, Stages
from kgrec_core.teaching.distillation import with_teacher
from kgrec_core.teaching.leak import refuse_leak
from kgrec_core.training import adapter
from kgrec_core.training.fitting import possible, train
from kgrec_core.training.options import Train
from kgrec_core.without import knowledge, without_knowledge, without_language_model

log = logging.getLogger("kgrec")
SECTIONS: dict[str, type] = {"split": Split, "train": Train, "fit": Fit, "update": Update, "tune": Tune}


def fit(recipe: Recipe, folder: Path, registry: Registry | None = None, progress: Progress | None = None) -> Run:
    """Turn a recipe into a run folder and open it. Killed at any moment, the same call goes on where it was.

    progress(what, done, total) is told how far a long stage is. Raises KgrecError for every mistake in recipe or data; an
    older run in `folder` stays whole until the new one takes its place; its edits are carried over, or refused before anything is done.
    """
    registry, progress, folder = registry or Registry.discover(), progress or (lambda what, done, total: None), Path(folder)
    recipe = recipe.check(registry, SECTIONS)
    how, _, limits = sections(recipe, registry)
    stages, budget = Stages(progress), Budget(limits.minutes)
    devices.joined()
    if not devices.main():
        return assist(recipe, folder, registry)
    with run_folder.workspace(folder) as work:
        with stages("loading data"):
            dataset, summary, sources, made = loaded(recipe, registry, limits.strict, progress=progress)
            recipe = wordless.fitting(recipe, dataset)
            carry.check_edits(folder, dataset, {task.name: recipe.head(registry, task.name) for task in dataset.tasks})
            fingerprint = stored_graph.fingerprint(dataset.graph)
            purpose = hashlib.sha256((recipe.dumps() + fingerprint).encode()).hexdigest()
            devices.shared(lambda given=dataset: given)  # with those that assist
        derived = [relation for of in made.values() for relation in of["relations"]]
        views = sampled(split(dataset, how), limits, how.seed)
        best = compared(Fitting(recipe, registry, dataset, views, work, purpose, stages, budget), derived)
        recipe, chain = best.recipe, best.chain
        gc.collect()  # models and what watches them refer to each other; nearly all of the comparison's memory is theirs
        with stages("building with all known edges"):
            chain.build(dataset.graph)
        with stages("certainty by known queries"):
            of = {"learned": best.learned, "share": limits.out_of_scope, "seed": how.seed}
            known = by_known(dataset.graph, *chain, best.calibrations, **of)
        progress("publishing", 0, 0)
        metrics = {**best.metrics, "data": summary.to_json(), "dropped": budget.dropped, "stages": stages.costs}
        finished = Finished(recipe, dataset, chain, metrics, best.history, sources, best.calibrations, known, best.asked)
        publish(finished, work, folder, fingerprint, registry)
    devices.shared(lambda: None)  # to those that assist: there is no further job
    del best, finished, chain, dataset, views, sources  # what is opened would be there twice
    return open_run(folder, allow=recipe.foreign)


class Fitting(NamedTuple):
    """A fit on its way: what it is made from, where its checkpoints are (in `work`; they belong to `purpose`), and what it may cost."""

    recipe: Recipe
    registry: Registry
    dataset: Dataset
    views: Mapping[str, View]
    work: Path
    purpose: str
    stages: Stages
    budget: Budget

    def model(self) -> Model:
        """As it came, prepared on what training knows."""
        return build_model(self.recipe, self.registry, self.dataset.tasks, self.views["train"].graph)

    def chain(self, model: Model) -> Chain:
        """The model with retrieval as the recipe has it, not yet built."""
        return Chain(model, build_retrievals(self.recipe, self.registry, self.dataset))

    def tuned(self, model: Model, checkpoint: str, budget: Budget, knowing: bool = True) -> list[dict[str, Any]]:
        """Fine-tune a model; the records of it."""
        job = Job(self.work / checkpoint, self.purpose, knowing, self.recipe)
        return fine_tuned(model, self.views, sections(self.recipe, self.registry)[1], job, self.stages.progress, budget)

    def tried(self, recipe: Recipe, steps: int, name: str) -> Model:
        """Another recipe's model after so many updates, ready to be asked the select queries."""
        options = sections(recipe, self.registry)[1]
        options = replace(options, steps=steps, epochs=max(options.epochs, 1.0), validations=1, minutes=0.0)
        model, job = self._replace(recipe=recipe).model(), Job(self.work / f"checkpoint-{name}.pt", self.purpose, True, recipe, options)
        fine_tuned(model, self.views, options, job, self.stages.progress)
        return model.refresh(self.views["select"].graph, new={})


class Best(NamedTuple):
    """What is published of everything that was compared. recipe: as it is published; asked: the adjust queries, as tables.
    metrics: what metrics.json holds of the comparison; history: of fine-tuning; learned: whether what is published was fine-tuned.
    """

    recipe: Recipe
    chain: Chain
    calibrations: dict[str, Calibration]
    asked: dict[str, pl.DataFrame]
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    learned: bool


def compared(of: Fitting, derived: Iterable[str] = ()) -> Best:
    """Everything that is learned and asked before something is published: the floor, the chains before and after fine-tuning and without
    what they know, and the referee's choice. What only the comparison needs is gone when it ends.
    derived: relations that [knowledge] made, which mirror no behaviour.
    """
    (how, options, limits), views, tasks = sections(of.recipe, of.registry), of.views, of.dataset.tasks
    refuse_leak(possible(options), of.recipe, of.registry, of.dataset, views)
    classes.doubted(views, [t for t in tasks if not of.recipe.head(of.registry, t.name).encodes_candidates], limits.strict)
    with of.stages("leaks"):
        found = leaks(of.dataset, views, how, derived, how.seed)
        for leak in found:
            log.warning("%s", leak)
    with of.stages("choosing a fusion"):
        recipe, fusions = fusing.chosen(of.recipe, lambda r: r.check(of.registry, SECTIONS), tasks, views["select"], of.tried, how.seed)
        of = of._replace(recipe=recipe)
    with of.stages("training-free floor"):
        results = {task.name: results_of(task, recipe.head(of.registry, task.name), views, how) for task in tasks}
    comparison = Comparison(views, results, how, of.stages, Referee(recipe, of.registry, views, results, how.seed))

    with of.stages("pretrained model"):
        model = of.model()
    if measured := of.budget.allows("the chain before fine-tuning"):
        comparison.add("before", of.chain(model))
    with of.stages("fine-tuning"):
        pretrained = model.weights()
        following = of.budget.part(0, of.stages.seconds("retrieval (before)", "test (before)"))
        history = of.tuned(model, "checkpoint.pt", following)
    if history or not measured:
        comparison.add("after", of.chain(model))
    else:
        for result in results.values():
            result.again("after", "before")
    compare_without(of, comparison, model, following)

    verdict = comparison.referee.decide(tasks, "after" if history or not measured else "before", limits.publish)
    learned = bool(history) and verdict.system != "before"
    if history and not learned:
        adapter.remove(model.encoder)
        model.restore(pretrained)
    chain, certain = comparison.publish(verdict)
    with of.stages("figures"):
        figures = {name: {"test": result.table(how.seed)} for name, result in results.items()}
    for name, choice in verdict.choices.items():
        figures[name]["referee"] = choice.told
        recipe = recipe if choice.whole else recipe.with_retrieval(name, choice.published.table).check(of.registry, SECTIONS)
    metrics = {"tasks": figures, "leaks": [leak._asdict() for leak in found], **({"fusions": fusions} if fusions else {})}
    asked = {name: as_table(queries) for name, queries in views["adjust"].queries.items()}
    return Best(recipe, chain, certain, asked, metrics, history, learned)


def compare_without(of: Fitting, comparison: Comparison, model: Model, following: Budget) -> None:
    """What the graph and what the language model bring: the chain fitted anew without each, where there is one and time is left."""
    spent = of.stages.seconds("retrieval (after)", "test (after)")
    if knowledge(of.dataset) and of.budget.allows("the chain without knowledge", spent):
        blind, bare = of._replace(views=without_knowledge(of.views, of.dataset)), model
        if model.encoder.reads_knowledge:
            with of.stages("fine-tuning without knowledge"):
                bare = blind.model()
                blind.tuned(bare, "checkpoint-without.pt", following, knowing=False)
        replace(comparison, views=blind.views).add("without_knowledge", of.chain(bare))
    if of.budget.allows("the chain without a language model", spent):
        with of.stages("retrieval (without language model)"):
            plain = without_language_model(of.recipe, of.registry, of.dataset, of.views["train"].graph, of.budget)
        try:
            if plain:
                comparison.add("without_language_model", plain)
        except KgrecError as error:
            of.budget.drop(f"the chain without a language model cannot be fitted: {error}")


def assist(recipe: Recipe, folder: Path, registry: Registry) -> Run:
    """What another than the main process does of a fit: every fine-tuning with it; at the end it opens what the main one published."""
    how, options, limits = sections(recipe, registry)
    dataset = devices.shared(lambda: None)  # as the main process has loaded it
    every = sampled(split(dataset, how), limits, how.seed)
    while job := devices.shared(lambda: None):
        views = every if job.knowing else without_knowledge(every, dataset)
        model = build_model(job.recipe or recipe, registry, dataset.tasks, views["train"].graph)
        fine_tuned(model, views, job.options or options, job, lambda what, done, total: None)
    return open_run(folder, allow=recipe.foreign)


def sections(recipe: Recipe, registry: Registry) -> tuple[Split, Train, Fit]:
    return recipe.section("split", Split), recipe.section("train", Train, registry), recipe.section("fit", Fit)


def build_model(recipe: Recipe, registry: Registry, tasks: tuple[Task, ...], graph: Graph) -> Model:
    """The pretrained encoder and the heads, prepared on the training view's graph."""
    if not tasks:
        raise KgrecError("the data part gives no task; add [data.tasks.NAME] with relation = ...")
    heads = {task.name: recipe.head(registry, task.name) for task in tasks}
    return Model(recipe.encoder(registry), heads, tasks).prepare(graph)


class Job(NamedTuple):
    """A fine-tuning of all processes. file: its checkpoint, which belongs to `purpose`; knowing: with knowledge.
    recipe, options: where they are not those that the fit began with.
    """

    file: Path
    purpose: str
    knowing: bool = True
    recipe: Recipe | None = None
    options: Train | None = None


def fine_tuned(
    model: Model, views: Mapping[str, View], options: Train, job: Job, progress: Progress, budget: Budget | None = None
) -> list[dict[str, Any]]:
    """Fine-tune on the training view together with the processes that assist; the weights stay that are best on the select queries."""
    if devices.main():
        devices.shared(lambda: job)
    view = views["select"]

    def validate() -> dict[str, float]:
        model.refresh(view.graph, new={})
        return {task.name: select_value(model, view, task, options.metric) for task in model.tasks}

    return train(model, views["train"], with_teacher(options), validate, job.file, job.purpose, progress, budget)


def build_retrievals(recipe: Recipe, registry: Registry, dataset: Dataset) -> dict[str, Retrieval]:
    return {task.name: recipe.retrieval(registry, task.name) for task in dataset.tasks}
