"""The losses against values worked out by hand, and what is promised of every head."""

from __future__ import annotations

from math import exp, log

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Relation, Task
from kgrec_core.head.rank import Rank
from kgrec_core.interfaces import Batch
from kgrec_core.testing import check_head

# scores: query 0 -> .6 .8 0, query 1 -> 1 0 .5 ; its third candidate is masked for query 0
Q = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
C = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, -0.375]])
LOGQ = [log(0.5), log(0.25), log(0.125)]
BATCH = Batch(
    torch.tensor([1, 0]), torch.tensor([[False, False, True], [False, False, False]]), torch.tensor(LOGQ), torch.tensor([3.0, 1.0])
)


def softplus(x: float) -> float:
    return log(1 + exp(x))


def each(loss: str, logq: bool = True) -> tuple[float, float]:
    t = 0.5
    if loss == "softmax":
        q = LOGQ if logq else [0.0] * 3
        a = [exp(s / t - q[i]) for i, s in enumerate((0.6, 0.8))]
        b = [exp(s / t - q[i]) for i, s in enumerate((1.0, 0.0, 0.5))]
        return -log(a[1] / sum(a)), -log(b[0] / sum(b))
    if loss == "bce":
        return softplus(-0.8 / t) + softplus(0.6 / t), softplus(-1 / t) + (softplus(0.0) + softplus(0.5 / t)) / 2
    if loss == "bpr":
        return softplus((0.6 - 0.8) / t), (softplus(-1 / t) + softplus(-0.5 / t)) / 2
    return 0.2**2 + 0.6**2, 0.0 + (0.0 + 0.5**2) / 2


@pytest.mark.parametrize(("loss", "logq"), [("softmax", True), ("softmax", False), ("bce", True), ("bpr", True), ("mse", True)])
def test_the_loss_is_the_one_worked_out_by_hand(loss, logq):
    first, second = each(loss, logq)
    found = Rank(loss=loss, temperature=0.5, logq=logq).loss(Q, C, BATCH)
    assert float(found) == pytest.approx((3 * first + second) / 4, rel=1e-5)


@pytest.mark.parametrize("loss", ["softmax", "bce", "bpr", "mse"])
def test_it_keeps_what_is_promised_of_a_head(loss):
    check_head(lambda: Rank(loss=loss))
    check_head(lambda: Rank(loss=loss, adapter=True, dropout=0.0))


def test_an_adapter_starts_as_the_vectors_themselves_and_learns_what_belongs_together(tmp_path):
    graph = Graph({kind: pl.DataFrame({"id": list("abcdefgh")}) for kind in ("question", "answer")}, {})
    task = Task("answer", Relation("question", "answered_by", "answer"))
    sides = [Nodes(graph, kind, np.arange(8), side) for kind, side in (("question", "query"), ("answer", "candidate"))]
    torch.manual_seed(0)
    asked, told = nn.functional.normalize(torch.randn(8, 16), dim=1), nn.functional.normalize(torch.randn(8, 16), dim=1)
    head = Rank(adapter=True, dropout=0.0)
    head.prepare(graph, task, 16)
    torch.testing.assert_close(head.project(asked, sides[0]), asked)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    batch = Batch(torch.arange(8), torch.zeros(8, 8, dtype=torch.bool), torch.zeros(8), torch.ones(8))
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(head.project(asked, sides[0]), head.project(told, sides[1]), batch).backward()
        optimizer.step()
    head.eval()
    scores = head.project(asked, sides[0]) @ head.project(told, sides[1]).T
    assert scores.argmax(1).tolist() == list(range(8))
    head.save(tmp_path)
    other = Rank(adapter=True)
    other.load(tmp_path)
    other.eval()
    torch.testing.assert_close(other.project(asked, sides[0]), head.project(asked, sides[0]))


def test_a_damaged_adapter_is_refused(tmp_path):
    with pytest.raises(KgrecError, match="adapter is missing or damaged"):
        Rank(adapter=True).load(tmp_path)
    (tmp_path / "adapter.safetensors").write_bytes(b"no")
    with pytest.raises(KgrecError, match="adapter is missing or damaged"):
        Rank(adapter=True).load(tmp_path)


@pytest.mark.parametrize("loss", ["softmax", "bce", "bpr", "mse"])
def test_a_query_without_any_negative_is_finite(loss):
    batch = Batch(torch.tensor([0]), torch.tensor([[False, True, True]]), torch.zeros(3), torch.ones(1))
    assert torch.isfinite(Rank(loss=loss).loss(Q[:1], C, batch))
