"""What `/v1/embeddings` gives: vectors of texts by the run's own text tower, as one that reads a text without its history."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kgrec_core.encoder.tower import Tower
from kgrec_core.errors import KgrecError
from kgrec_core.run.snapshot import Snapshot


def vectors(snapshot: Snapshot, texts: Sequence[str]) -> list[list[float]]:
    """(n, d) of the first text tower inside the run's encoder. Raises KgrecError where there is none."""
    tower = next((part for part in snapshot.model.encoder.modules() if isinstance(part, Tower)), None)
    if tower is None:
        raise KgrecError(f"{snapshot.folder} has no text encoder, so there are no vectors of texts")
    with torch.inference_mode():
        return tower(list(texts)).cpu().tolist()
