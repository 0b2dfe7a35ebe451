"""Every technique does what its row in the table says; a tiny model of random weights is enough to see it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from kgrec_core.cli.main import main
from kgrec_core.errors import KgrecError
from kgrec_core.training import passes, table
from kgrec_core.training.layers import language_models, layers
from kgrec_core.training.optimiser import optimizer, pretrained
from kgrec_core.training.options import Train

DOCS = Path(__file__).parents[2] / "docs/training.md"
FEW = {"steps": 4, "batch": 12, "lr": 0.01, "validations": 2, "schedule": "constant", "warmup": 0.0}


def weights(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.encoder.state_dict().items()}


def assert_same(one: dict, other: dict, **near) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], msg=f"{name} differs", **near)


# --- the table ----------------------------------------------------------------------------------------------------------
def test_one_table_in_code_docs_and_command_line():
    assert table.markdown() in DOCS.read_text("utf-8"), "docs/training.md: put the output of table.markdown() between its markers"
    shown = CliRunner().invoke(main, ["show", "train"]).output
    keys = {key for row in table.ROWS for key in row.keys.split()}
    for row in table.ROWS:
        assert row.does in shown and row.when
    assert {f"train.{field.name}" for field in fields(Train)} <= keys, "every key of [train] stands in the table"
    assert {key.split(".")[1] for key in keys if key.startswith("train.")} <= {field.name for field in fields(Train)}
    assert not table.techniques(Train()), "by default a plain loop"


@pytest.mark.parametrize(("words", "said"), [(["show"], "Missing argument"), (["show", "encoder"], "kgrec show train needs none")])
def test_show_without_a_name(words, said):
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2 and said in done.output + str(done.exception)


# --- optimisation ----------------------------------------------------------------------------------------------------------
def test_each_layer_learns_less_than_the_one_above_it(tuned):
    _, model = tuned(Train(epochs=0))
    groups = optimizer(model.encoder, pretrained(model.encoder), Train(lr=1.0, layer_decay=0.5)).param_groups
    rate = {p: group["lr"] for group in groups for p in group["params"]}
    decay = {p: group["weight_decay"] for group in groups for p in group["params"]}
    bert = language_models(model.encoder)[0]
    assert [{rate[p] for p in layer.parameters()} for layer in layers(bert)] == [{0.25}, {0.5}, {1.0}]
    assert {rate[p] for p in bert.embeddings.parameters()} == {0.125}
    assert all((decay[p] > 0) == (p.ndim > 1) for p in bert.parameters())
    plain = optimizer(model.encoder, pretrained(model.encoder), Train()).param_groups
    assert [group["lr"] for group in plain] == [3e-5, 3e-5]


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


@pytest.mark.parametrize("key", ["layer_decay", "average_decay", "average_share"])
def test_a_share_is_a_share(key):
    with pytest.raises(KgrecError, match=f"train.{key} = 1.5 is not above 0 and at most 1"):
        Train(**{key: 1.5})
