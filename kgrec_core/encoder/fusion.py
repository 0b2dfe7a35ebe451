"""What fusions share: an encoder around an encoder of texts, whose vector it starts from and falls back to."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from kgrec_core.errors import damage
from kgrec_core.graph import Graph, Relation, Task
from kgrec_core.interfaces import Encoder
from kgrec_core.stored import document


class Fusion(Encoder):
    """A subclass has the parameter `text` and gives `learn`, `forward`, and `assemble`, which makes what it learns from plain settings.

    Before training, where the graph says nothing, and where it was taken away, its vectors are the text's.
    """

    text: Encoder

    @property
    def dim(self) -> int:
        return self.text.dim

    @property
    def blocks(self) -> tuple[tuple[int, float], ...]:
        return self.text.blocks

    @classmethod
    def moved(cls, key: str, place: str) -> str:
        """What to write instead of a key of the encoder that this one stands around."""
        return f"what it stands around is set below [{place}.text], e.g. {place}.text.{key}"

    def without_language_model(self) -> Encoder | None:
        text = self.text.without_language_model()
        return None if text is None else self if text is self.text else self.around(text=text)

    def around(self, **other: Encoder | None) -> Self:
        """The same fusion, unprepared, around other encoders."""
        bare = getattr(type(self), "bare_", type(self))
        names = [name for name in inspect.signature(bare.__init__).parameters if name != "self"]
        return bare(**{name: getattr(self, name) for name in names} | other)

    # --- the contract -----------------------------------------------------------------------------------------------
    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        self.text.prepare(graph, tasks)
        self.settings_ = self.learn(graph, tasks)
        self.assemble(self.settings_)

    def learn(self, graph: Graph, tasks: Sequence[Task]) -> dict[str, Any]:
        """What has to be known of the training view, as plain JSON."""
        raise NotImplementedError

    def assemble(self, settings: dict[str, Any]) -> None:
        """Make the weights. Called after `learn`, and before they are loaded."""
        raise NotImplementedError

    def refresh(self, graph: Graph, new: Mapping[str, NDArray[np.int64]] | None = None) -> None:
        self.text.refresh(graph, new)

    def save(self, folder: Path) -> None:
        """The encoders in it in folders of their own; beside them its own weights."""
        for name, part in self.named_children():
            if isinstance(part, Encoder):
                (folder / name).mkdir(parents=True, exist_ok=True)
                part.save(folder / name)
        (folder / "fusion.json").write_text(json.dumps(self.settings_))
        save_file({name: t.detach().cpu().contiguous() for name, t in self._own().items()}, folder / "fusion.safetensors")

    def load(self, folder: Path) -> None:
        for name, part in self.named_children():
            if isinstance(part, Encoder):
                part.load(folder / name)
        with damage(f"{folder} is no saved fusion '{getattr(type(self), 'bare_', type(self)).__name__.lower()}' or is damaged"):
            self.settings_ = document(folder / "fusion.json")
            self.assemble(self.settings_)
            state, own = load_file(folder / "fusion.safetensors"), self._own()
            if state.keys() != own.keys():
                raise ValueError(f"its weights are {', '.join(sorted(state)) or 'none'}")
            with torch.no_grad():
                for name, tensor in own.items():
                    if state[name].shape != tensor.shape or not state[name].isfinite().all():
                        raise ValueError(f"{name} has the shape {tuple(state[name].shape)} or is not finite")
                    tensor.copy_(state[name])
        self.eval()

    # --- for subclasses ---------------------------------------------------------------------------------------------
    def as_long(self, fused: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """`fused`, each block as long as the text's; as long as the block may be where there is no text. Zero stays zero."""
        parts, widths = [], [width for width, _ in self.blocks]
        for mine, plain, (_, length) in zip(fused.split(widths, 1), text.split(widths, 1), self.blocks, strict=True):
            wanted = plain.detach().norm(dim=1, keepdim=True)
            parts.append(torch.nn.functional.normalize(mine, dim=1) * torch.where(wanted > 0, wanted, float(length)))
        return torch.cat(parts, 1)

    def _own(self) -> dict[str, torch.Tensor]:
        """Parameters and kept buffers that are in none of the encoders in it."""
        inside = tuple(f"{name}." for name, part in self.named_children() if isinstance(part, Encoder))
        return {name: tensor for name, tensor in self.state_dict(keep_vars=True).items() if not name.startswith(inside)}


def named(relations: Sequence[Relation]) -> list[list[str]]:
    """Relations as JSON keeps them; `Relation(*names)` is the way back."""
    return [list(relation) for relation in relations]
