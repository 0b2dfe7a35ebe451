"""A small encoder on the checkerboard. As a script: the gradients of one batch and the weights after a step, from one of several
processes (RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT in the environment), into a folder; and what they do where the second has no memory.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import nn

from kgrec_core.encoder.text import Text
from kgrec_core.head.rank import Rank
from kgrec_core.interfaces import Encoder, Head
from kgrec_core.model import Model
from kgrec_core.split import Split, split
from kgrec_core.testing import BUYS, checkerboard
from kgrec_core.training.examples import Examples
from kgrec_core.training.failures import Failed
from kgrec_core.training.fitting import train
from kgrec_core.training.loop import Learner
from kgrec_core.training.options import Train
from kgrec_core.training.update import Vectors, backward
from tests import tiny

CASES = [(kind, chunk) for kind in ("rank", "classes") for chunk in (0, 5)]


class Latest(Encoder):
    """An item is a learnt vector; a user a learnt map of the latest item bought. The world's next item is always the one after."""

    def __init__(self, dropout: float = 0.0, dim: int = 16) -> None:
        super().__init__()
        self.dim = dim
        generator = torch.Generator().manual_seed(0)
        self.items = nn.Parameter(torch.randn(12, dim, generator=generator))
        self.map = nn.Parameter(torch.randn(dim, dim, generator=generator) / 4)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("passes", torch.zeros(1))

    def forward(self, nodes):
        if self.training:
            self.passes += 1
        if nodes.side == "candidate":
            return nn.functional.normalize(self.items[torch.from_numpy(nodes.rows)], dim=1)
        met = nodes.read(BUYS, last=1)
        at = torch.from_numpy(met.owner)
        latest = torch.zeros(len(nodes), self.dim).index_copy(0, at, self.items[torch.from_numpy(met.rows)])
        return nn.functional.normalize(self.dropout(latest @ self.map) + 1e-3, dim=1)


class Classes(Head):
    """A head that owns its candidates' vectors, as a classifier does."""

    encodes_candidates = False

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(12, dim, generator=torch.Generator().manual_seed(1)))

    def project(self, x, nodes):
        return self.vectors[torch.from_numpy(nodes.rows)] if nodes.side == "candidate" else x

    loss = Rank(temperature=0.2).loss


def gradients(kind: str, chunk: int) -> dict[str, torch.Tensor]:
    """Of one batch of 13 pairs, and the weights after one step along them."""
    graph, tasks = checkerboard()
    views = split((graph, tasks), Split(by="last"))
    examples = Examples(views["train"].graph, tasks[0], tasks, views["train"].queries["buys"], Train(batch=13, negatives=3, seed=0))
    accelerator = Accelerator(cpu=True)
    vectors = Vectors(Latest(), [Rank(temperature=0.2) if kind == "rank" else Classes()])
    optimizer = torch.optim.SGD(vectors.parameters(), lr=0.1)
    for number in range(2):
        optimizer.zero_grad()
        backward(accelerator, vectors, 0, examples.step(number), chunk, (0, number))
        found = {name: p.grad.clone() for name, p in vectors.named_parameters() if p.grad is not None}
        optimizer.step()
    return found | {f"after.{name}": p.detach().clone() for name, p in vectors.named_parameters()}


class Short(Latest):
    """Holds so many nodes of a pass, in the second of two processes; in any where there is one."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def forward(self, nodes):
        if len(nodes) > self.room and torch.is_grad_enabled() and os.environ.get("RANK", "1") == "1":
            raise MemoryError
        return super().forward(nodes)


def short_of_memory(room: int) -> tuple[dict[str, torch.Tensor], int]:
    """The gradients of a batch that the memory of one process does not hold at once, and how many nodes it was halved to."""
    graph, tasks = checkerboard()
    views = split((graph, tasks), Split(by="last"))
    learner = Learner(Short(room), {"buys": Rank(temperature=0.2)}, tasks, views["train"], Train(batch=12, epochs=1, seed=0, lr=0.1))
    learner.update(0)
    return {name: p.detach().clone() for name, p in learner.vectors.named_parameters()}, learner.chunk


@pytest.fixture
def toy():
    return SimpleNamespace(Latest=Latest, Classes=Classes, gradients=gradients, short_of_memory=short_of_memory, cases=CASES)


@pytest.fixture
def board():
    graph, tasks = checkerboard()
    return SimpleNamespace(graph=graph, tasks=tasks, task=tasks[0], views=split((graph, tasks), Split(by="last")))


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> str:
    """A tiny language model."""
    return tiny.model(tmp_path_factory.mktemp("tiny") / "bert")


@pytest.fixture
def tuned(board, folder, tmp_path):
    """tuned(Train(...)) -> the history and the fine-tuned model, of a `text` encoder on the checkerboard."""

    def fit(
        options: Train, file: Path = tmp_path / "state", progress=lambda *told: None, validate=lambda: {"buys": 1.0}, model=folder, **how
    ):
        encoder = Text(model=model, cache=tmp_path / "cache", **how)
        found = Model(encoder, {"buys": Rank(temperature=0.1)}, board.tasks).prepare(board.views["train"].graph)
        return train(found, board.views["train"], options, validate, file, "this", progress), found

    return fit


@pytest.fixture(autouse=True)
def same_numbers():
    torch.manual_seed(0)
    np.random.seed(0)


if __name__ == "__main__":
    for kind, chunk in CASES:
        found = gradients(kind, chunk)
        save_file(found, Path(sys.argv[1]) / f"{kind}-{chunk}-{torch.distributed.get_rank()}.safetensors")
    found, chunk = short_of_memory(4)
    save_file({"chunk": torch.tensor(chunk), **found}, Path(sys.argv[1]) / f"short-{torch.distributed.get_rank()}.safetensors")
    with pytest.raises(Failed, match=r"not even in parts of \d+ nodes"):
        short_of_memory(1)
    torch.distributed.destroy_process_group()
