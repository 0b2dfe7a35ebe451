"""`concat`: several encoders side by side; a score is then the weighted sum of theirs, and one learns what the others lack.

[encoder]
use = "concat"
[encoder.meaning]
use = "text"
model = "sentence-transformers/all-MiniLM-L6-v2"
[encoder.words]
use = "tfidf"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Encoder


class Concat(Encoder):
    """Vectors end to end, each scaled by the root of its share of the weights.

    While training, an encoder that learns nothing is silent: the others learn to rank on their own. To fill its gaps taught them
    noise (ranking products that nobody had bought, NDCG@10 fell by a sixth).

    weights: of the encoders by name, 1 where none is given.
    """

    def __init__(self, *, encoders: Mapping[str, Encoder], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.encoders, self.weights = nn.ModuleDict(encoders), dict(weights or {})

    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        if not self.encoders:
            raise KgrecError("encoder 'concat' has no encoder in it; add a table such as [encoder.words] use = \"tfidf\"")
        for name in self.weights:
            if name not in self.encoders:
                raise choices("encoder", name, self.encoders, "encoder.weights names the encoders of concat")
        if min(self.weights.values(), default=1) < 0 or not any(self.weights.get(name, 1) for name in self.encoders):
            raise KgrecError(f"encoder.weights = {self.weights}: shares of a sum are 0 or more, and not all of them 0")
        for encoder in self.encoders.values():
            encoder.prepare(graph, tasks)

    def without_language_model(self) -> Encoder | None:
        left = {name: rest for name, encoder in self.encoders.items() if (rest := encoder.without_language_model()) is not None}
        if all(left.get(name) is encoder for name, encoder in self.encoders.items()):
            return self
        return Concat(encoders=left, weights={name: w for name, w in self.weights.items() if name in left}) if left else None

    @property
    def dim(self) -> int:
        return sum(encoder.dim for encoder in self.encoders.values())

    @property
    def blocks(self) -> tuple[tuple[int, float], ...]:
        shares = self._shares()
        return tuple((width, length * shares[name] ** 0.5) for name, e in self.encoders.items() for width, length in e.blocks)

    def forward(self, nodes: Nodes) -> torch.Tensor:
        """Silent encoders are not asked."""
        shares = self._shares()
        heard = {name: encoder(nodes) * shares[name] ** 0.5 for name, encoder in self.encoders.items() if shares[name]}
        like = next(iter(heard.values()))
        return torch.cat([heard[n] if n in heard else like.new_zeros(len(nodes), e.dim) for n, e in self.encoders.items()], dim=1)

    def refresh(self, graph: Graph, new: Mapping[str, NDArray[np.int64]] | None = None) -> None:
        for encoder in self.encoders.values():
            encoder.refresh(graph, new)

    def _shares(self) -> dict[str, float]:
        """Of the weights, one in all; 0 for what is silent now."""
        learning = {n for n, e in self.encoders.items() if any(p.requires_grad for p in e.parameters())} if self.training else ()
        heard = learning or set(self.encoders)
        weights = {name: self.weights.get(name, 1.0) * (name in heard) for name in self.encoders}
        total = sum(weights.values())
        return {name: weight / total for name, weight in weights.items()}

    def save(self, folder: Path) -> None:
        for name, encoder in self.encoders.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            encoder.save(folder / name)

    def load(self, folder: Path) -> None:
        for name, encoder in self.encoders.items():
            encoder.load(folder / name)
