"""Vectors turned so that no direction says more than another: what all have in common no longer makes all alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

import torch
from torch import nn

MOST, PER = 384, 4  # directions at most, and vectors there must be for each


class Whitening(NamedTuple):
    """(x - mean) @ turn, of length one; what was zero stays zero (Su et al. 2021, "Whitening Sentence Representations").

    Of products' names, MiniLM's cosines are mostly of what every product has in common: means of whitened vectors rank half as well again.
    """

    mean: torch.Tensor
    turn: torch.Tensor

    @classmethod
    def identity(cls, dim: int) -> Self:
        return cls(torch.zeros(dim), torch.eye(dim))

    @classmethod
    def learned(cls, x: torch.Tensor) -> Self:
        """Of vectors (n, dim), zero ones left out: the directions that vary most, a quarter as many as there are vectors."""
        some = x[x.any(1)].double()
        if len(some) < 2:
            return cls.identity(x.shape[1])
        mean = some.mean(0)
        values, vectors = torch.linalg.eigh((some - mean).T @ (some - mean) / len(some))
        most = max(1, min(MOST, len(some) // PER, int((values > 1e-6 * values[-1]).sum())))
        values, vectors = values[-most:], vectors[:, -most:]
        return cls(mean.float().to(x.device), (vectors / values.clamp_min(1e-12).sqrt()).float().to(x.device))

    @classmethod
    def of(cls, state: dict[str, torch.Tensor]) -> Self:
        mean, turn = state["white.mean"], state["white.turn"]
        if turn.ndim != 2 or mean.shape != turn.shape[:1]:
            raise ValueError("its whitening is of another width")
        return cls(mean, turn)

    def state(self) -> dict[str, torch.Tensor]:
        return {"white.mean": self.mean, "white.turn": self.turn}

    @property
    def dim(self) -> int:
        return self.turn.shape[1]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize((x - self.mean * x.detach().any(1, keepdim=True)) @ self.turn, dim=1)

    def moved(self, to: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        return type(self)(to(self.mean), to(self.turn))
