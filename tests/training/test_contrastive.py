"""Queries of one class drawn together before a classification: pairs, masks, class means, and that it helps from few examples."""

from __future__ import annotations

import copy

import numpy as np
import polars as pl
import pytest
import torch

from kgrec_core.graph import Dataset, Graph, Relation, Task, candidates
from kgrec_core.head.classify import Classify
from kgrec_core.interfaces import Encoder
from kgrec_core.model import Model
from kgrec_core.split import Split, split
from kgrec_core.training.contrastive import Alike, Contrastive, means
from kgrec_core.training.examples import Examples
from kgrec_core.training.fitting import train
from kgrec_core.training.options import Train

SAYS = Relation("question", "says", "mood")
TASK = Task("mood", SAYS, repeats=True)


class Looked(Encoder):
    """A vector per question through one linear layer: its class is in three of twelve noisy directions."""

    def __init__(self) -> None:
        super().__init__()
        self.dim = 6
        generator = torch.Generator().manual_seed(3)
        self.given = torch.randn(90, 12, generator=generator) * 0.8
        self.given[torch.arange(90), torch.arange(90) % 3] += 3.0
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(12, 6)

    def forward(self, nodes):
        return torch.nn.functional.normalize(self.linear(self.given[torch.from_numpy(nodes.rows)]), dim=1)


@pytest.fixture
def world():
    ids = pl.DataFrame({"id": [f"q{i}" for i in range(90)]})
    edges = pl.DataFrame({"source": range(90), "target": [i % 3 for i in range(90)]}, {"source": pl.UInt32, "target": pl.UInt32})
    graph = Graph({"question": ids, "mood": pl.DataFrame({"id": ["bad", "even", "good"]})}, {SAYS: edges})
    return split(Dataset(graph, (TASK,)), Split(by="random", test=0.2, validation=0.2))


def examples(world, size=16) -> Examples:
    view = world["train"]
    return Examples(view.graph, TASK, (TASK,), view.queries["mood"], Train(batch=size), every=True)


def alike(world) -> Alike:
    return Alike(examples(world), Classify(), Contrastive(), 1.0)


def test_a_partner_has_the_class_and_is_another_query(world, monkeypatch):
    monkeypatch.setattr("kgrec_core.training.examples._readable", lambda nodes, relations: np.ones(len(nodes), bool))
    pairs = alike(world)
    for number in range(12):
        step = pairs.step(number)
        mine, other = step.queries.rows % 3, step.candidates.rows % 3
        assert (mine == other).all() and (step.queries.rows != step.candidates.rows).all()
        wanted = mine[:, None] == other[None]
        np.fill_diagonal(wanted, False)
        assert (step.batch.mask.numpy() == wanted).all() and step.batch.positive.tolist() == list(range(len(mine)))
        again = alike(world).step(number)
        assert (again.queries.rows == step.queries.rows).all() and (again.candidates.rows == step.candidates.rows).all()


def test_every_class_is_in_every_batch_and_a_mean_is_of_its_queries(world, monkeypatch):
    monkeypatch.setattr("kgrec_core.training.examples._readable", lambda nodes, relations: np.ones(len(nodes), bool))
    of, encoder = examples(world, size=2), Looked()
    step = of.step(0)
    assert step.candidates.rows.tolist() == [0, 1, 2]
    assert (step.batch.mask.sum(1) == 0).all() and bool(torch.isfinite(step.batch.logq).all())
    found = means(encoder, of, 4)
    assert found[3].abs().sum() == 0
    asked = world["train"].queries["mood"]
    for mood in range(3):
        rows = asked.nodes.take(asked.targets.owner[asked.targets.rows == mood])
        torch.testing.assert_close(found[mood], encoder(rows).sum(0))


def test_it_is_learnt_and_an_interrupted_fit_ends_with_the_same_numbers(world, monkeypatch, tmp_path):
    monkeypatch.setattr("kgrec_core.training.examples._readable", lambda nodes, relations: np.ones(len(nodes), bool))
    options = Train(epochs=6, contrastive=4, batch=8, lr=0.01, head_lr=0.01, validations=5, schedule="constant", weight_decay=0)

    def fit(file, fail_at=None):
        model = Model(Looked().eval(), {"mood": Classify(temperature=0.5)}, (TASK,)).prepare(world["train"].graph)
        begun = copy.deepcopy(model.encoder.state_dict())

        def validate():
            queries = world["select"].queries["mood"]
            scores = model.vectors(TASK, queries.nodes) @ model.vectors(TASK, candidates(world["select"].graph, TASK)).T
            return {"mood": float((scores.argmax(1) == queries.targets.rows).mean())}

        def progress(what, done, total):
            if done == fail_at:
                raise KeyboardInterrupt

        def refreshed():
            model.refresh(world["select"].graph)
            return validate()

        history = train(model, world["train"], options, refreshed, file, "this", progress)
        return history, model, begun

    history, model, begun = fit(tmp_path / "whole")
    assert history[-1]["step"] == 10 * 7 and history[-1]["select"]["mood"] > 0.8
    assert any(not torch.equal(begun[name], value) for name, value in model.encoder.state_dict().items())
    for fail_at in (14, 40):
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / f"cut{fail_at}", fail_at)
        again, other, _ = fit(tmp_path / f"cut{fail_at}")
        assert [r["loss"] for r in again] == [r["loss"] for r in history]
        for name, value in model.heads["mood"].state_dict().items():
            assert torch.equal(value, other.heads["mood"].state_dict()[name])


def test_without_weights_of_the_encoder_there_is_nothing_to_draw_together(world, monkeypatch, tmp_path, caplog):
    """TF-IDF, or a language model that is frozen: the classes alone are learned."""
    monkeypatch.setattr("kgrec_core.training.examples._readable", lambda nodes, relations: np.ones(len(nodes), bool))
    model = Model(Looked().requires_grad_(False), {"mood": Classify()}, (TASK,)).prepare(world["train"].graph)
    told = (lambda: {"mood": 1.0}, tmp_path / "state", "this", lambda *told: None)
    history = train(model, world["train"], Train(epochs=2, contrastive=4, batch=8, validations=1), *told)
    assert history[-1]["step"] == 2 * examples(world, 8).batches and "Alike of task mood finds no weights that may learn" in caplog.text
