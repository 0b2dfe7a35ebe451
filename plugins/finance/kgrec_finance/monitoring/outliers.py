"""What of a history stands too far above the rest to be chance: true events, which must not teach a monitor what is usual.

The bulk of all scores of a detector, of which events are a small part, has a tail that falls about exponentially (scores are nats or
-log10 of probabilities); two of its quantiles say how fast. What lies where not one score in `RARE` histories would lie is set apart,
with all windows around it in which its series is high, and the rest is looked at again, since what stood out hid what stands out less
(a backward selection of outliers: Rosner 1983, "Percentage points for a generalized ESD many-outlier procedure", in spirit).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

RARE = 0.05  # scores beyond the bound that chance gives in a history
ROUNDS = 10
STEEPEST = 0.25  # scale of the tail at least


def bound(values: NDArray[np.float64]) -> tuple[float, float]:
    """(high, far) of (windows, series) scores, nan left out: what about every second window has, and what none has by chance."""
    ordered = np.sort(values[np.isfinite(values)])[::-1]
    low = min(int(2.5 * len(values)), len(ordered) // 2)
    if low < 10:  # too few to know their tail
        return np.inf, np.inf
    high = max(low // 5, 1)
    scale = max((ordered[high - 1] - ordered[low - 1]) / np.log(low / high), STEEPEST)
    return float(ordered[high - 1]), float(ordered[low - 1] + scale * np.log(low / RARE))


def set_apart(scores: Mapping[str, NDArray[np.float64]], gap: int) -> tuple[dict[str, NDArray[np.float64]], dict[str, float], int]:
    """(the scores with nan where events are, detector -> score from which a window is far, how many events).

    scores: detector -> (windows, series). gap: windows between which high ones belong together, and after them that are left out, too.
    """
    kept, count = {name: np.array(values, float) for name, values in scores.items()}, 0
    for _ in range(ROUNDS):
        bounds = {name: bound(values) for name, values in kept.items()}
        high, far = (np.any([kept[name] >= of[i] for name, of in bounds.items()], 0) for i in (0, 1))
        if not far.any():
            break
        for series in np.flatnonzero(far.any(0)):
            at = np.flatnonzero(high[:, series] | far[:, series])
            for group in np.split(at, np.flatnonzero(np.diff(at) > gap + 1) + 1):
                if far[group, series].any():
                    count += 1
                    for values in kept.values():
                        values[group[0] : group[-1] + 1 + gap, series] = np.nan
    return kept, {name: of[1] for name, of in bounds.items()}, count
