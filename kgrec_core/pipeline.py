"""From a recipe to a run folder, top to bottom: load, split, floor, before, fine-tune, retrieve, referee, test once, publish."""

from __future__ import annotations

import gc
import hashlib
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from kgrec_core import devices, fusing, wordless
from kgrec_core.calibration.calibration import Calibration
from kgrec_core.calibration.confidence import as_table
from kgrec_core.comparison.ablation import knowledge, without_knowledge, without_language_model
from kgrec_core.comparison.chains import Chain, Comparison
from kgrec_core.comparison.referee import Referee
from kgrec_core.comparison.results import results_of
from kgrec_core.encoder.named import refused
from kgrec_core.errors import KgrecError
from kgrec_core.finetuning import SECTIONS, Fitting, assist, sections
from kgrec_core.knowledge.leaks import leaks
from kgrec_core.limits import Budget, sampled
from kgrec_core.loading import loaded
from kgrec_core.model import Model
from kgrec_core.publishing import Finished, publish
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.run import carry, stored_graph
from kgrec_core.run import folder as run_folder
from kgrec_core.run.certain import by_known
from kgrec_core.run.run import Run, open_run
from kgrec_core.split import classes, repeated, split
from kgrec_core.stages import Progress, Stages, silent
from kgrec_core.teaching.leak import refuse_leak
from kgrec_core.training import adapter
from kgrec_core.training.fitting import possible

log = logging.getLogger("kgrec")


def fit(recipe: Recipe, folder: Path, registry: Registry | None = None, progress: Progress | None = None) -> Run:
    """Turn a recipe into a run folder and open it. Killed at any moment, the same call goes on where it was.

    progress(what, done, total) is told how far a long stage is. Raises KgrecError for every mistake in recipe or data; an
    older run in `folder` stays whole until the new one takes its place; its edits are carried over, or refused before anything is done.
    """
    registry, progress, folder = registry or Registry.discover(), progress or silent, Path(folder)
    recipe = recipe.check(registry, SECTIONS)
    how, _, limits = sections(recipe, registry)
    stages, budget = Stages(progress), Budget(limits.minutes)
    devices.joined()
    if not devices.main():
        assist(recipe, registry)
        return open_run(folder, allow=recipe.foreign)

    with run_folder.workspace(folder) as work:
        with stages("loading data"):
            dataset, summary, sources, made = loaded(recipe, registry, limits.strict, progress=progress)
            recipe = wordless.fitting(recipe, dataset)
            refused(recipe.tables, dataset)
            carry.check_edits(folder, dataset, {task.name: recipe.head(registry, task.name) for task in dataset.tasks})
            fingerprint = stored_graph.fingerprint(dataset.graph)
            purpose = hashlib.sha256((recipe.dumps() + fingerprint).encode()).hexdigest()
            devices.shared(lambda given=dataset: given)  # with those that assist
        derived = [relation for of in made.values() for relation in of["relations"]]

        views = sampled(split(dataset, how), limits, how.seed)
        best = compared(Fitting(recipe, registry, dataset, views, work, purpose, stages, budget), derived)
        recipe, chain = best.recipe, best.chain
        del views
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
    del best, finished, chain, dataset, sources  # what is opened would be there twice
    return open_run(folder, allow=recipe.foreign)


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
    ranked = [task for task in tasks if of.recipe.head(of.registry, task.name).encodes_candidates]
    classes.doubted(views, [task for task in tasks if task not in ranked], limits.strict)
    repeated.doubted(views, ranked)
    with of.stages("leaks"):
        found = leaks(of.dataset, views, how, derived, how.seed)
        for leak in found:
            log.warning("%s", leak)
    with of.stages("choosing a fusion"):
        recipe, fusions = fusing.chosen(of.recipe, lambda r: r.check(of.registry, SECTIONS), tasks, views["select"], of.tried, how.seed)
        of = of._replace(recipe=recipe)
    with of.stages("training-free floor"):
        results = {task.name: results_of(task, recipe.head(of.registry, task.name), views, how) for task in tasks}
    comparison = Comparison(views, results, how, of.stages, Referee(recipe, of.registry, views, results, how))

    with of.stages("pretrained model"):
        model = of.model()
        adapter.refuse(model.encoder, options.adapter)
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
    compare_without(of, comparison, model, following, limits.graph == "auto")

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


def compare_without(of: Fitting, comparison: Comparison, model: Model, following: Budget, auto: bool) -> None:
    """The chain fitted anew without the graph (auto: it may be published) and without language model, where it has one and time is left."""
    spent = of.stages.seconds("retrieval (after)", "test (after)")
    if knowledge(of.dataset) and of.budget.allows("the chain without knowledge", spent):
        blind, bare = of._replace(views=without_knowledge(of.views, of.dataset)), model
        if model.encoder.reads_knowledge:
            with of.stages("fine-tuning without knowledge"):
                bare = blind.model()
                blind.tuned(bare, "checkpoint-without.pt", following, knowing=False)
        replace(comparison, views=blind.views).add("without_knowledge", of.chain(bare), blind=auto and bare is model)
    if of.budget.allows("the chain without a language model", spent):
        with of.stages("retrieval (without language model)"):
            plain = without_language_model(of.recipe, of.registry, of.dataset, of.views["train"].graph, of.budget)
        try:
            if plain:
                comparison.add("without_language_model", plain)
        except KgrecError as error:
            of.budget.drop(f"the chain without a language model cannot be fitted: {error}")
