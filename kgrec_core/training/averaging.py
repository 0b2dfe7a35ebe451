"""`train.average`: the mean of the weights on their way is validated and published, which costs nothing when served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch

from kgrec_core.training.technique import Technique

if TYPE_CHECKING:
    from kgrec_core.training.loop import Learner


class Averaging(Technique):
    """ "ema": every update moves the mean by 1 - decay, faster in the beginning; "swa": the plain mean of the last updates.

    (Polyak and Juditsky 1992; Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization".) EMA is the one to
    try first; SWA wants a rate that stays high, schedule = "constant". Before there is a mean, the weights themselves are validated.

    share: of all updates that are averaged by "swa", the last ones.
    """

    def __init__(self, kind: Literal["ema", "swa"], decay: float, share: float) -> None:
        self.kind, self.decay, self.share = kind, decay, share
        self.mean: dict[str, torch.Tensor] = {}
        self.seen = 0

    def after(self, learner: Learner, number: int) -> None:
        if self.kind == "swa" and number < (1 - self.share) * learner.planned:
            return
        self.seen += 1
        step = 1 / self.seen if self.kind == "swa" else 1 - min(self.decay, self.seen / (self.seen + 9))
        with torch.no_grad():
            for name, weight in learner.learning().items():
                mean = self.mean.get(name, weight.detach().float()).to(weight.device)
                self.mean[name] = mean.lerp(weight.float(), step)

    def weights(self, learner: Learner) -> dict[str, torch.Tensor]:
        return {name: mean.to("cpu", copy=True) for name, mean in self.mean.items()}

    def state(self) -> dict[str, Any]:
        return {"mean": {name: mean.cpu() for name, mean in self.mean.items()}, "seen": self.seen}

    def load(self, state: Mapping[str, Any]) -> None:
        self.mean, self.seen = dict(state["mean"]), state["seen"]
