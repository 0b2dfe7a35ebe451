"""Distances between samples: nothing where nothing changed, much where something did."""

from __future__ import annotations

import numpy as np

from kgrec_core.evaluation.drift import mmd, psi_categories, psi_numbers


def test_the_same_is_rarely_called_another():
    draw = np.random.default_rng(0)
    alarms = 0
    for _ in range(100):
        before, now = draw.exponential(50, 300).round(), draw.exponential(50, 500).round()
        labels = [draw.choice(list("abcdef"), n).tolist() for n in (300, 500)]
        alarms += psi_numbers(before, now).drifted or psi_categories(*labels).drifted
    assert alarms <= 1


def test_another_is_called_so():
    draw = np.random.default_rng(0)
    before = draw.normal(0, 1, 300)
    assert psi_numbers(before, draw.normal(1, 1, 500)).drifted and psi_numbers(before, draw.normal(0, 3, 500)).drifted
    assert psi_categories(["LATIN"] * 300, ["CJK"] * 100).drifted and not psi_categories(["LATIN"] * 300, ["LATIN"] * 100).drifted
    assert not psi_numbers(np.zeros(300), np.zeros(100)).drifted


def test_vectors():
    draw = np.random.default_rng(0)
    before = draw.normal(size=(200, 8)).astype(np.float32)
    same = [mmd(before, draw.normal(size=(200, 8)).astype(np.float32)) for _ in range(10)]
    assert not any(level.drifted for level in same) and abs(np.mean([level.value for level in same])) < 0.005  # unbiased
    assert mmd(before, draw.normal(0.6, 1, size=(200, 8)).astype(np.float32)).drifted
    assert mmd(before, 3 * draw.normal(size=(200, 8)).astype(np.float32)).drifted
