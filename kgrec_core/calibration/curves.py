"""P(correct) as a function of scores: logistic (Platt 1999) or isotonic regression of a weighted sum, whichever has the lower loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
METHODS = ("constant", "logistic", "isotonic")
FOLDS, RARE = 5, 10  # isotonic regression is not tried where fewer than RARE are right, or wrong
UNTIED = 0.01  # share of the logistic curve in the isotonic one: its steps would tie answers that the scores tell apart


def fitted(x: Floats, y: NDArray[np.bool_]) -> dict[str, Any]:
    """The fields of a Calibration that say what P is."""
    mean, scale = x.mean(0), x.std(0)
    scale = np.where(scale > 1e-12 * np.maximum(1, np.abs(mean)), scale, 1)
    z, knots = (x - mean) / scale, [[0.0], [(y.sum() + 1) / (len(y) + 2)]]  # the rule of succession, where all are alike
    fields = {"mean": mean.tolist(), "scale": scale.tolist()}
    if y.all() or not y.any():
        return {**fields, "method": "constant", "weights": [0.0] * x.shape[1], "bias": 0.0, "knots": knots, "log_loss": {}}
    method, losses = "logistic", {}
    if min(y.sum(), (~y).sum()) >= RARE:
        losses = _log_losses(z, y)
        method = min(losses, key=losses.__getitem__)
    weights, bias = _logistic(z, y)
    if method == "isotonic":
        knots = _isotonic(z @ weights + bias, y)
    return {**fields, "method": method, "weights": weights.tolist(), "bias": bias, "knots": knots, "log_loss": losses}


def _log_losses(z: Floats, y: NDArray[np.bool_]) -> dict[str, float]:
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold

    p = {"logistic": np.empty(len(y)), "isotonic": np.empty(len(y))}
    for learn, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(z, y):
        weights, bias = _logistic(z[learn], y[learn])
        knots = _isotonic(z[learn] @ weights + bias, y[learn])
        for method, into in p.items():
            into[test] = chance(method, knots, z[test] @ weights + bias)
    return {method: float(log_loss(y, of)) for method, of in p.items()}


def _logistic(z: Floats, y: NDArray[np.bool_]) -> tuple[Floats, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(z, y)
    return model.coef_[0], float(model.intercept_[0])


def _isotonic(total: Floats, y: NDArray[np.bool_]) -> list[list[float]]:
    """Places and heights of the non-decreasing function; never quite 0 or 1, which n examples cannot tell."""
    from sklearn.isotonic import IsotonicRegression

    least = 1 / (len(y) + 2)
    model = IsotonicRegression(y_min=least, y_max=1 - least).fit(total, y)
    return [model.X_thresholds_.tolist(), model.y_thresholds_.tolist()]


def chance(method: str, knots: list[list[float]], total: Floats) -> Floats:
    """(n,) probabilities of (n,) totals, by a curve as it was fitted: "isotonic" with a little of the logistic so that nothing ties, "logistic", or by its knots."""
    from scipy.special import expit

    if method == "isotonic":
        return (1 - UNTIED) * np.interp(total, *knots) + UNTIED * expit(total)
    return expit(total) if method == "logistic" else np.interp(total, *knots)
