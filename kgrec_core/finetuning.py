"""What a recipe is made into, and its fine-tuning, which all processes of a fit do together: the main one gives the jobs, the others assist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from kgrec_core import devices
from kgrec_core.comparison.ablation import without_knowledge
from kgrec_core.comparison.chains import Chain
from kgrec_core.comparison.results import select_value
from kgrec_core.errors import KgrecError, choices
from kgrec_core.evaluation.class_metrics import METRICS
from kgrec_core.evaluation.metrics import parse
from kgrec_core.graph import Dataset, Graph, Task, View
from kgrec_core.interfaces import Retrieval
from kgrec_core.later import Tune, Update
from kgrec_core.limits import Budget, Fit, sampled
from kgrec_core.model import Model
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.split import Split, split
from kgrec_core.stages import Progress, Stages, silent
from kgrec_core.teaching.distillation import with_teacher
from kgrec_core.training.fitting import train
from kgrec_core.training.options import Train

SECTIONS: dict[str, type] = {"split": Split, "train": Train, "fit": Fit, "update": Update, "tune": Tune}


def sections(recipe: Recipe, registry: Registry) -> tuple[Split, Train, Fit]:
    """[split], [train] and [fit]. Raises KgrecError for keys and values that are none."""
    options = recipe.section("train", Train, registry)
    for task in options.weights:
        if task not in (tasks := recipe.tables.get("head", {})):
            raise choices("task", task, tasks, f"train.weights.{task} stands for none of the recipe's")
    if options.metric not in (None, *METRICS):
        try:
            parse(options.metric)
        except KgrecError as error:
            raise KgrecError(f"train.metric: {error}; of classes: {', '.join(METRICS)}") from None
    return recipe.section("split", Split), options, recipe.section("fit", Fit)


def build_model(recipe: Recipe, registry: Registry, tasks: tuple[Task, ...], graph: Graph) -> Model:
    """The pretrained encoder and the heads, prepared on the training view's graph."""
    if not tasks:
        raise KgrecError("the data part gives no task; add [data.tasks.NAME] with relation = ...")
    heads = {task.name: recipe.head(registry, task.name) for task in tasks}
    return Model(recipe.encoder(registry), heads, tasks).prepare(graph)


def build_retrievals(recipe: Recipe, registry: Registry, dataset: Dataset) -> dict[str, Retrieval]:
    """By task, as the recipe has them, not yet built."""
    return {task.name: recipe.retrieval(registry, task.name) for task in dataset.tasks}


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


def assist(recipe: Recipe, registry: Registry) -> None:
    """What another than the main process does of a fit: every fine-tuning with it, until there is no further job."""
    how, options, limits = sections(recipe, registry)
    dataset = devices.shared(lambda: None)  # as the main process has loaded it
    every = sampled(split(dataset, how), limits, how.seed)
    while job := devices.shared(lambda: None):
        views = every if job.knowing else without_knowledge(every, dataset)
        model = build_model(job.recipe or recipe, registry, dataset.tasks, views["train"].graph)
        fine_tuned(model, views, job.options or options, job, silent)
