"""From the vectors of what a query met before, in time order, to one vector: mean, recency-weighted or self-attention."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

Pooling = Literal["mean", "recency", "attention"]


class History(nn.Module):
    """Pools ragged lists of vectors, oldest first.

    "recency" weighs the j-th of m by decay^(m-j); "mean" is decay 1. "attention" first lets the items of a history see each
    other (one transformer block with positions counted from the end, as SASRec, Kang and McAuley 2018); its last layer
    starts at zero, so that training starts from the recency-weighted mean.
    """

    def __init__(self, how: Pooling, dim: int, decay: float, last: int) -> None:
        super().__init__()
        self.decay = 1.0 if how == "mean" else decay
        self.block: nn.TransformerEncoderLayer | None = None
        if how == "attention":
            heads = next(h for h in (8, 6, 4, 2, 1) if dim % h == 0)
            self.block = nn.TransformerEncoderLayer(dim, heads, 2 * dim, 0.1, batch_first=True, norm_first=True)
            self.position = nn.Parameter(torch.zeros(last, dim))
            self.out = nn.Linear(dim, dim)
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(self, vectors: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """(n, dim) unit vectors, zero for an empty list. vectors: (sum of counts, dim); counts: (n,) int64."""
        owner = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        ends = torch.cumsum(counts, 0)
        age = torch.repeat_interleave(ends, counts) - 1 - torch.arange(len(vectors), device=counts.device)
        if self.block is not None and len(vectors):
            vectors = vectors + self._attended(vectors, counts, owner, age)
        weighted = vectors * (self.decay ** age.to(vectors.dtype))[:, None]
        pooled = torch.zeros(len(counts), vectors.shape[1], dtype=vectors.dtype, device=vectors.device).index_add(0, owner, weighted)
        return nn.functional.normalize(pooled, dim=1)

    def _attended(self, vectors: torch.Tensor, counts: torch.Tensor, owner: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
        some = counts > 0
        row = torch.cumsum(some, 0)[owner] - 1
        padded = vectors.new_zeros(int(some.sum()), int(counts.max()), vectors.shape[1])
        padding = torch.ones(padded.shape[:2], dtype=torch.bool, device=vectors.device)
        padded[row, age], padding[row, age] = vectors + self.position[age], False
        return self.out(self.block(padded, src_key_padding_mask=padding)[row, age])
