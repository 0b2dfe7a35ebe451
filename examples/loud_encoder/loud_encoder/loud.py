"""An encoder around another one: each kind of entity learns how loud every dimension is.

The parameters of the constructor are the recipe's keys:

    [encoder]
    use = "loud"
    [encoder.text]
    use = "text"
    model = "sentence-transformers/all-MiniLM-L6-v2"
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from kgrec_core import Encoder, Graph, Nodes, Task


class Loud(Encoder):
    """The inner vector times exp(gain[kind]), a learned gain per kind and dimension; gain 0 is the inner encoder itself.

    text: the encoder whose vectors are scaled. start: every gain's first value.
    """

    def __init__(self, *, text: Encoder, start: float = 0.0) -> None:
        super().__init__()
        self.text, self.start = text, start
        self.gain_ = nn.ParameterDict()

    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        self.text.prepare(graph, tasks)
        self.dim = self.text.dim
        kinds = {kind for task in tasks for kind in (task.relation.source, task.relation.target)}
        self.gain_ = nn.ParameterDict({kind: nn.Parameter(torch.full((self.dim,), self.start)) for kind in sorted(kinds)})

    def forward(self, nodes: Nodes) -> torch.Tensor:
        return self.text(nodes) * self.gain_[nodes.kind].exp()

    def refresh(self, graph: Graph, only_new: bool = False) -> None:
        self.text.refresh(graph, only_new)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({kind: gain.detach().cpu() for kind, gain in self.gain_.items()}, folder / "gain.safetensors")
        self.text.save(folder / "text")

    def load(self, folder: Path) -> None:
        self.text.load(folder / "text")
        self.dim = self.text.dim
        self.gain_ = nn.ParameterDict({kind: nn.Parameter(gain) for kind, gain in load_file(folder / "gain.safetensors").items()})
