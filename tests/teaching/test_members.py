"""Seeds of one fit teach one more by the mean of what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kgrec_core.errors import KgrecError
from kgrec_core.finetuning import build_model, sections
from kgrec_core.graph import Nodes
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.split import split
from kgrec_core.teaching import teacher
from kgrec_core.teaching.distillation import with_teacher
from kgrec_core.teaching.members import Members
from kgrec_core.training.fitting import train


def test_the_seeds_of_an_ensemble_teach_one_more_fit_within_one_command(bank, tmp_path):
    layer = {"epochs": 3.0, "validations": 1, "ensemble": 2, "teacher": {"model": "members", "texts": str(bank.more), "epochs": 3.0}}
    registry, asked = Registry.discover(), []
    recipe = resolve(bank.recipe, [f"encoder.model={bank.small}"], {"train": layer})
    how, options, _ = sections(recipe, registry)
    dataset = recipe.data(registry).load()
    views = split(dataset, how)
    task, queries = dataset.tasks[0], views["test"].queries["intent"].nodes

    def learned(scores, folder):
        """The history, what the model says of the test, and what each fit before it did."""
        model, said, given = build_model(recipe, registry, dataset.tasks, views["train"].graph), [], iter(scores)

        def says() -> np.ndarray:
            model.refresh(views["test"].graph)
            classes = Nodes(queries.graph, "intent", np.arange(4), "candidate")
            return model.vectors(task, queries) @ model.vectors(task, classes).T

        def validate():
            said.append(says())
            return {"intent": next(given)}

        history = train(
            model, views["train"], with_teacher(options), validate, tmp_path / folder, "this", lambda *told: asked.append(told[0])
        )
        return history, says(), said

    history, final, (one, two, _, taught) = learned([0.4, 0.5, 0.3, 0.6], "better")  # two members, their mean, whom they teach
    assert [record["member"] for record in history] == [0, 1, 2, 2] and history[-1]["taught"] and history[-1]["select"] == {"intent": 0.6}
    np.testing.assert_array_equal(final, taught)
    mean = (one + two) / 2
    assert np.corrcoef(taught.ravel(), mean.ravel())[0, 1] > max(np.corrcoef(o.ravel(), mean.ravel())[0, 1] for o in (one, two)) - 0.05
    history, final, (_, two, _, _) = learned([0.4, 0.5, 0.3, 0.2], "worse")  # the best member stays
    assert history[-1]["members"] == [1] and "taught" not in history[-1]
    np.testing.assert_allclose(final, two, atol=1e-6)


def test_whom_members_teach_goes_on_where_it_was_killed(bank, tmp_path):
    layer = {"steps": 2, "validations": 2, "ensemble": 2, "teacher": {"model": "members"}}
    registry = Registry.discover()
    recipe = resolve(bank.recipe, [f"encoder.model={bank.small}"], {"train": layer})
    how, options, _ = sections(recipe, registry)
    dataset = recipe.data(registry).load()
    view = split(dataset, how)["train"]

    def learned(folder, progress):
        model = build_model(recipe, registry, dataset.tasks, view.graph)
        history = train(model, view, with_teacher(options), lambda: {"intent": 1.0}, tmp_path / folder, "this", progress)
        return [record["loss"] for record in history], model.weights()

    def killed(what, done, total):
        told.append(done)
        if len(told) == 6:  # of three fits the second update of the third
            raise KeyboardInterrupt

    told = []
    whole = learned("whole", lambda *of: told.append(of))
    assert len(told) == 6 and whole[0][-1] == whole[0][-3]
    told.clear()
    with pytest.raises(KeyboardInterrupt):
        learned("cut", killed)
    again = learned("cut", lambda *of: told.append(of))
    assert whole[0] == again[0]
    assert all(torch.equal(value, part[name]) for part, of in zip(whole[1], again[1], strict=True) for name, value in of.items())


def test_members_say_the_mean_of_their_scores_and_leave_the_model_as_it_was(bank):
    registry = Registry.discover()
    recipe = resolve(bank.recipe, [f"encoder.model={bank.small}"])
    dataset = recipe.data(registry).load()
    view = split(dataset, sections(recipe, registry)[0])["train"]
    model = build_model(recipe, registry, dataset.tasks, view.graph)
    task, nodes, classes = dataset.tasks[0], view.queries["intent"].nodes, np.arange(4)
    own, scores, members = model.weights(), [], []
    for factor in (0.5, 2.0):
        members.append([{n: t * factor if t.is_floating_point() else t for n, t in part.items()} for part in own])
        model.restore(members[-1])
        model.refresh(view.graph)
        scores.append(model.vectors(task, nodes) @ model.vectors(task, Nodes(view.graph, "intent", classes, "candidate")).T)
    model.restore(own)
    model.refresh(view.graph)
    before = model.vectors(task, nodes)
    of = Members(model, members)
    of.on(view.graph)
    np.testing.assert_allclose(of.projected(task, nodes) @ of.classes(task, view.graph, classes).T, sum(scores) / 2, rtol=1e-4, atol=1e-5)
    assert of.classifies(task) and not of.ranks(task, view.graph) and np.allclose((of.vectors(nodes) ** 2).sum(1), 1, atol=1e-4)
    np.testing.assert_array_equal(model.vectors(task, nodes), before)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, r"are those of an ensemble; set train.ensemble = 3"),
        ({"ensemble": 2, "adapter": {"kind": "prefix"}}, r"an adapter of kind prefix is not merged, .*take kind = \"lora\""),
    ],
)
def test_members_that_are_none_or_cannot_be_asked_are_refused(bank, given, says):
    recipe = resolve(bank.recipe, {"train": {"teacher": {"model": "members"}, **given}})
    with pytest.raises(KgrecError, match=says):
        sections(recipe, Registry.discover())


def test_a_score_of_an_ensemble_is_the_mean_of_its_members():
    rng = np.random.default_rng(0)

    class One:
        texts_alone = False

        def __init__(self, dim):
            self.q, self.c = rng.normal(size=(3, dim)), rng.normal(size=(4, dim))

        def projected(self, task, nodes):
            return self.q

        def classes(self, task, graph, rows):
            return self.c

    members = [One(5), One(2), One(3)]
    both = teacher.Ensemble(members)
    mean = np.mean([m.q @ m.c.T for m in members], axis=0)
    np.testing.assert_allclose(both.projected(None, None) @ both.classes(None, None, None).T, mean)
    members[1].c = None
    assert both.classes(None, None, None) is None
