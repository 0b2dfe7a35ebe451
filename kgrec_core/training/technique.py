"""What may stand around an update. The loop walks over the techniques that a recipe names; `table` says which there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from kgrec_core.training.objective import Objective

if TYPE_CHECKING:
    from kgrec_core.training.loop import Learner


class Technique:
    """One idea, in hooks that all do nothing here. What it does hangs on the update's number and its state alone: a resumed fit is the same.

    key: of the recipe, by which it was asked for. Constructors only store; `begin` may raise KgrecError where the model has not what the technique needs.
    """

    key: str = ""

    def begin(self, learner: Learner) -> None:
        """Once, before the optimizer is made: what changes the model, or which of its weights learn."""

    def around(self, objective: Objective) -> Objective:
        """What is learned from in an objective's place."""
        return objective

    def before(self, learner: Learner, number: int) -> None:
        """Before update `number`, its phase's weights open."""

    def gradients(self, learner: Learner, again: Callable[[], float]) -> None:
        """The batch's gradients are there; again() adds them once more, of the weights as they are then."""

    def after(self, learner: Learner, number: int) -> None:
        """The weights have changed."""

    def refreshed(self, learner: Learner) -> None:
        """The encoder's tables are of the present weights, of which the next updates are made: at the start and after every validation."""

    def weights(self, learner: Learner) -> dict[str, torch.Tensor]:
        """What is validated and published in place of weights as they are, by the names of `Learner.weights`."""
        return {}

    def state(self) -> dict[str, Any]:
        """What a resumed fit needs: tensors and plain values."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` gave."""

    def end(self, learner: Learner) -> None:
        """Once, the best weights in place: the model becomes plain again."""
