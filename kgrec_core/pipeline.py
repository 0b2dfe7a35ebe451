"""From a recipe to a run folder, top to bottom: load, split, floor, before, fine-tune, retrieve, referee, test once, publish."""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from kgrec_core import devices, fusing
from kgrec_core.calibration.calibration import Calibration
from kgrec_core.calibration.confidence import as_table, save_calibration
from kgrec_core.comparison import Chain, Comparison
from kgrec_core.encoder import facts
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Graph, Relation, Task, View
from kgrec_core.interfaces import Retrieval
from kgrec_core.knowledge.leaks import leaks
from kgrec_core.knowledge.source import Source
from kgrec_core.later import Tune, Update
from kgrec_core.limits import Budget, Fit, sampled
from kgrec_core.loading import loaded
from kgrec_core.model import Model, Silent
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.referee import Referee
from kgrec_core.report.card import card
from kgrec_core.results import results_of, select_value
from kgrec_core.run import carry, reopened, seen
from kgrec_core.run import folder as run_folder
from kgrec_core.run.certain import by_known
from kgrec_core.run.origin import manifest
from kgrec_core.run.run import Run, open_run
from kgrec_core.split import Split, classes, split
from kgrec_core.stages import Progress, Stages
from kgrec_core.teaching.distillation import with_teacher
from kgrec_core.teaching.leak import refuse_leak
from kgrec_core.training import adapter
from kgrec_core.training.fitting import train
from kgrec_core.training.options import Train

log = logging.getLogger("kgrec")
SECTIONS: dict[str, type] = {"split": Split, "train": Train, "fit": Fit, "update": Update, "tune": Tune}


def fit(recipe: Recipe, folder: Path, registry: Registry | None = None, progress: Progress | None = None) -> Run:
    """Turn a recipe into a run folder and open it. Killed at any moment, the same call goes on where it was.

    progress(what, done, total) is told how far a long stage is. Raises KgrecError for every mistake in recipe or data; an
    older run in `folder` stays whole until the new one takes its place; its edits are carried over, or refused before anything is done.
    """
    registry, progress, folder = registry or Registry.discover(), progress or (lambda what, done, total: None), Path(folder)
    recipe = recipe.check(registry, SECTIONS)
    how, options, limits = sections(recipe, registry)
    stages, budget = Stages(progress), Budget(limits.minutes)
    devices.joined()
    if not devices.main():
        return assist(recipe, folder, registry)
    with run_folder.workspace(folder) as work:
        with stages("loading data"):
            dataset, summary, sources, made = loaded(recipe, registry, limits.strict, progress=progress)
            carry.check_edits(folder, dataset, {task.name: recipe.head(registry, task.name) for task in dataset.tasks})
            fingerprint = run_folder.fingerprint(dataset.graph)
            purpose = hashlib.sha256((recipe.dumps() + fingerprint).encode()).hexdigest()

        derived = [relation for of in made.values() for relation in of["relations"]]
        best = compared(recipe, registry, dataset, work, purpose, stages, budget, derived)
        recipe, chain = best.recipe, best.chain
        gc.collect()  # models and what watches them refer to each other; nearly all of the comparison's memory is theirs
        with stages("building with all known edges"):
            chain.build(dataset.graph)
        with stages("certainty by known queries"):
            model, retrievals, out = chain.model, chain.retrievals, limits.out_of_scope
            known = by_known(dataset.graph, model, retrievals, best.calibrations, learned=best.learned, share=out, seed=how.seed)
        progress("publishing", 0, 0)
        metrics = {"tasks": best.figures, "data": summary.to_json(), "dropped": budget.dropped, "stages": stages.costs, "leaks": best.leaks}
        metrics |= {"fusions": best.fusions} if best.fusions else {}
        new = write(work / "run", recipe, dataset, sources, chain, metrics, best.history)
        for name, calibration in {**best.calibrations, **known}.items():
            save_calibration(new / "calibration", name, calibration, best.asked[name] if name in best.calibrations else None)
        seen.save(new / "seen", dataset.graph, chain.model, chain.retrievals, best.asked, how.seed)
        reopened.check(new, recipe, registry, dataset, chain.model, chain.retrievals)
        carry.publish(new, folder, manifest(dataset, recipe, fingerprint, options.seed, registry), dataset, chain.model.heads)
        shutil.rmtree(work)
    devices.shared(lambda: None)  # to those that assist: there is no further job
    del best, chain, model, retrievals, dataset, sources  # what is opened would be there twice
    return open_run(folder, allow=recipe.foreign)


class Best(NamedTuple):
    """What is published of everything that was compared. recipe: as it is published; asked: the adjust queries, as tables.

    figures: task -> what metrics.json holds; learned: whether what is published was fine-tuned. leaks: what the linter says of the data. fusions: what `auto` tried.
    """

    recipe: Recipe
    chain: Chain
    calibrations: dict[str, Calibration]
    asked: dict[str, pl.DataFrame]
    figures: dict[str, Any]
    history: list[dict[str, Any]]
    learned: bool
    leaks: list[dict[str, str]]
    fusions: list[dict[str, Any]]


def compared(
    recipe: Recipe,
    registry: Registry,
    dataset: Dataset,
    work: Path,
    purpose: str,
    stages: Stages,
    budget: Budget,
    derived: Iterable[str] = (),
) -> Best:
    """Everything that is learned and asked before something is published: the floor, the chains before and after fine-tuning, without
    knowledge, without a language model, and the referee's choice. What only the comparison needs is gone when it ends.

    work: where checkpoints are kept, which belong to `purpose`. derived: relations that [knowledge] made, which mirror no behaviour.
    """
    how, options, limits = sections(recipe, registry)
    views = sampled(split(dataset, how), limits, how.seed)
    refuse_leak(options, recipe, registry, dataset, views)
    classes.doubted(views, [t for t in dataset.tasks if not recipe.head(registry, t.name).encodes_candidates], limits.strict)
    with stages("leaks"):
        found = leaks(dataset, views, how, derived, how.seed)
        for leak in found:
            log.warning("%s", leak)
    with stages("choosing a fusion"):

        def tried(of: Recipe, steps: int, name: str) -> Model:
            return briefly(of, registry, dataset, views, steps, Job(work / f"checkpoint-{name}.pt", purpose), stages.progress)

        recipe, fusions = fusing.chosen(recipe, lambda of: of.check(registry, SECTIONS), dataset.tasks, views["select"], tried, how.seed)
    with stages("training-free floor"):
        results = {task.name: results_of(task, recipe.head(registry, task.name), views, how) for task in dataset.tasks}

    with stages("pretrained model"):
        model = build_model(recipe, registry, dataset.tasks, views["train"].graph)
    referee, chains, calibrations = Referee(recipe, registry, views, results, how.seed), {}, {}
    comparison = Comparison(views, results, how, stages, referee)
    if measured := budget.allows("the chain before fine-tuning"):
        chains["before"] = Chain(model, build_retrievals(recipe, registry, dataset))
        calibrations["before"] = comparison.add("before", chains["before"])

    with stages("fine-tuning"):
        pretrained = model.weights()
        following = budget.part(0, stages.seconds("retrieval (before)", "test (before)"))
        history = fine_tuned(model, views, options, Job(work / "checkpoint.pt", purpose, recipe=recipe), stages.progress, following)
    if history or not measured:
        chains["after"] = Chain(model, build_retrievals(recipe, registry, dataset))
        calibrations["after"] = comparison.add("after", chains["after"])
    else:
        for result in results.values():
            result.again("after", "before")

    spent = stages.seconds("retrieval (after)", "test (after)")
    if knowledge(dataset) and budget.allows("the chain without knowledge", spent):
        without, bare = without_knowledge(views, dataset), model
        if bare.encoder.reads_knowledge:
            with stages("fine-tuning without knowledge"):
                bare = build_model(recipe, registry, dataset.tasks, without["train"].graph)
                fine_tuned(bare, without, options, Job(work / "checkpoint-without.pt", purpose, False, recipe), stages.progress, following)
        blind = Comparison(without, results, how, stages)
        blind.add("without_knowledge", Chain(bare, build_retrievals(recipe, registry, dataset)))

    if budget.allows("the chain without a language model", spent):
        with stages("retrieval (without language model)"):
            plain = without_language_model(recipe, registry, dataset, views["train"].graph, budget)
        try:
            if plain:
                comparison.add("without_language_model", plain)
        except KgrecError as error:
            budget.drop(f"the chain without a language model cannot be fitted: {error}")

    verdict = referee.decide(dataset.tasks, "after" if history or not measured else "before", limits.publish)
    if verdict.system == "before" and history:
        adapter.remove(model.encoder)
        model.restore(pretrained)
    chain, certain = comparison.publish(verdict, chains, calibrations)
    with stages("figures"):
        told = {name: {"referee": choice.told} for name, choice in verdict.choices.items()}
        figures = {name: {"test": result.table(how.seed), **told.get(name, {})} for name, result in results.items()}
    for name, choice in verdict.choices.items():
        recipe = recipe if choice.whole else recipe.with_retrieval(name, choice.published.table).check(registry, SECTIONS)
    return Best(
        recipe,
        chain,
        certain,
        {name: as_table(queries) for name, queries in views["adjust"].queries.items()},
        figures,
        history,
        bool(history) and verdict.system != "before",
        [leak._asdict() for leak in found],
        fusions,
    )


def assist(recipe: Recipe, folder: Path, registry: Registry) -> Run:
    """What another than the main process does of a fit: every fine-tuning with it; at the end it opens what the main one published."""
    how, options, limits = sections(recipe, registry)
    dataset = loaded(recipe, registry).dataset
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


def briefly(
    recipe: Recipe, registry: Registry, dataset: Dataset, views: Mapping[str, View], steps: int, job: Job, progress: Progress
) -> Model:
    """A model of the recipe after so many updates, ready to be asked the select queries."""
    options = sections(recipe, registry)[1]
    options = replace(options, steps=steps, epochs=max(options.epochs, 1.0), validations=1, minutes=0.0)
    model = build_model(recipe, registry, dataset.tasks, views["train"].graph)
    fine_tuned(model, views, options, job._replace(recipe=recipe, options=options), progress)
    return model.refresh(views["select"].graph, new={})


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


def knowledge(dataset: Dataset) -> list[Relation]:
    """The relations that are neither asked for nor a query's history: brand, category, keyword."""
    return facts.knowledge(dataset.graph, dataset.tasks)


def without_knowledge(views: Mapping[str, View], dataset: Dataset) -> dict[str, View]:
    """The views with the same relations, those of knowledge empty: no part has to do without one that it was told of."""
    gone, found = set(knowledge(dataset)), {}
    for name, view in views.items():
        graph = view.graph.with_edges({r: t.clear() if r in gone else t for r, t in view.graph.relations.items()}, view.graph.as_of)
        found[name] = View(graph, {task: queries.on(graph) for task, queries in view.queries.items()})
    return found


def without_language_model(recipe: Recipe, registry: Registry, dataset: Dataset, graph: Graph, budget: Budget) -> Chain | None:
    """What is left of the chain without any language model, to be fitted anew; None where it has none to lose, or nothing is left.

    An encoder that is left keeps its vectors as they are: it serves who ranks, not a head that would have to learn its classes.
    """
    encoder, heads = recipe.encoder(registry), {task.name: recipe.head(registry, task.name) for task in dataset.tasks}
    every, rest = build_retrievals(recipe, registry, dataset), encoder.without_language_model()
    ranks = {name for name, head in heads.items() if head.encodes_candidates and rest is not None}
    left = {name: retrieval.without_language_model(vectors=name in ranks) for name, retrieval in every.items()}
    if rest is encoder and all(left[name] is retrieval for name, retrieval in every.items()):
        return None
    for name in [name for name, retrieval in left.items() if retrieval is None]:
        budget.drop(f"{name}: without a language model nothing of the chain is left to compare with, but the floor")
        del left[name]
    tasks = tuple(task for task in dataset.tasks if task.name in left)
    model = Model(rest, {t.name: heads[t.name] for t in tasks}, tasks) if ranks & left.keys() else Silent(tasks)
    return Chain(model.prepare(graph), left) if tasks else None


def write(
    new: Path,
    recipe: Recipe,
    dataset: Dataset,
    sources: Mapping[str, Source],
    chain: Chain,
    metrics: dict[str, Any],
    history: list[dict[str, Any]],
) -> Path:
    """All files of a run, in a working folder."""
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    (new / "recipe.toml").write_text(recipe.dumps())
    for use, file in recipe.foreign.items():  # so that the run opens elsewhere too
        beside = new / f"{use.partition(':')[0]}.py"
        beside.parent.mkdir(parents=True, exist_ok=True)
        if not beside.exists():
            shutil.copyfile(file, beside)
    for place in ("encoder", *(f"{kind}/{task.name}" for kind in ("head", "retrieval") for task in dataset.tasks)):
        (new / place).mkdir(parents=True)
    chain.model.encoder.save(new / "encoder")
    for task in dataset.tasks:
        chain.model.heads[task.name].save(new / "head" / task.name)
        chain.retrievals[task.name].save(new / "retrieval" / task.name)
    run_folder.save_graph(dataset.graph, new / "knowledge")
    run_folder.save_sources(sources, new / "knowledge")
    (new / "metrics.json").write_text(json.dumps(metrics, indent=1))
    (new / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in history))
    (new / "README.md").write_text(card(recipe.tables, metrics, dataset))
    return new
