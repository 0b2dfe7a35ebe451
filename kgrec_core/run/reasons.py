"""What speaks for an answer, in words: the channels that place it highest among the answers to the same query."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kgrec_core.interfaces import Retrieval

MOST = 2  # channels that are named
SHARE = 0.5  # of the best answer's score, less does not speak for it


def phrases(retrieval: Retrieval) -> dict[str, str]:
    """Channel -> what its kind says, of those that say something; of a merge within another each channel speaks for itself."""
    found: dict[str, str] = {}
    for part in retrieval.inside():
        found |= {name: channel.says for name, channel in getattr(part, "channels", {}).items() if channel.says}
    return found


def reasons(said: Mapping[str, str], columns: Mapping[str, NDArray[np.float32]], n: int) -> list[str]:
    """(n,) a few words for each answer to one query. columns: what every channel thought of them, (n,) each, NaN or 0 for nothing."""
    shares = {}
    for name, phrase in said.items():
        values = np.asarray(columns.get(name, np.zeros(n)), np.float64)
        values = np.where(np.isfinite(values), values, 0.0)
        if values.max(initial=0) > 0:
            shares[phrase] = np.maximum(shares.get(phrase, 0.0), values / values.max())
    found = []
    for i in range(n):
        best = sorted(((share[i], phrase) for phrase, share in shares.items() if share[i] >= SHARE), key=lambda pair: -pair[0])
        found.append(", ".join(phrase for _, phrase in best[:MOST]))
    return found
