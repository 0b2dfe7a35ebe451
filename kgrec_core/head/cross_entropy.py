"""The cross-entropy that both heads learn by, with label smoothing and focusing."""

from __future__ import annotations

import torch

from kgrec_core.interfaces import Batch


def cross_entropy(logits: torch.Tensor, batch: Batch, smoothing: float = 0.0, focal: float = 0.0) -> torch.Tensor:
    """(n,) of each query's target among the candidates that are not masked.

    smoothing: share of the target spread evenly over them (Szegedy et al. 2016). focal: each counts by (1 - p) to this power (Lin et al. 2017).
    """
    logp = logits.masked_fill(batch.mask, float("-inf")).log_softmax(1)
    right = logp.gather(1, batch.positive[:, None])[:, 0]
    each = -right
    if smoothing:
        even = -logp.masked_fill(batch.mask, 0).sum(1) / (~batch.mask).sum(1)
        each = (1 - smoothing) * each + smoothing * even
    return each * (-torch.expm1(right)) ** focal if focal else each
