"""What is said of a text is spread to the texts nearest to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_core.teaching.spreading import ROUNDS, STEEP, spread

NONE = np.zeros((0, 2), np.float32), np.zeros((0, 3), np.float32)


def groups(n: int, seed: int = 0) -> np.ndarray:
    """(2 n, 3) vectors around two directions."""
    centres = np.repeat(np.eye(3)[:2], n, axis=0)
    return (centres + 0.1 * np.random.default_rng(seed).normal(size=centres.shape)).astype(np.float32)


def test_one_that_is_wrong_among_many_that_are_right_is_corrected():
    shares = np.repeat(np.array([[0.8, 0.2], [0.2, 0.8]], np.float32), 10, axis=0)
    shares[3] = 0.1, 0.9
    found = spread(shares, groups(10), *NONE, neighbours=5, share=0.8)
    assert found.argmax(1).tolist() == [0] * 10 + [1] * 10
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_a_label_speaks_for_the_texts_around_it():
    unsure = np.full((20, 2), 0.5, np.float32)
    found = spread(unsure, groups(10), np.eye(2, dtype=np.float32), np.eye(3, dtype=np.float32)[:2], neighbours=5, share=0.8)
    assert found.argmax(1).tolist() == [0] * 10 + [1] * 10


@given(st.integers(1, 12), st.integers(0, 4), st.integers(1, 15), st.integers(0, 9))
def test_it_is_the_weighted_mean_of_the_nearest(n, m, neighbours, seed):
    draw = np.random.default_rng(seed)
    shares, labels = (draw.dirichlet(np.ones(3), k).astype(np.float32).reshape(k, 3) for k in (n, m))
    vectors, known = (draw.normal(size=(k, 4)).astype(np.float32) for k in (n, m))
    every = np.concatenate([vectors, known])
    every /= np.linalg.norm(every, axis=1, keepdims=True)
    expected = shares.astype(float)
    for _ in range(ROUNDS):
        said, after = np.concatenate([expected, labels]), []
        for i in range(n):
            apart = 1 - every @ every[i]
            near = [j for j in np.argsort(apart) if j != i][:neighbours]
            if not near:
                return np.testing.assert_array_equal(spread(shares, vectors, labels, known, neighbours, 0.8), shares)
            weight = np.exp(-STEEP * apart[near] / apart[near].mean())
            after.append(0.2 * shares[i] + 0.8 * weight @ said[near] / weight.sum())
        expected = np.array(after)
    np.testing.assert_allclose(spread(shares, vectors, labels, known, neighbours, 0.8), expected, atol=1e-4)


@pytest.mark.parametrize("vectors", [np.zeros((4, 3)), np.ones((4, 3))], ids=["nothing", "all the same"])
def test_texts_that_cannot_be_told_apart(vectors):
    found = spread(np.eye(4, 2, dtype=np.float32), vectors.astype(np.float32), *NONE, neighbours=2, share=0.5)
    assert found.dtype == np.float32 and np.isfinite(found).all()
