"""Labels that are only a description: which of them a text is nearest to, with no labelled article at all (zero-shot).

The pretrained model is asked, not a fine-tuned one: what a fit for sentiment keeps apart are sentiments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec_core import KgrecError
from kgrec_core.parts import load_model as load

TEMPERATURE = 0.05  # of cosines, as the heads have it


def described(texts: Sequence[str], meanings: Sequence[str], encoder: Mapping[str, Any]) -> NDArray[np.float64]:
    """(n, m) probabilities: the softmax of the cosines between texts and what labels mean. Not calibrated.

    encoder: a recipe's [encoder], whose model and prefixes are used. Raises KgrecError where it names no model.
    """
    named = _with_model(encoder)
    if named is None:
        raise KgrecError('the recipe\'s encoder has no language model to read descriptions with; set encoder.use = "text"')
    model = load(named["model"], named.get("max_length"))
    of, to = (
        model.encode([named.get(prefix, "") + text for text in side], normalize_embeddings=True, show_progress_bar=False)
        for prefix, side in (("query_prefix", texts), ("candidate_prefix", meanings))
    )
    logits = (of @ to.T).astype(np.float64) / TEMPERATURE
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def _with_model(table: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first table, at any depth, that names a model."""
    if "model" in table:
        return table
    return next((found for part in table.values() if isinstance(part, Mapping) and (found := _with_model(part))), None)
