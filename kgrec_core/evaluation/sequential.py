"""Whether one of two arms does worse, asked after every outcome, with one error rate for all the asking."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DROPS = (0.1, 0.2, 0.4, 0.8)  # by how much worse it may be, as shares of the other's rate


def evidence(arms: NDArray[np.bool_], outcomes: NDArray[np.bool_], share: float, drops: tuple[float, ...] = DROPS) -> NDArray[np.float64]:
    """(..., n) after each outcome, how strongly all so far speak for arm 1 doing worse than arm 0; 1 = not at all.

    arms, outcomes: (..., n), in their order. share: the probability with which each was drawn for arm 1, independently: one outcome a
    caller where callers are drawn. Where arm 1 is not worse, the evidence ever reaches 1 / alpha with a probability of at most alpha,
    whatever the rates are and however long one looks.

    A mixture sequential probability ratio test (Robbins 1970, Ann. Math. Stat. 41), each ratio an E-variable in the sense of Turner, Ly & Grünwald
    (2024, "Generic E-variables for exact sequential k-sample tests that allow for optional stopping", JSPI 230): p(y; a_g) / p(y; a), with
    supposed rates a_0 > a_1 and a = (1 - share) a_0 + share a_1. If the true ones are t_0 <= t_1, its mean is 1 + (1 - share) c (t_0 - t_1) <= 1 with
    c = a_0 / a - (1 - a_0) / (1 - a) > 0; so the product over outcomes is a supermartingale as long as the a's are set before each outcome, here by
    the rate of both arms so far, and Ville's inequality (1939) bounds its highest value. Averaged over `drops`, it still is one.
    """
    y, arm = outcomes.astype(np.float64), arms.astype(bool)
    before = np.cumsum(y, -1) - y
    rate = (before + 0.5) / (np.arange(y.shape[-1]) + 1.0)
    logs = []
    for drop in drops:
        high = np.minimum(rate / (1 - share * drop), 0.999)
        low, mixed = (1 - drop) * high, (1 - share * drop) * high
        own = np.where(arm, low, high)
        logs.append(np.cumsum(np.where(outcomes, np.log(own / mixed), np.log((1 - own) / (1 - mixed))), -1))
    return np.exp(np.minimum(np.logaddexp.reduce(logs, axis=0) - np.log(len(drops)), 700.0))
