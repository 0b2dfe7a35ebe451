"""Vectors in memory by text, in one matrix that grows: what is asked again is not encoded again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray


class Known:
    """Gradient-free vectors of distinct texts. One thread may add while others look up."""

    def __init__(self, texts: Sequence[str], vectors: torch.Tensor) -> None:
        self._place, self._vectors = {text: i for i, text in enumerate(texts)}, vectors

    def __len__(self) -> int:
        return len(self._place)

    @property
    def texts(self) -> list[str]:
        return list(self._place)

    @property
    def vectors(self) -> torch.Tensor:
        """(len, dim), in the order of `texts`."""
        return self._vectors[: len(self)]

    def places(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """(n,) row of each text in `vectors`, -1 where it is unknown."""
        return np.fromiter((self._place.get(text, -1) for text in texts), np.int64, len(texts))

    def missing(self, texts: Sequence[str]) -> list[str]:
        """The distinct texts that are neither known nor empty."""
        return [text for text in dict.fromkeys(texts) if text and text not in self._place]

    def add(self, texts: Sequence[str], vectors: torch.Tensor) -> None:
        """vectors: (n, dim) of n distinct texts that were missing. Room is doubled, so that adding a few stays cheap."""
        size = len(self)
        with torch.inference_mode(False), torch.no_grad():  # what is made in inference mode could not be written to outside of it
            if size + len(texts) > len(self._vectors):
                room = torch.zeros(max(size + len(texts), 2 * size), vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
                room[:size] = self._vectors[:size]
                self._vectors = room
            self._vectors[size : size + len(texts)] = vectors
        self._place.update(zip(texts, range(size, size + len(texts)), strict=True))

    def move(self, to: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._vectors = to(self._vectors)
