"""With few labels or none: texts alone, an earlier run's sure answers, and which text to label next."""

from __future__ import annotations

import copy
import csv

import numpy as np
import pytest
import torch

from kgrec_core.encoder.cache import VectorCache
from kgrec_core.encoder.pretrained import load
from kgrec_core.encoder.tower import Tower
from kgrec_core.errors import KgrecError
from kgrec_core.finetuning import build_model, sections
from kgrec_core.lifecycle.label_next import drawn, label_next
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.split import split
from kgrec_core.teaching.distillation import with_teacher
from kgrec_core.teaching.pseudo import least
from kgrec_core.teaching.warmup import _deleted
from kgrec_core.training.contrastive import Alike
from kgrec_core.training.fitting import train
from kgrec_core.training.loop import Learner


@pytest.fixture(scope="module")
def first(bank, tmp_path_factory):
    """A run of the large model that is right three times of four."""
    settings = [f"encoder.model={bank.large}", "train.epochs=25", "train.contrastive=5"]
    return fit(resolve(bank.recipe, settings), tmp_path_factory.mktemp("runs") / "first")


def student(bank, **train_section):
    registry = Registry.discover()
    recipe = resolve(bank.recipe, [f"encoder.model={bank.small}"], {"train": train_section})
    how, options, _ = sections(recipe, registry)
    dataset = recipe.data(registry).load()
    views = split(dataset, how)
    return build_model(recipe, registry, dataset.tasks, views["train"].graph), views, options


def test_simcse_spreads_texts_and_keeps_each_near_itself(bank, tmp_path):
    table = {"warmup": {"use": "simcse", "texts": str(bank.more), "epochs": 3.0}}
    model, views, options = student(bank, epochs=0.0, objectives=table, batch=32)
    learner = Learner(model.encoder, model.heads, model.tasks, views["train"], options)
    (of,) = (o for o in learner.vectors.objectives if o.phase == -1)
    assert len(of.nodes) == 480 and of.step(3).queries.rows.tolist() == of.step(3).candidates.rows.tolist()
    nodes = views["test"].queries["intent"].nodes
    alike = []
    for _ in range(2):
        with torch.no_grad():
            x = torch.nn.functional.normalize(model.encoder(nodes), dim=1)
        alike.append((x @ x.T).mean().item())
        train(model, views["train"], options, lambda: {"intent": 1.0}, tmp_path / "c.pt", "this", lambda *told: None)
        model.refresh(views["test"].graph)
    assert alike[1] < alike[0] - 0.05  # uniformity (Wang & Isola 2020)


def test_tsdae_learns_to_tell_texts_from_few_of_their_words(bank, tmp_path):
    table = {"warmup": {"use": "tsdae", "texts": str(bank.more), "epochs": 4.0}}
    model, views, options = student(bank, epochs=0.0, objectives=table)
    before = [p.detach().clone() for p in model.encoder.parameters()]
    history = train(model, views["train"], options, lambda: {"intent": 1.0}, tmp_path / "c.pt", "this", lambda *told: None)
    assert history[-1]["loss"] < history[0]["loss"] - 0.2
    assert any((p != q).any() for p, q in zip(model.encoder.parameters(), before, strict=True))
    assert not any("decoder" in name for name, _ in model.encoder.named_modules())  # it ends with the fit


def test_words_are_deleted_and_one_stays():
    rng = np.random.default_rng(0)
    for text in ("a b c d e f", "one", "银行卡丢失"):
        found = [_deleted(text, 0.6, rng) for _ in range(50)]
        assert all(found) and len(set(found)) > 1 - (text == "one") and max(map(len, found)) <= len(text)


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_of_sure_answers_the_shares_are_learned_and_the_first_are_mostly_right(bank, first, spread):
    table = {"pseudo": {"use": "pseudo", "run": str(first.folder), "texts": str(bank.more), "wrong": 0.2, "spread": spread}}
    model, views, options = student(bank, objectives=table)
    learner = Learner(model.encoder, model.heads, model.tasks, views["train"], options)
    (of,) = (o for o in learner.vectors.objectives if type(o).__name__ == "Labelled")
    graph = of.nodes.graph
    texts = graph.gather("question", of.nodes.rows, "text")["text"].to_list()
    label = graph.gather("intent", of.classes.rows[of.place[:, 0]], "id")["id"].to_list()
    assert of.said.shape == of.place.shape == (len(texts), 4) and np.allclose(of.said.sum(1), 1) and (np.diff(of.said) <= 0).all()
    right = np.mean([bank.truth[text] == name for text, name in zip(texts, label, strict=True)])
    assert 100 <= len(texts) < 400 and right > 0.8
    step = of.step(0)
    assert step.batch[0].max() < 4 and np.isfinite(learner.update(0))


def test_the_threshold_is_where_the_expected_share_of_wrong_labels_is_reached():
    sure = np.array([0.5, 1.0, 0.9, 0.8])
    assert least(sure, 0.0) == 1.0 and least(sure, 0.05) == 0.9 and least(sure, 0.1) == pytest.approx(0.8) and least(sure, 0.2) == 0.5
    assert least(np.array([0.6, 0.7]), 0.1) == 2.0


LEARNED = {  # what a fit may learn from, beside a recipe's own edges
    "supervised": {},
    "contrastive": {"contrastive": 1.0},
    "simcse": {"objectives": {"warmup": {"use": "simcse"}}},
    "tsdae": {"objectives": {"warmup": {"use": "tsdae", "batch": 40}}},
    "pseudo": {"objectives": {"pseudo": {"use": "pseudo", "threshold": 0.5}}},
    "teacher": {"teacher": {}},
}


def test_no_objective_escapes():
    own = {name.removeprefix("core/") for name in Registry.discover().components("objective") if name.startswith("core/")}
    assert own - {"catalogue"} <= LEARNED.keys()  # it is of rankings, see test_catalogue


@pytest.mark.parametrize("name", LEARNED)
def test_an_interrupted_fit_learns_the_same(bank, first, tmp_path, name):
    how = {"epochs": 0.5, "batch": 40, "validations": 99} | copy.deepcopy(LEARNED[name])
    for keys in how.get("objectives", {}).values():
        keys |= {"run": str(first.folder), "texts": str(bank.more), "epochs": 0.1} if name == "pseudo" else {}
    if name == "teacher":
        how["teacher"] = {"model": str(first.folder), "texts": str(bank.more), "epochs": 0.1}
    ends = []
    for cut in ((), (1, 2, 3)):
        for kill in (*cut, None):

            def progress(what, done, total, kill=kill):
                if done == kill:
                    raise KeyboardInterrupt

            model, views, options = student(bank, **how)
            told = (lambda: {"intent": 1.0}, tmp_path / f"{len(ends)}.pt", "this", progress)
            try:
                history = train(model, views["train"], with_teacher(options), *told)
            except KeyboardInterrupt:
                continue
        ends.append(
            ([(record["step"], record["loss"]) for record in history], model.encoder.state_dict() | model.heads["intent"].state_dict())
        )
    assert ends[0][0] == ends[1][0] and len(ends[0][0]) > 0
    assert all(torch.equal(value, ends[1][1][key]) for key, value in ends[0][1].items())


def test_a_phase_ends_by_the_weights_as_they_are_and_the_disk_keeps_those_that_came(bank, tmp_path, monkeypatch):
    """Class vectors begin from queries as they are encoded then; vectors on disk are of weights that come again."""
    monkeypatch.setenv("KGREC_CACHE", str(tmp_path))
    apart, finish = [], Alike.finish

    def ended(self, encoder):
        nodes = self.of.queries.nodes
        texts = nodes.graph.gather(nodes.kind, nodes.rows, "text")["text"].to_list()
        fresh = torch.nn.functional.normalize(encoder.tower_(texts), dim=1)
        apart.append((encoder(nodes) - fresh).abs().max().item())
        finish(self, encoder)

    monkeypatch.setattr(Alike, "finish", ended)
    model, views, options = student(bank, epochs=0.2, contrastive=2.0, batch=40, validations=1)
    train(model, views["train"], options, lambda: {"intent": 1.0}, tmp_path / "c.pt", "this", lambda *told: None)
    came = load(str(bank.small))
    tower = Tower(came).eval()
    texts = [text for text in bank.truth if text not in bank.test]
    kept, known = VectorCache(tmp_path, tower.pristine).get(texts, tower.dim)
    with torch.no_grad():
        fresh = torch.nn.functional.normalize(tower(texts), dim=1).numpy()
    assert len(apart) == 1 and apart[0] < 1e-5
    np.testing.assert_allclose(kept[known], fresh[known], atol=1e-5)


def test_pseudo_labels_of_another_task_or_by_another_split_are_refused(bank, first, tmp_path):
    table = {"pseudo": {"use": "pseudo", "run": str(first.folder), "texts": str(bank.more)}}
    layer = {"encoder": {"model": str(bank.small)}, "train": {"objectives": table}, "split": {"by": "random", "test": 0.3}}
    with pytest.raises(KgrecError, match=r"learned from \d+ of the \d+ queries"):
        fit(resolve(bank.recipe, layer), tmp_path / "none")


def test_the_next_to_label_are_unsure_and_unlike(bank, first, tmp_path):
    found = label_next(first, bank.more, 20, tmp_path / "next.csv")
    assert len(set(found.texts)) == 20 and found.unlabelled == 400 and not set(found.texts) & set(bank.test)
    with open(tmp_path / "next.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == found.texts and set(rows[0]) == {"text", "label", "guess", "sure"} and rows[0]["label"] == ""
    every = label_next(first, bank.more, 400, tmp_path / "all.csv")
    assert np.mean(found.sure) < np.mean(every.sure) - 0.02
    with pytest.raises(KgrecError, match="the run knows every text"):
        (tmp_path / "known.txt").write_text("\n".join(bank.test))
        label_next(first, tmp_path / "known.txt")


def test_far_ones_are_drawn_first():
    """Three groups of equal vectors: one of each before a second of any."""
    vectors = np.repeat(np.eye(3, dtype=np.float32), 5, axis=0)
    chosen = drawn(vectors, np.linspace(1, 0.1, 15), 5, 0)
    assert {i // 5 for i in chosen[:3]} == {0, 1, 2} and chosen[0] == 0 and len(set(chosen)) == 5
