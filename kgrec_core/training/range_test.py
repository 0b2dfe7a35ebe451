"""The learning-rate range test: one short fit whose rate grows with every update says between which rates a loss falls.

(Smith 2017, "Cyclical Learning Rates for Training Neural Networks".) With a warm-up language models are usually tuned at 1e-5 to 5e-5.
"""

from __future__ import annotations

import numpy as np

from kgrec_core.training.failures import Failed
from kgrec_core.training.loop import Learner

FIRST, LAST = 1e-7, 3e-2  # rates
UPDATES = 60


def range_test(learner: Learner, updates: int = UPDATES) -> tuple[list[float], list[float]]:
    """Rates that grow from update to update, and the loss at each; it ends where the loss is four times its lowest, or no number."""
    if not learner.total:
        return [], []
    updates = min(updates, max(learner.total, 2))
    rates, losses = np.geomspace(FIRST, LAST, updates).tolist(), []
    own = [group["lr"] for group in learner.optimizer.param_groups]
    base = max(own) or 1.0
    pretrained = learner.options.lr or base
    for number, rate in enumerate(rates):
        for group in learner.optimizer.param_groups:
            group["lr"] = rate * group.get("initial_lr", base) / pretrained
        try:
            losses.append(learner.update(number % learner.total))
        except Failed:  # what it is to find out: a rate at which the loss is no number
            break
        if losses[-1] > 4 * min(losses):
            break
    return rates[: len(losses)], losses


def steepest(rates: list[float], losses: list[float]) -> list[float] | None:
    """From a tenth of the rate at which the smoothed loss falls fastest to three times it; None where it never falls."""
    if len(losses) < 5:
        return None
    smooth, mean = [], 0.0
    for number, loss in enumerate(losses, 1):  # an exponential mean, corrected for its start
        mean = 0.8 * mean + 0.2 * loss
        smooth.append(mean / (1 - 0.8**number))
    slope = np.gradient(np.array(smooth), np.log(rates))
    place = int(np.argmin(slope[2:])) + 2
    return None if slope[place] >= 0 else [rates[place] / 10, rates[place] * 3]
