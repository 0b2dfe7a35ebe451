"""The losses against values worked out by hand, and what is promised of every head."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

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


@pytest.mark.parametrize("loss", ["softmax", "bce", "bpr", "mse"])
def test_a_query_without_any_negative_is_finite(loss):
    batch = Batch(torch.tensor([0]), torch.tensor([[False, True, True]]), torch.zeros(3), torch.ones(1))
    assert torch.isfinite(Rank(loss=loss).loss(Q[:1], C, batch))
