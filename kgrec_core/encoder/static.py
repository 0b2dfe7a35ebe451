"""A vector for every token instead of a language model: a text is the weighted mean of its tokens, words' order lost.

Each token goes through the model alone; the most telling axes of what comes out are kept, and frequent tokens count less, their frequency
taken from their rank in the vocabulary (Model2Vec: Tulkens & van Dongen 2024; PCA, then the weights of Arora, Liang & Ma 2017, "A Simple but
Tough-to-Beat Baseline for Sentence Embeddings", under Zipf's law). One linear map then brings texts to where the model itself has them: a ridge
regression on the texts of the run, towards the axes as they were where it has few.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import nn

from kgrec_core.errors import damage
from kgrec_core.stored import arrays, numbers

if TYPE_CHECKING:
    from kgrec_core.encoder.tower import Tower

AXES = 256  # kept of the tokens' vectors
COMMON = 1e-4  # frequency of a token that counts half
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # of the ridge, times texts by axis
HELD = 10  # one in so many texts chooses among them
BLOCK = 512  # tokens that go through the model at once


class Static:
    """vectors: (vocabulary, dim) float32, each times its weight; of tokens that stand around every text, zero."""

    file = "static.safetensors"

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors
        self.fingerprint = hashlib.blake2b(np.ascontiguousarray(vectors), digest_size=16).hexdigest()

    @classmethod
    def read(cls, file: Path) -> Static:
        """Raises KgrecError for a file that does not hold such vectors."""
        with damage(f"{file} holds no vectors of tokens", "restore the run from a copy or shrink it again"):
            return cls(numbers(arrays(file)["vectors"], (None, None)).astype(np.float32, copy=False))

    def save(self, folder: Path) -> None:
        save_file({"vectors": np.ascontiguousarray(self.vectors)}, folder / self.file)

    def vector(self, tokens: NDArray[np.int32], behind: Sequence[nn.Module]) -> torch.Tensor:
        """(1, dim) of one text. Pooling and what follows it are part of the vectors already."""
        return torch.from_numpy(self.vectors[tokens].mean(0, keepdims=True))


def static(tower: Tower, texts: Sequence[str]) -> Static:
    """Of a tower's model, for texts such as these. A minute for a vocabulary of 30,000."""
    alone, tokenizer = _alone(tower), tower.model.tokenizer
    centred = alone - alone.mean(0)
    axes = np.linalg.svd(centred.T @ centred, hermitian=True)[0][:, :AXES].T
    rank = np.arange(len(alone)) + 2.0
    weight = COMMON / (COMMON + (1 / rank) / (1 / rank).sum())
    weight[sorted({i for i in tokenizer.all_special_ids if i is not None and i != tokenizer.unk_token_id})] = 0
    reduced = (centred @ axes.T) * weight[:, None]
    return Static((reduced @ _towards(tower, reduced, axes, texts)).astype(np.float32))


@torch.inference_mode()
def _alone(tower: Tower) -> NDArray[np.float64]:
    """(vocabulary, dim) what the model says of each token, between those that stand around every text."""
    tokenizer = tower.model.tokenizer
    inner, outer = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (False, True))
    at = next((i for i in range(len(outer)) if outer[i : i + len(inner)] == inner), 0)
    around = outer[:at], outer[at + len(inner) :]
    found = []
    for start in range(0, len(tokenizer), BLOCK):
        ids = [np.array([*around[0], token, *around[1]], np.int32) for token in range(start, min(start + BLOCK, len(tokenizer)))]
        found.append(tower.encoded(ids).cpu().numpy())
    return np.concatenate(found).astype(np.float64)


def _towards(tower: Tower, reduced: NDArray[np.float64], axes: NDArray[np.float64], texts: Sequence[str]) -> NDArray[np.float64]:
    """(axes, dim) the map from means of tokens to the model's own vectors of texts."""
    texts = list(dict.fromkeys(texts))
    if len(texts) < HELD:
        return axes
    with torch.inference_mode():
        theirs = _unit(tower(texts).cpu().numpy().astype(np.float64))
    ours = _unit(np.stack([reduced[ids].mean(0) for ids in tower.tokenised(texts)]))
    held = np.arange(len(texts)) % HELD == 0

    def learned(of: NDArray[np.bool_], strength: float) -> NDArray[np.float64]:
        ridge = strength * np.count_nonzero(of) / len(axes) * np.eye(len(axes))
        return np.linalg.solve(ours[of].T @ ours[of] + ridge, ours[of].T @ theirs[of] + ridge @ axes)

    alike = {s: (_unit(ours[held] @ learned(~held, s)) * theirs[held]).sum() for s in STRENGTHS}
    return learned(np.ones(len(texts), bool), max(alike, key=alike.__getitem__))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
