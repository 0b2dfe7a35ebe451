"""Fine-tuning learns what can be learnt, stops at the best, and goes on after an interruption as if there had been none."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from kgrec_core.errors import KgrecError
from kgrec_core.graph import candidates
from kgrec_core.head.rank import Rank
from kgrec_core.limits import Budget
from kgrec_core.model import Model
from kgrec_core.training import checkpoint
from kgrec_core.training.fitting import train
from kgrec_core.training.options import Train

OPTIONS = Train(epochs=40, batch=12, lr=0.05, head_lr=0.05, validations=5, schedule="constant", weight_decay=0.0)


def hit(model: Model, board, name: str = "select") -> float:
    """The share of queries whose target comes first of all 12 items."""
    view = board.views[name]
    model.refresh(view.graph)
    queries = view.queries["buys"]
    q, c = (model.encode(board.task)(nodes) for nodes in (queries.nodes, candidates(view.graph, board.task)))
    return float(np.mean(np.argmax(q @ c.T, axis=1) == queries.targets.rows))


def fit(board, encoder, file, options=OPTIONS, validate=None, progress=lambda *told: None, purpose="this"):
    model = Model(encoder, {"buys": Rank(temperature=0.1)}, board.tasks)
    validate = validate or (lambda: {"buys": hit(model, board)})
    return train(model, board.views["train"], options, validate, file, purpose, progress), model


def without_seconds(history):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in history]


def test_it_goes_from_chance_to_nearly_all_right(toy, board, tmp_path):
    encoder = toy.Latest()
    before = hit(Model(encoder, {"buys": Rank()}, board.tasks), board)
    history, model = fit(board, encoder, tmp_path / "state")
    assert before < 0.3 and hit(model, board) > 0.9 and hit(model, board, "test") > 0.9
    assert history[-1]["step"] == 160 and len(history) == 5
    assert history[-1]["loss"] < history[0]["loss"] and max(r["select"]["buys"] for r in history) > 0.9


@pytest.mark.parametrize(("optimizer", "schedule", "chunk"), [("adamw", "linear", 0), ("sgd", "cosine", 7)])
@pytest.mark.parametrize("where", ["validate", "progress"])
def test_an_interrupted_fit_ends_with_the_same_numbers(toy, board, tmp_path, where, optimizer, schedule, chunk):
    options = Train(epochs=5, batch=12, lr=0.05, validations=5, negatives=2, chunk=chunk, optimizer=optimizer, schedule=schedule)
    whole = toy.Latest(dropout=0.3)
    expected, _ = fit(board, whole, tmp_path / "whole", options)
    calls = []

    def interrupt(*told):
        calls.append(told)
        if len(calls) == (2 if where == "validate" else 11):
            raise KeyboardInterrupt
        return {"buys": hit(model, board)}

    broken = toy.Latest(dropout=0.3)
    model = Model(broken, {"buys": Rank(temperature=0.1)}, board.tasks)
    with pytest.raises(KeyboardInterrupt):
        fit(board, broken, tmp_path / "state", options, **{where: interrupt})
    first = checkpoint.read(tmp_path / "state", "this")
    assert 0 < first["history"][-1]["step"] < 20 and len(first["history"]) < 5
    torch.manual_seed(99)
    again, steps = toy.Latest(dropout=0.3), []
    found, _ = fit(board, again, tmp_path / "state", options, progress=lambda what, done, total: steps.append(done))
    assert steps == list(range(first["history"][-1]["step"] + 1, 21))
    assert without_seconds(found) == without_seconds(expected)
    assert all(torch.equal(v, again.state_dict()[n]) for n, v in whole.state_dict().items())


def test_the_best_weights_come_back_wholly_and_patience_ends_the_fit(toy, board, tmp_path):
    encoder, kept, scores = toy.Latest(dropout=0.3), [], iter([0.1, 0.9, 0.3, 0.9, 0.2])

    def validate():
        assert not encoder.training
        kept.append(copy.deepcopy(encoder.state_dict()))
        return {"buys": next(scores)}

    history, _ = fit(board, encoder, tmp_path / "state", Train(epochs=10, batch=12, lr=0.05, validations=10, patience=2), validate)
    assert [r["best"] for r in history] == [True, True, False, False] and len(kept) == 4
    assert all(torch.equal(v, encoder.state_dict()[n]) for n, v in kept[1].items())
    assert not torch.equal(kept[1]["passes"], kept[3]["passes"]) and not torch.equal(kept[1]["items"], kept[3]["items"])
    stopped, _ = fit(board, toy.Latest(), tmp_path / "state", Train(epochs=10, batch=12, lr=0.05, validations=10, patience=2), validate)
    assert stopped == history


def test_a_task_that_is_not_learned_does_not_choose_the_best_weights(toy, board, tmp_path):
    mine, other = iter([0.1, 0.9, 0.3]), iter([0.9, 0.0, 0.9])
    history, _ = fit(
        board,
        toy.Latest(),
        tmp_path / "state",
        Train(epochs=3, batch=12, lr=0.05, validations=3),
        lambda: {"buys": next(mine), "unlearned": next(other)},
    )
    assert [r["best"] for r in history] == [True, True, False]


def test_nothing_to_learn_is_no_fit(toy, board, tmp_path):
    frozen = toy.Latest().requires_grad_(False)
    assert fit(board, frozen, tmp_path / "state")[0] == []
    assert fit(board, toy.Latest(), tmp_path / "state", Train(epochs=0))[0] == []
    assert not (tmp_path / "state").exists()


def test_steps_limit_the_updates(toy, board, tmp_path):
    history, _ = fit(board, toy.Latest(), tmp_path / "state", Train(epochs=9, steps=3, batch=12, validations=1))
    assert [r["step"] for r in history] == [3]


def test_a_checkpoint_of_another_fit_or_a_damaged_one_is_refused(toy, board, tmp_path):
    file = tmp_path / "state"
    fit(board, toy.Latest(), file, Train(epochs=1, batch=12, validations=1))
    with pytest.raises(KgrecError, match="belongs to a fit with another recipe or data; delete"):
        fit(board, toy.Latest(), file, purpose="that")
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(KgrecError, match=r"cannot be read .*; delete it to start the fit again") as caught:
        fit(board, toy.Latest(), file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("ends", "told"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError(28, "No space left on device"), KgrecError)])
def test_what_ends_the_writing_of_a_checkpoint_is_told_and_leaves_the_old_one(tmp_path, monkeypatch, ends, told):
    file = tmp_path / "state"
    checkpoint.write(file, {"purpose": "this", "step": 1})

    def saved(state, out):
        out.write(b"half")
        try:
            raise ends
        finally:  # as torch does in the middle of a record
            raise RuntimeError("unexpected pos 128 vs 64")

    monkeypatch.setattr(torch, "save", saved)
    with pytest.raises(told):
        checkpoint.write(file, {"purpose": "this", "step": 2})
    assert [of.name for of in tmp_path.iterdir()] == ["state"] and checkpoint.read(file, "this")["step"] == 1


def test_when_the_time_is_up_it_is_said_and_the_best_weights_so_far_stay(toy, board, tmp_path):
    budget, seen = Budget(0), []
    budget.part = lambda minutes, after: budget

    def progress(what, done, total):
        seen.append(done)
        budget.end = 0.0 if done == 7 else budget.end

    encoder = toy.Latest()
    model = Model(encoder, {"buys": Rank(temperature=0.1)}, board.tasks)
    options = Train(epochs=5, batch=12, lr=0.05, validations=2)
    history = train(model, board.views["train"], options, lambda: {"buys": 1.0}, tmp_path / "state", "this", progress, budget)
    assert seen == list(range(1, 9)) and [r["step"] for r in history] == [8]
    assert budget.dropped == ["fine-tuning was cut after 8 of 20 updates: train.minutes or fit.minutes were used up"]
    fit(board, toy.Latest(), tmp_path / "short", Train(epochs=5, batch=12, minutes=1e-9))
    assert checkpoint.read(tmp_path / "short", "this")["history"][-1]["step"] == 2


def test_only_what_came_pretrained_learns_at_lr():
    from torch import nn

    from kgrec_core.interfaces import Encoder
    from kgrec_core.training.optimiser import pretrained

    class Old(Encoder):
        pretrained = True

        def __init__(self):
            super().__init__()
            self.weight = nn.Linear(2, 2)

    class New(Encoder):
        def __init__(self, inside):
            super().__init__()
            self.inside, self.share = inside, nn.Parameter(torch.zeros(1))

    class Adapter(Old):
        pretrained = False

    both = New(nn.ModuleList([Old(), New(Adapter())]))
    names = {name for name, p in both.named_parameters() if p in pretrained(both)}
    assert names == {"inside.0.weight.weight", "inside.0.weight.bias"}
