"""What a pass through the model costs: the numbers it computes in, what it keeps for its gradients, and whether it is compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from kgrec_core import devices
from kgrec_core.errors import KgrecError
from kgrec_core.training.layers import language_models
from kgrec_core.training.options import Train
from kgrec_core.training.technique import Technique

if TYPE_CHECKING:
    from kgrec_core.training.loop import Learner


def refuse_precision(options: Train) -> None:
    """Raises KgrecError for one that this process's device has not."""
    device = devices.device()
    if options.precision in ("fp16", "tf32") and device.type != "cuda":
        raise KgrecError(f'train.precision = "{options.precision}" needs a CUDA device and this is {device.type}; choose "fp32" or "bf16"')


def accelerator(options: Train) -> Accelerator:
    """Of this process's device, in the precision of `train.precision`. Raises KgrecError for one that the device has not."""
    refuse_precision(options)
    device = devices.device()
    AcceleratorState._reset_state()  # it would refuse another precision than that of an earlier fit of this process
    return Accelerator(
        cpu=device.type == "cpu",
        device_placement=False,
        mixed_precision=options.precision if options.precision in ("bf16", "fp16") else "no",
    )


class Tf32(Technique):
    """Products of float32 matrices in TensorFloat-32 while it is learned; afterwards as it was."""

    def begin(self, learner: Learner) -> None:
        self.before_ = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")

    def end(self, learner: Learner) -> None:
        torch.set_float32_matmul_precision(self.before_)


class Checkpointing(Technique):
    """Layers keep only what goes into them and are computed again for their gradients: the same numbers, a third more time.

    (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".)
    """

    def begin(self, learner: Learner) -> None:
        for model in language_models(learner.encoder, "train.gradient_checkpointing"):
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)({"use_reentrant": False})
            model.disable_input_require_grads()  # asked for by re-entrant checkpoints alone: frozen layers would have gradients

    def end(self, learner: Learner) -> None:
        for model in language_models(learner.encoder):
            getattr(model, "activation_checkpointing_disable", model.gradient_checkpointing_disable)()


class Compiled(Technique):
    """The language model as one compiled graph for batches of any shape; the first passes take a minute or so."""

    backend = "inductor"

    def begin(self, learner: Learner) -> None:
        for model in language_models(learner.encoder, "train.compile"):
            model.compile(dynamic=True, backend=self.backend)

    def end(self, learner: Learner) -> None:
        for model in language_models(learner.encoder):
            model._compiled_call_impl = None  # Module.compile has no inverse
