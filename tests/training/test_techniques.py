"""Every technique does what its row in the table says; a tiny model of random weights is enough to see it."""

from __future__ import annotations

import pytest
import torch

from kgrec_core.errors import KgrecError
from kgrec_core.training import passes, table
from kgrec_core.training.fitting import possible
from kgrec_core.training.layers import language_models
from kgrec_core.training.options import Augment, Train

FEW = {"epochs": 9, "steps": 4, "batch": 12, "lr": 0.01, "validations": 2, "schedule": "constant", "warmup": 0.0}


def weights(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.encoder.state_dict().items()}


def assert_same(one: dict, other: dict, **near) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], msg=f"{name} differs", **near)


@pytest.mark.parametrize("options", [{"gradient_checkpointing": True}, {"compile": True}], ids=str)
def test_what_a_pass_costs_changes_no_number(tuned, tmp_path, monkeypatch, options):
    monkeypatch.setattr(passes.Compiled, "backend", "eager")
    _, plain = tuned(Train(**FEW), tmp_path / "plain")
    _, other = tuned(Train(**FEW, **options), tmp_path / "other")
    assert_same(weights(plain), weights(other), atol=1e-5, rtol=1e-4)
    bert = language_models(other.encoder)[0]
    assert bert._compiled_call_impl is None and not any(getattr(m, "gradient_checkpointing", False) for m in bert.modules())


def test_checkpointing_keeps_less(tuned, tmp_path):
    kept = {}
    for on in (False, True):
        held: list[int] = []

        def pack(x: torch.Tensor, held: list[int] = held) -> torch.Tensor:
            held.append(x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            tuned(Train(**FEW | {"steps": 1}, gradient_checkpointing=on), tmp_path / str(on))
        kept[on] = sum(held)
    assert kept[True] < kept[False] / 2


def test_precision(tuned, tmp_path):
    full, _ = tuned(Train(**FEW), tmp_path / "full")
    half, _ = tuned(Train(**FEW, precision="bf16"), tmp_path / "half")
    assert half[-1]["loss"] != full[-1]["loss"] and half[-1]["loss"] == pytest.approx(full[-1]["loss"], rel=0.05)
    for precision in ("fp16", "tf32"):
        with pytest.raises(
            KgrecError, match=f'train.precision = "{precision}" needs a CUDA device and this is cpu; choose "fp32" or "bf16"'
        ):
            tuned(Train(**FEW, precision=precision), tmp_path / precision)


def test_bf16_that_is_only_emulated_is_told(monkeypatch, caplog):
    for has in (True, False):
        monkeypatch.setattr("kgrec_core.devices.bf16", lambda kind, has=has: has)
        possible(Train(precision="bf16"))
        assert ("only emulates it" in caplog.text) is not has


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_the_mean_of_the_weights_is_validated_and_published(tuned, tmp_path, kind):
    way, asked = [], []

    def fit(average: str, file: str, validations: int):
        options = Train(**FEW | {"validations": validations}, average=average, average_decay=0.6, average_share=0.5)
        model = None

        def validate():
            asked.append(None)
            return {"buys": float(len(asked))}

        _, model = tuned(options, tmp_path / file, validate=validate)
        return weights(model)

    for steps in (1, 2, 3, 4):
        _, model = tuned(Train(**FEW | {"steps": steps, "validations": 1}), tmp_path / f"{steps}")
        way.append(weights(model))
    mean = way[0] if kind == "ema" else None
    for seen, now in enumerate(way, 1):
        if kind == "ema" and seen > 1:
            step = 1 - min(0.6, seen / (seen + 9))
            mean = {n: m.lerp(now[n], step) for n, m in mean.items()}
    if kind == "swa":
        mean = {n: (way[2][n] + way[3][n]) / 2 for n in way[0]}
    assert_same(fit(kind, kind, 1), mean, atol=1e-6, rtol=1e-5)
    assert_same(fit(kind, f"{kind}-often", 4), mean, atol=1e-6, rtol=1e-5)  # being asked in between changes nothing


# --- against overfitting ----------------------------------------------------------------------------------------------------
def test_fgm_adds_the_gradients_of_moved_embeddings_and_moves_them_back(tuned, tmp_path, monkeypatch):
    from kgrec_core.training.adversarial import Fgm

    seen, gradients = [], Fgm.gradients

    def watched(self, learner, again):
        weight = self.words_[0]
        before, grad = weight.detach().clone(), weight.grad.clone()
        losses = []

        def once():
            losses.append((weight.detach() - before).norm().item())
            return again()

        gradients(self, learner, once)
        seen.append((torch.equal(weight, before), losses[0], (weight.grad - grad).abs().max().item()))

    monkeypatch.setattr(Fgm, "gradients", watched)
    _, other = tuned(Train(**FEW, fgm=0.5), tmp_path / "fgm")
    assert len(seen) == 4 and all(back and moved == pytest.approx(0.5, rel=1e-4) and more > 0 for back, moved, more in seen)
    _, plain = tuned(Train(**FEW), tmp_path / "plain")
    assert any(not torch.equal(a, b) for a, b in zip(weights(plain).values(), weights(other).values(), strict=True))
    with pytest.raises(KgrecError, match=r"train\.fgm moves the word embeddings, which are frozen"):
        tuned(Train(**FEW, fgm=0.5), train_layers=1)
    for frozen in ({"freeze": "embeddings"}, {"adapter": {"kind": "lora"}}):
        with pytest.raises(KgrecError, match=r"train\.fgm moves the word embeddings, which are frozen"):
            tuned(Train(**FEW, **frozen, fgm=0.5))


@pytest.mark.parametrize("chunk", [0, 7])
def test_rdrop_draws_two_passes_together(tuned, board, tmp_path, chunk):
    from kgrec_core.head.rank import Rank
    from kgrec_core.training.loop import Learner
    from kgrec_core.training.rdrop import Twice

    learner = Learner(tuned(Train(epochs=0))[1].encoder, {"buys": Rank()}, board.tasks, board.views["train"], Train(batch=12, rdrop=2.0))
    (twice,) = learner.vectors.objectives
    assert isinstance(twice, Twice) and twice.task == "buys" and twice.batches == twice.inside.batches
    step, (q, c) = twice.step(0), (torch.randn(24, 8), torch.randn(2 * len(twice.step(0).candidates), 8))
    once = twice.inside.loss(q[:12], c[: len(c) // 2], step.batch)
    same = twice.loss(torch.cat([q[:12]] * 2), torch.cat([c[: len(c) // 2]] * 2), step.batch)
    torch.testing.assert_close(same, once)
    mean = (once + twice.inside.loss(q[12:], c[len(c) // 2 :], step.batch)) / 2
    assert twice.loss(q, c, step.batch) > mean + 0.1
    _, whole = tuned(Train(**FEW | {"steps": 2}, rdrop=1.0, chunk=chunk), tmp_path / "a", dropout=0.0)
    _, plain = tuned(Train(**FEW | {"steps": 2}), tmp_path / "b", dropout=0.0)
    assert_same(weights(whole), weights(plain), atol=2e-4, rtol=1e-3)  # without dropout both passes are the same


def test_patience_counts_gains_above_min_delta(tuned, tmp_path):
    scores = iter([0.5, 0.505, 0.509, 0.8])
    found, _ = tuned(Train(**FEW | {"validations": 4}, patience=2, min_delta=0.01), validate=lambda: {"buys": next(scores)})
    assert [record["select"]["buys"] for record in found] == [0.5, 0.505, 0.509]


# --- what an update can die of ------------------------------------------------------------------------------------------------
def test_a_loss_that_is_none_names_batch_and_technique(tuned, tmp_path, monkeypatch):
    from kgrec_core.head.rank import Rank

    losses, loss = [], Rank.loss

    def broken(self, q, c, batch):
        losses.append(None)
        return loss(self, q, c, batch) * (float("nan") if len(losses) == 4 else 1)

    monkeypatch.setattr(Rank, "loss", broken)
    with pytest.raises(
        KgrecError, match=r"update 4: the loss is nan for the batch of user 'u\d+'.*Edges of task buys; techniques: train\.average"
    ):
        tuned(Train(**FEW, average="ema"))
    from kgrec_core.training import checkpoint

    state = checkpoint.read(tmp_path / "state", "this")
    assert state["history"][-1]["step"] == 2 and all(bool(torch.isfinite(t).all()) for t in state["weights"].values())


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")]
)
def test_short_of_memory_a_batch_is_halved_once(tuned, tmp_path, monkeypatch, error, caplog):
    from kgrec_core.training import loop

    asked, backward = [], loop.backward

    def short(room: int):
        def run(accelerator, module, which, step, chunk, seed):
            asked.append(chunk)
            if not 0 < chunk <= room:
                raise error
            return backward(accelerator, module, which, step, chunk, seed)

        return run

    _, plain = tuned(Train(**FEW), tmp_path / "plain", dropout=0.0)
    monkeypatch.setattr(loop, "backward", short(12))
    _, halved = tuned(Train(**FEW), tmp_path / "halved", dropout=0.0)
    assert asked[0] == 0 and len(set(asked[1:])) == 1 and "train.chunk" in caplog.text
    assert_same(weights(plain), weights(halved), atol=1e-4, rtol=1e-3)
    monkeypatch.setattr(loop, "backward", short(2))
    with pytest.raises(KgrecError, match=r"does not hold a batch of \[train\], not even in parts of \d+ nodes; set train\.chunk"):
        tuned(Train(**FEW), tmp_path / "none")


# --- going on ---------------------------------------------------------------------------------------------------------------------
EVERY = {
    "layer_decay": {"layer_decay": 0.8},
    "chunk": {"chunk": 9},
    "train.mined": {"mined": 2},
    "train.augment": {"augment": Augment(how=("cutoff", "drop", "swap"))},
    "train.rdrop": {"rdrop": 1.0},
    "train.fgm": {"fgm": 0.5},
    "train.freeze": {"freeze": "gradual"},
    "train.adapter": {"adapter": {"kind": "lora", "r": 2, "lora_dropout": 0.1}},
    "prefix": {"adapter": {"kind": "prefix", "num_virtual_tokens": 2}},
    "bottleneck": {"adapter": {"kind": "bottleneck", "width": 2}, "head_lr": 0.01},
    "train.gradient_checkpointing": {"gradient_checkpointing": True},
    "bf16": {"precision": "bf16"},
    "train.compile": {"compile": True},
    "train.average": {"average": "ema", "average_decay": 0.5},
    "swa": {"average": "swa", "average_share": 0.8},
    "together": {"layer_decay": 0.9, "rdrop": 1.0, "fgm": 0.2, "mined": 1, "average": "ema", "augment": Augment(how=("drop",)), "chunk": 9},
}


def test_no_technique_escapes():
    assert {row.keys.partition(" ")[0] for row in table.ROWS if row.made} - {"train.precision"} <= EVERY.keys()  # tf32 needs CUDA


@pytest.mark.parametrize("name", EVERY)
def test_an_interrupted_fit_ends_with_the_same_weights(tuned, tmp_path, monkeypatch, name):
    monkeypatch.setattr(passes.Compiled, "backend", "eager")
    options = Train(**FEW | {"steps": 3, "validations": 3} | EVERY[name])
    scores = {}

    def validate():
        scores[len(scores)] = float(len(scores))
        return {"buys": scores[len(scores) - 1]}

    expected, whole = tuned(options, tmp_path / "whole", validate=validate)
    for kill in (1, 2, 3):  # in the first update, and, gone on from there, in the second and third

        def progress(what, done, total, kill=kill):
            if done == kill:
                raise KeyboardInterrupt

        scores.clear()
        scores.update(dict.fromkeys(range(max(0, kill - 2)), 0.0))
        with pytest.raises(KeyboardInterrupt):
            tuned(options, tmp_path / "cut", progress, validate=validate)
    scores.clear()
    scores.update(dict.fromkeys(range(2), 0.0))
    found, again = tuned(options, tmp_path / "cut", validate=validate)
    assert [r["loss"] for r in found] == [r["loss"] for r in expected]
    assert_same(weights(whole), weights(again), atol=0, rtol=0)


@pytest.mark.parametrize(("last", "members"), [(0.6, [1, 0]), (0.3, [1])])
def test_seeds_are_averaged_where_that_is_no_worse(tuned, tmp_path, last, members):
    few = FEW | {"validations": 1, "steps": 2}
    alone = [weights(tuned(Train(**few, seed=seed), tmp_path / f"alone{seed}")[1]) for seed in (0, 1)]
    scores = iter([0.4, 0.5, last])
    history, model = tuned(Train(**few, ensemble=2), tmp_path / "both", validate=lambda: {"buys": next(scores)})
    expected = {n: (alone[0][n] + alone[1][n]) / 2 for n in alone[0]} if len(members) == 2 else alone[1]
    assert_same(weights(model), expected, atol=1e-6, rtol=1e-5)
    assert [r.get("member") for r in history[:2]] == [0, 1] and history[-1]["members"] == members
    assert history[-1]["select"] == {"buys": max(0.5, last)}


def test_an_interrupted_ensemble_goes_on(tuned, tmp_path):
    few = Train(**FEW | {"validations": 1, "steps": 2}, ensemble=2)
    expected, whole = tuned(few, tmp_path / "whole")
    told = []

    def progress(what, done, total):
        told.append(done)
        if len(told) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(few, tmp_path / "cut", progress)
    told += [0] * 9
    found, again = tuned(few, tmp_path / "cut", progress)
    assert_same(weights(whole), weights(again), atol=0, rtol=0)
    assert [r["loss"] for r in found] == [r["loss"] for r in expected] and len(told) == 4 + 9 + 2
