"""`train.fgm`: every batch is learned a second time with word embeddings moved a little to where its loss is higher."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from kgrec_core.errors import KgrecError
from kgrec_core.training.layers import language_models
from kgrec_core.training.technique import Technique

if TYPE_CHECKING:
    from kgrec_core.training.loop import Learner


class Fgm(Technique):
    """The fast gradient method on the embeddings (Miyato et al. 2017, "Adversarial Training Methods for Semi-Supervised Text Classification").

    The embeddings of the batch's words move along their gradient, `epsilon` long in all; the gradients there are added. Twice the time.
    """

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def begin(self, learner: Learner) -> None:
        self.words_ = [model.get_input_embeddings().weight for model in language_models(learner.encoder, "train.fgm")]
        if not all(weight.requires_grad for weight in self.words_):
            raise KgrecError(
                "train.fgm moves the word embeddings, which are frozen; remove train_layers, train.freeze or train.adapter, or train.fgm"
            )

    def gradients(self, learner: Learner, again: Callable[[], float]) -> None:
        moved = []
        with torch.no_grad():
            for weight in self.words_:
                if weight.grad is not None and bool((norm := weight.grad.norm()) > 0) and bool(torch.isfinite(norm)):
                    rows = weight.grad.abs().sum(1).nonzero()[:, 0]
                    moved.append((weight, rows, weight[rows].clone()))
                    weight[rows] += self.epsilon * weight.grad[rows] / norm
        if moved:
            again()
        with torch.no_grad():
            for weight, rows, before in moved:
                weight[rows] = before
