"""How the vectors of what a query met, oldest first, become one: mean, recency-weighted or self-attention."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

Pooling = Literal["mean", "recency", "attention"]


class Pool(nn.Module):
    """The j-th of m vectors weighs decay^(m-j); "mean" is decay 1.

    "attention" first lets the vectors of a list see each other (one transformer block with positions counted from the end, as SASRec,
    Kang and McAuley 2018); its last layer starts at zero, so that training starts from the recency-weighted mean.
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

    def attended(self, vectors: torch.Tensor, owner: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
        """(m, dim) vectors that have seen the others of their list. owner: (m,) its number; age: (m,) steps from its end."""
        if self.block is None or not len(vectors):
            return vectors
        _, row = torch.unique_consecutive(owner, return_inverse=True)
        padded = vectors.new_zeros(int(row[-1]) + 1, int(age.max()) + 1, vectors.shape[1])
        padding = torch.ones(padded.shape[:2], dtype=torch.bool, device=vectors.device)
        padded[row, age], padding[row, age] = vectors + self.position[age], False
        return vectors + self.out(self.block(padded, src_key_padding_mask=padding)[row, age])
