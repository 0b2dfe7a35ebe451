"""What is learned from is chosen by name, checked like a part, and may be anybody's: ten lines pull duplicates together."""

from __future__ import annotations

import pytest
import torch

from kgrec_core.errors import KgrecError
from kgrec_core.head.classify import Classify
from kgrec_core.head.rank import Rank
from kgrec_core.model import Model
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.training.contrastive import Alike
from kgrec_core.training.fitting import train
from kgrec_core.training.loop import Learner
from kgrec_core.training.options import Train
from kgrec_core.training.supervised import Edges, Supervised

PULL = '''
import numpy as np
import torch
from kgrec_core import Nodes, Objective, Step

class Pull(Objective):
    """Pulls items 2i and 2i + 1 together, whatever the tasks say of them. weight: as usual."""
    batches = 4

    def __init__(self, *, weight: float = 1.0, epochs: float = 1.0):
        super().__init__()
        self.weight, self.epochs = weight, epochs

    def prepare(self, view, tasks, heads, options):
        self.graph = view.graph
        return [self]

    def step(self, number):
        first, second = (Nodes(self.graph, "item", np.arange(start, 12, 2), "candidate") for start in (0, 1))
        return Step(first, second, (torch.ones(6),))

    def loss(self, q, c, batch):
        return (batch[0] * (q - c).square().sum(1)).mean()
'''


@pytest.fixture
def pull(tmp_path, monkeypatch):
    (tmp_path / "my_pull.py").write_text(PULL)
    monkeypatch.chdir(tmp_path)
    return {"use": "my_pull:Pull", "epochs": 40}


def options(**train_section) -> Train:
    return resolve({"train": train_section}).section("train", Train, Registry.discover())


def learner(board, toy, how: Train, head=None) -> Learner:
    return Learner(toy.Latest(), {"buys": head or Rank()}, board.tasks, board.views["train"], how)


def test_an_objective_of_ten_lines_pulls_duplicates_together(board, toy, pull, tmp_path):
    found = {}
    for name, objectives in {"alone": {}, "with": {"pull": pull}}.items():
        encoder, how = toy.Latest(), options(epochs=20, batch=12, lr=0.02, head_lr=0.02, validations=1, objectives=objectives)
        model = Model(encoder, {"buys": Rank(temperature=0.1)}, board.tasks)
        history = train(model, board.views["train"], how, lambda: {"buys": 1.0}, tmp_path / name, "this", lambda *told: None)
        pairs = torch.nn.functional.normalize(encoder.items.detach(), dim=1).view(6, 2, -1)
        found[name] = (pairs[:, 0] * pairs[:, 1]).sum(1).mean().item()
        assert history[-1]["step"] == {"alone": 80, "with": 80 + 160}[name]
    assert found["with"] > 0.8 > found["alone"] + 0.3


def test_a_recipe_names_objectives_and_old_keys_mean_what_they_meant(board, toy):
    def shape(how: Train, head=None) -> tuple:
        of = learner(board, toy, how, head)
        return [(type(o), o.phase, o.epochs, o.weight) for o in of.vectors.objectives], of.starts, of.total

    old = shape(options(epochs=2, batch=12, contrastive=0.5, weights={"buys": 3.0}), Classify())
    assert old == ([(Edges, 1, 2.0, 3.0), (Alike, 0, 0.5, 3.0)], {0: 0, 1: 2}, 10)
    named = {"contrastive": {"use": "contrastive", "epochs": 0.5}, "supervised": {"use": "supervised", "epochs": 2}}
    assert shape(options(batch=12, contrastive=9.0, weights={"buys": 3.0}, objectives=named), Classify()) == old
    assert shape(options(epochs=2, batch=12, contrastive=0.5)) == ([(Edges, 1, 2.0, 1.0)], {1: 0}, 8)  # a ranking has no classes
    assert shape(options(epochs=2, batch=12, contrastive=0.5, steps=3), Classify())[2] == 5  # of which two are contrastive
    assert shape(options(epochs=2, weights={"buys": 0.0}))[2] == 0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"use": "contrastiv"}, r"train.objectives.mine.use = 'contrastiv' \(Python\): .*did you mean 'contrastive'"),
        ({"use": "contrastive", "epoch": 1.0}, r"\[train.objectives.mine\].*'epoch'.*did you mean 'epochs'.*kgrec show objective"),
        ({"use": "my_pull:Pull", "weight": "much"}, r'train.objectives.mine.weight = "much" \(Python\): it takes float'),
        ({"epochs": 1.0}, r"\[train.objectives.mine\] has no `use`; name the objective.*`kgrec list objective`"),
        ({"use": "my_pull:PULLED"}, r"class in .*my_pull.py"),
    ],
)
def test_a_wrong_objective_is_refused_by_name(pull, table, message):
    with pytest.raises(KgrecError, match=message) as caught:
        options(objectives={"mine": table})
    assert "\n" not in str(caught.value)


def test_phases_follow_each_other_and_end_once(board, toy):
    """Every batch of the first phase comes before any of the second, also after a resume in the middle."""
    ended = []

    class First(Supervised):
        def prepare(self, view, tasks, heads, options):
            parts = super().prepare(view, tasks, heads, options)
            for part in parts:
                part.phase, part.finish = -1, lambda encoder: ended.append(encoder.training)
            return parts

    of = learner(board, toy, Train(epochs=1, batch=12, objectives={"first": First(epochs=0.5)}))
    assert of.starts == {-1: 0, 1: 2} and of.total == 6
    drawn = [of._draw(max(p for p, start in of.starts.items() if start <= n), n) for n in range(6)]
    assert drawn == [1, 1, 0, 0, 0, 0]
    for number in range(6):
        of.update(number)
    assert ended == [False] and of.encoder.training
    of.update(3)
    assert ended == [False]
