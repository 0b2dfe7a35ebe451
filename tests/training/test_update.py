"""Gradient caching and several processes equal one big batch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import warm
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]


def assert_equal(mine: dict, other: dict) -> None:
    assert set(mine) == set(other)
    for name, value in mine.items():
        torch.testing.assert_close(value, other[name], atol=1e-5, rtol=1e-5, msg=f"{name} differs by {(value - other[name]).abs().max()}")


@pytest.mark.parametrize("kind", ["rank", "classes"])
@pytest.mark.parametrize("chunk", [1, 5, 12, 1000])
def test_gradient_caching_equals_one_big_batch(toy, kind, chunk):
    whole = toy.gradients(kind, 0)
    assert all(whole[n].abs().max() > 1e-4 for n in whole)
    assert_equal(whole, toy.gradients(kind, chunk))


def test_dropout_is_the_same_in_both_passes_of_a_chunk(toy, board):
    """A chunk's gradients belong to the vectors of the first pass only if the second gives the same."""
    from accelerate import Accelerator

    from kgrec_core.head.rank import Rank
    from kgrec_core.training.examples import Examples
    from kgrec_core.training.options import Train
    from kgrec_core.training.update import Vectors, backward

    views = board.views["train"]
    step = Examples(views.graph, board.task, board.tasks, views.queries["buys"], Train(batch=13, negatives=3, seed=0)).step(0)
    vectors, seen = Vectors(toy.Latest(dropout=0.5), [Rank()]), []
    vectors.train().encoder.register_forward_hook(lambda module, given, out: seen.append(out.detach().clone()))
    backward(Accelerator(cpu=True), vectors, 0, step, 9, (3,))
    half = len(seen) // 2
    assert half >= 4 and all(torch.equal(a, b) for a, b in zip(seen[:half], seen[half:], strict=True))


def test_two_processes_equal_one(toy, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    done = warm.torchrun(Path(__file__).with_name("conftest.py"), tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    for kind, chunk in toy.cases:
        one = toy.gradients(kind, chunk)
        for rank in (0, 1):
            assert_equal(one, load_file(tmp_path / f"{kind}-{chunk}-{rank}.safetensors"))
    assert_halved_together(toy, tmp_path)


def assert_halved_together(toy, folder: Path) -> None:
    """The second process alone was short of memory: both went on in halves, to the weights of one process that had enough."""
    one, chunk = toy.short_of_memory(1000)
    assert chunk == 0
    for rank in (0, 1):
        found = load_file(folder / f"short-{rank}.safetensors")
        assert 0 < found.pop("chunk") <= 6
        assert_equal(one, found)
