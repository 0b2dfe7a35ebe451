"""`train.freeze`: what of the language model stays as it came."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from torch import nn
from transformers import PreTrainedModel

from kgrec_core.errors import KgrecError
from kgrec_core.training.layers import below, depths, language_models, layers
from kgrec_core.training.optimiser import pretrained
from kgrec_core.training.technique import Technique

if TYPE_CHECKING:
    from kgrec_core.training.loop import Learner


class Freezing(Technique):
    """ "all": what came pretrained, the heads alone learn; "embeddings"; a number: these and so many of the lowest layers.

    "gradual": the highest layer learns first, one more with every equal share of the updates, the embeddings last (Howard and Ruder 2018, ULMFiT).
    """

    def __init__(self, which: int | str) -> None:
        self.which = which
        self.before_: list[tuple[nn.Parameter, bool]] = []

    def begin(self, learner: Learner) -> None:
        models = language_models(learner.encoder, "train.freeze")
        self.before_ = [(p, p.requires_grad) for p in pretrained(learner.encoder)]
        self.depths_ = {p: depth for model in models for p, depth in depths(model).items()}
        self.stages_ = 1 + max(self.depths_.values())
        if self.which == "all":
            still = [p for p, _ in self.before_]
        elif self.which == "gradual":
            still = []
        else:
            many = self.which if isinstance(self.which, int) else 0
            still = [p for model in models for part in _still(model, many) for p in part.parameters()]
        for p in still:
            p.requires_grad_(False)

    def before(self, learner: Learner, number: int) -> None:
        if self.which == "gradual":
            bounds = [*learner.starts.values(), learner.planned]
            start, end = next((a, b) for a, b in itertools.pairwise(bounds) if a <= number < b)
            opened = (number - start) * self.stages_ // (end - start)
            for p, learned in self.before_:
                if learned and self.depths_.get(p, 0) > opened:
                    p.requires_grad_(False)

    def end(self, learner: Learner) -> None:
        for p, learned in self.before_:
            p.requires_grad_(learned)


def _still(model: PreTrainedModel, many: int) -> list[nn.Module]:
    """The embeddings and so many of the lowest layers; with all of them the whole model, whose pooler is used by nobody."""
    every = list(layers(model))
    if not 0 <= many <= len(every):
        raise KgrecError(
            f'train.freeze = {many}: the language model has {len(every)} layers; choose 0 to {len(every)}, "embeddings", "gradual" or "all"'
        )
    return [model] if many == len(every) else [below(model), *every[:many]]
