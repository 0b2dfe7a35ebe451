"""The part `loud`."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from kgrec_core import Encoder, Graph, Nodes


class Loud(Encoder):
    """The vectors of another encoder times exp(gain), a learned gain per dimension.

    text: the encoder whose vectors are scaled. start: every gain's first value.
    """

    def __init__(self, *, text: Encoder, start: float = 0.0) -> None:
        super().__init__()
        self.text, self.start = text, start

    def prepare(self, graph: Graph, tasks) -> None:
        self.text.prepare(graph, tasks)
        self._set(torch.full((self.text.dim,), self.start))

    def forward(self, nodes: Nodes) -> torch.Tensor:
        return self.text(nodes) * self.gain_.exp()

    def refresh(self, graph: Graph, new=None) -> None:
        self.text.refresh(graph, new)

    def save(self, folder: Path) -> None:
        self.text.save(folder / "text")
        save_file({"gain": self.gain_.detach().cpu()}, folder / "gain.safetensors")

    def load(self, folder: Path) -> None:
        self.text.load(folder / "text")
        self._set(load_file(folder / "gain.safetensors")["gain"])

    def _set(self, gain: torch.Tensor) -> None:
        self.dim, self.gain_ = len(gain), nn.Parameter(gain)
