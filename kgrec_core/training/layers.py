"""Where in a language model a weight stands: its embeddings, its layers from the lowest, and what is above them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from transformers import PreTrainedModel

from kgrec_core.errors import KgrecError


def language_models(module: nn.Module, who: str = "") -> list[PreTrainedModel]:
    """The pretrained models in a module, each the outermost of its kind.

    who: the setting that needs one; given, KgrecError is raised where there is none.
    """
    found, inner = [], set()
    for part in module.modules():
        if isinstance(part, PreTrainedModel) and id(part) not in inner:
            found.append(part)
            inner |= {id(m) for m in part.modules()}
    if who and not found:
        raise KgrecError(f'{who}: the encoder has no language model in it; remove the key, or put a "text" encoder into [encoder]')
    return found


def layers(module: nn.Module) -> Sequence[nn.Module]:
    """The transformer's layers from the lowest up: its longest list of modules; () where it has none."""
    stacks = [m for m in module.modules() if isinstance(m, nn.ModuleList) and len(m)]
    return list(max(stacks, key=len)) if stacks else ()


def below(model: PreTrainedModel) -> nn.Module:
    """What stands below the layers: the embeddings of words, with those of places and their norm where the model keeps them together."""
    words = model.get_input_embeddings()
    holder = next((child for _, child in model.named_children() if any(m is words for m in child.modules())), words)
    return words if layers(holder) else holder


def depths(model: PreTrainedModel) -> dict[nn.Parameter, int]:
    """How many layers stand above each weight: 0 of what is above the highest and in it, as many as there are layers of the embeddings."""
    every = layers(model)
    found = dict.fromkeys(model.parameters(), 0)
    found |= {p: len(every) - 1 - i for i, layer in enumerate(every) for p in layer.parameters()}
    return found | dict.fromkeys(below(model).parameters(), len(every))
