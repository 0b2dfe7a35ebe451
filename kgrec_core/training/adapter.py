"""`train.adapter`: a few new weights learn in the language model's place, and are merged into it at the end where that can be.

[train.adapter]
kind = "lora"      # or "prefix", "bottleneck", any type of peft's; further keys are those of its own configuration
r = 16
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from kgrec_core.errors import KgrecError, choices
from kgrec_core.stored import document
from kgrec_core.training import bottleneck
from kgrec_core.training.layers import language_models, layers
from kgrec_core.training.technique import Technique

if TYPE_CHECKING:
    from kgrec_core.training.loop import Learner

SHORT = {"prefix": "prefix_tuning", "prompt": "prompt_tuning"}
USUAL = ("lora", "ia3", *SHORT, *SHORT.values())  # types of peft's that are known to end well


class Adapter(Technique):
    """Around or inside every language model of the encoder. Its weights are new, so they learn at `train.head_lr`; one that stands beside the
    model since an earlier fit learns on.

    At the end they are merged where their kind can be (LoRA: Hu et al. 2021; and most of peft's): what is published is a plain model. Others,
    a prefix (Li and Liang 2021) and a bottleneck among them, stay beside it.
    """

    def __init__(self, settings: Mapping[str, Any], seed: int) -> None:
        self.settings, self.seed = settings, seed

    def begin(self, learner: Learner) -> None:
        for model in language_models(learner.encoder, "train.adapter"):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                if not stands(model):
                    attach(learner.encoder, model, self.settings)
            learner.came -= set(_tensors(model.adapter_, model).values())

    def end(self, learner: Learner) -> None:
        for model in language_models(learner.encoder):
            merge(learner.encoder, model)


class Alone(NamedTuple):
    """An adapter without its model. config: peft's."""

    tensors: dict[str, torch.Tensor]
    config: Any


@dataclass
class Attached:
    """What a language model knows of its adapter. around: peft's module in its place; None = merged, or inside of it.

    before: which of its weights learned without. alone: once merged, the adapter as peft keeps it; of every member, where it is a mean of several.
    """

    settings: dict[str, Any]
    around: list[nn.Module] = field(default_factory=list)  # a list, so that the model does not contain what contains it
    before: list[tuple[nn.Parameter, bool]] = field(default_factory=list)
    alone: list[Alone] = field(default_factory=list)
    merged: bool = False


def attach(root: nn.Module, model: PreTrainedModel, settings: Mapping[str, Any]) -> None:
    """Put an adapter into `root`, in or around its language model. Raises KgrecError for a kind, a key or a layer that there is not."""
    kind, rest = str(settings.get("kind", "")).lower(), {key: value for key, value in settings.items() if key != "kind"}
    _check_layers(model, rest)
    found = Attached(dict(settings), before=[(p, p.requires_grad) for p in model.parameters()])
    if kind == "bottleneck":
        if unknown := next((key for key in rest if key not in ("width", "layers")), None):
            raise choices("key of [train.adapter] with kind bottleneck", unknown, ("width", "layers"))
        bottleneck.attach(model, rest.get("width", 32), rest.get("layers"))
    else:
        found.around = [_peft(model, kind, rest)]
        _put(root, model, found.around[0])
    model.adapter_ = found


def merge(root: nn.Module, model: PreTrainedModel) -> None:
    """The adapter becomes part of the model's own weights, where its kind can be; else it stays."""
    found = getattr(model, "adapter_", None)
    if found is None or not found.around:
        return
    from peft import get_peft_model_state_dict

    around = found.around[0]
    try:
        own = get_peft_model_state_dict(around, save_embedding_layers=False)
        alone = Alone({name: value.detach().cpu().clone() for name, value in own.items()}, next(iter(around.peft_config.values())))
        plain = around.merge_and_unload()
    except (AttributeError, NotImplementedError, ValueError):
        return
    _put(root, around, plain)
    found.around, found.alone, found.merged = [], [alone], True
    _open(found)


def stands(model: PreTrainedModel) -> bool:
    """Whether it has an adapter that is no part of its own weights."""
    return hasattr(model, "adapter_") and not model.adapter_.merged


def alone(root: nn.Module) -> list[list[Alone]]:
    """What was merged into every language model."""
    return [found.alone for found in _merged(root)]


def keep(root: nn.Module, members: Sequence[list[list[Alone]]]) -> None:
    """The weights are the mean of models into which these were merged: each is kept, as no one of them has that mean."""
    for number, found in enumerate(_merged(root)):
        found.alone = [one for member in members for one in member[number]]


def remove(root: nn.Module) -> None:
    """Without an adapter, as if there had been none: one that was merged is only forgotten, weights are put back by who has them."""
    for model in language_models(root):
        found = vars(model).pop("adapter_", None)
        if found is not None and not found.merged:
            if found.around:
                around = found.around[0]
                _put(root, around, around.unload() if hasattr(around, "unload") else model)
            bottleneck.detach(model)
            _open(found)


def refuse(root: nn.Module, settings: Mapping[str, Any]) -> None:
    """Raises KgrecError for an adapter that the language models cannot have, which is better known before a fit has computed anything."""
    if settings:
        with torch.random.fork_rng(devices=[]):
            try:
                for model in language_models(root, "train.adapter"):
                    attach(root, model, settings)
            finally:
                remove(root)


@contextmanager
def aside(root: nn.Module) -> Iterator[None]:
    """Meanwhile the root's language models are plain, and can be saved as such."""
    around = [(model, found.around[0]) for model in language_models(root) if (found := getattr(model, "adapter_", None)) and found.around]
    inside = [
        (parent, name, child)
        for parent in root.modules()
        for name, child in parent.named_children()
        if isinstance(child, bottleneck.Bottleneck)
    ]
    for model, wrapped in around:
        _put(root, wrapped, model)
    for parent, name, child in inside:
        setattr(parent, name, child.base)
    try:
        yield
    finally:
        for parent, name, child in inside:
            setattr(parent, name, child)
        for model, wrapped in around:
            _put(root, model, wrapped)


def save(root: nn.Module, folder: Path) -> None:
    """The adapter alone, where the root has one: peft's own files, and what its recipe said. Of several members each in a folder."""
    for model in language_models(root):
        if found := getattr(model, "adapter_", None):
            folder.mkdir(parents=True, exist_ok=True)
            config = next(iter(found.around[0].peft_config.values())) if found.around else None
            every = found.alone or [Alone(_tensors(found, model), config)]
            for number, (tensors, config) in enumerate(every):
                place = folder if len(every) == 1 else folder / f"member-{number}"
                place.mkdir(exist_ok=True)
                save_file({n: t.detach().cpu().contiguous().clone() for n, t in tensors.items()}, place / "adapter_model.safetensors")
                if config is not None:
                    config.save_pretrained(str(place))
            (folder / "kgrec.json").write_text(json.dumps({"settings": found.settings, "merged": found.merged, "members": len(every)}))


def load(root: nn.Module, folder: Path) -> None:
    """Put back an adapter that `save` wrote and that is not part of the model's weights. Raises KgrecError where it is damaged."""
    if not (folder / "kgrec.json").exists():
        return
    try:
        kept = document(folder / "kgrec.json")
        if kept["merged"]:
            return
        tensors = load_file(folder / "adapter_model.safetensors")
        for model in language_models(root):
            attach(root, model, kept["settings"])
            mine = _tensors(model.adapter_, model)
            if mine.keys() != tensors.keys() or not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
                raise ValueError("its weights are others")
            with torch.no_grad():
                for name, weight in mine.items():
                    weight.copy_(tensors[name])
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise KgrecError(f"{folder}: the adapter is missing or damaged ({str(error)[:120]}); fit again or restore the folder") from error


def _peft(model: PreTrainedModel, kind: str, rest: Mapping[str, Any]) -> nn.Module:
    """peft's module around the model."""
    try:
        from peft import PEFT_TYPE_TO_CONFIG_MAPPING, get_peft_model
    except ImportError as error:
        raise KgrecError(f'train.adapter.kind = "{kind}" needs peft; pip install peft, or choose "bottleneck"') from error
    kinds = {str(getattr(k, "value", k)).lower(): config for k, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    config = kinds.get(SHORT.get(kind, kind))
    if config is None:
        raise choices("kind of [train.adapter]", kind, [*kinds, *SHORT, "bottleneck"])
    known = {f.name for f in fields(config)}
    if unknown := next((key for key in rest if key not in known), None):
        raise choices(f"key of [train.adapter] with kind {kind}", unknown, known, f"they are those of peft's {config.__name__}")
    prompt = {"task_type": "FEATURE_EXTRACTION", "num_virtual_tokens": 10} if "num_virtual_tokens" in known else {}
    try:
        with warnings.catch_warnings():  # peft asks for something by its old name
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            around = get_peft_model(model, config(**prompt | dict(rest)))
        if kind not in USUAL:
            _rehearse(copy.deepcopy(around))
        return around
    except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError, RuntimeError) as error:
        inside = sorted({name.rpartition(".")[2] for name, m in model.named_modules() if isinstance(m, nn.Linear)})
        raise KgrecError(
            f"train.adapter: peft cannot put {kind} into this model ({' '.join(str(error).split())[:160] or type(error).__name__}); its modules are {', '.join(inside)}"
        ) from error


@torch.no_grad()
def _rehearse(around: nn.Module) -> None:
    """What a type lacks in a pass (a number of the task, adapters to mix) or cannot do at the end is found before anything is learned.

    What stands inside of the layers must be merged, or the published model would not be a plain one. Raises whatever peft raises.
    """
    word = torch.zeros(1, 2, dtype=torch.long, device=next(around.parameters()).device)
    around(input_ids=word, attention_mask=torch.ones_like(word))
    if not around.active_peft_config.is_prompt_learning:
        around.merge_and_unload()


def _check_layers(model: PreTrainedModel, rest: Mapping[str, Any]) -> None:
    many = len(layers(model))
    for key in ("layers", "layers_to_transform"):
        wanted = rest.get(key)
        for number in [wanted] if isinstance(wanted, int) else wanted or ():
            if number not in range(many):
                raise KgrecError(f"train.adapter.{key}: the language model has no layer {number}; it has 0 to {many - 1}, the lowest first")


def _tensors(found: Attached, model: PreTrainedModel | None = None) -> dict[str, torch.Tensor]:
    """The adapter's own weights by name, as they are in the module."""
    of = found.around[0] if found.around else model
    assert of is not None
    own = {id(p) for p, _ in found.before}
    return {name: p for name, p in of.named_parameters() if id(p) not in own}


def _put(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """In the place of a module below the root another one."""
    for parent in list(root.modules()):
        for name, child in list(parent.named_children()):
            if child is old and parent is not new:
                parent._modules[name] = new


def _merged(root: nn.Module) -> list[Attached]:
    return [found for model in language_models(root) if (found := getattr(model, "adapter_", None)) and found.merged]


def _open(found: Attached) -> None:
    for weight, learned in found.before:
        weight.requires_grad_(learned)
