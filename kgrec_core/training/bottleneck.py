"""A bottleneck adapter: two small networks in every layer learn, the language model stays (Houlsby et al. 2019).

[train.adapter]
kind = "bottleneck"
width = 32
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn
from transformers import PreTrainedModel

from kgrec_core.errors import KgrecError
from kgrec_core.training.layers import layers


class Bottleneck(nn.Module):
    """A projection, and beside what it gives a detour through few numbers, zero at first."""

    def __init__(self, base: nn.Linear, width: int) -> None:
        super().__init__()
        self.base, self.down, self.up = base, nn.Linear(base.out_features, width), nn.Linear(width, base.out_features)
        nn.init.normal_(self.down.weight, std=0.01)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.base(x)
        return y + self.up(nn.functional.gelu(self.down(y)))


def attach(model: PreTrainedModel, width: int = 32, only: Collection[int] | None = None) -> None:
    """Behind the last projection of each layer's attention and the last of the layer. only: so many layers, counted from the lowest, 0."""
    if width < 1:
        raise KgrecError(f"train.adapter.width = {width}: a detour needs at least one number; 32 is usual")
    model.requires_grad_(False)
    for number, layer in enumerate(layers(model)):
        if only is None or number in only:
            for parent, name in _places(layer):
                setattr(parent, name, Bottleneck(getattr(parent, name), width))


def detach(model: PreTrainedModel) -> None:
    """As it was before."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Bottleneck):
                setattr(parent, name, child.base)


def _places(layer: nn.Module) -> list[tuple[nn.Module, str]]:
    """(parent, name) of the last projection of the attention, the first child with any, and of the whole layer."""
    found = []
    for part in (next((c for c in layer.children() if any(isinstance(m, nn.Linear) for m in c.modules())), layer), layer):
        linear = [(name, m) for name, m in part.named_modules() if isinstance(m, nn.Linear)]
        path, _, name = linear[-1][0].rpartition(".")
        found.append((part.get_submodule(path), name))
    return found
