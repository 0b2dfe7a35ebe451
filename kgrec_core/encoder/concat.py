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

import torch
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

    @property
    def reads_knowledge(self) -> bool:
        return any(encoder.reads_knowledge for encoder in self.encoders.values())

    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        if not self.encoders:
            raise KgrecError("encoder 'concat' has no encoder in it; add a table such as [encoder.words] use = \"tfidf\"")
        for name in self.weights:
            if name not in self.encoders:
                raise choices("encoder", name, self.encoders, "encoder.weights names the encoders of concat")
        for encoder in self.encoders.values():
            encoder.prepare(graph, tasks)

    @property
    def dim(self) -> int:
        return sum(encoder.dim for encoder in self.encoders.values())

    def forward(self, nodes: Nodes) -> torch.Tensor:
        learning = {name for name, e in self.encoders.items() if any(p.requires_grad for p in e.parameters())}
        heard = learning if self.training and learning else set(self.encoders)
        scale = {name: self.weights.get(name, 1.0) * (name in heard) for name in self.encoders}
        total = sum(scale.values())
        vectors = [encoder(nodes) * (scale[name] / total) ** 0.5 for name, encoder in self.encoders.items()]
        return torch.cat([v.to(vectors[0].device) for v in vectors], dim=1)

    def refresh(self, graph: Graph, only_new: bool = False) -> None:
        for encoder in self.encoders.values():
            encoder.refresh(graph, only_new)

    def save(self, folder: Path) -> None:
        for name, encoder in self.encoders.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            encoder.save(folder / name)

    def load(self, folder: Path) -> None:
        for name, encoder in self.encoders.items():
            encoder.load(folder / name)
