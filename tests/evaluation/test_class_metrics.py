"""Figures of classes: against scikit-learn, by properties, and on answers whose figures are known."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from kgrec_core.errors import KgrecError
from kgrec_core.evaluation.class_metrics import best, confusions, figures, first, gains, per_class, predicted, right, value
from kgrec_core.evaluation.interval import f1_interval
from kgrec_core.graph import Ragged
from kgrec_core.interfaces import Hits


def lists(*of):
    return Ragged.of(np.repeat(np.arange(len(of)), [len(x) for x in of]), np.concatenate([np.asarray(x, np.int64) for x in of]), len(of))


def one_each(true):
    """A target per query, none where `true` is -1."""
    return lists(*([t] if t >= 0 else [] for t in true))


def world(seed=0, n=300, classes=6, good=0.7):
    draw = np.random.default_rng(seed)
    true = draw.integers(0, classes, n)
    return true, np.where(draw.random(n) < good, true, draw.integers(0, classes + 1, n))


def test_figures_equal_scikit_learn():
    true, guess = world()
    asked = true.copy()
    asked[::7] = -1  # out of scope: left out
    kept, targets = asked >= 0, one_each(asked)
    found = figures(guess, targets)
    assert found["macro_f1"]["mean"] == pytest.approx(f1_score(true[kept], guess[kept], average="macro"))
    assert found["accuracy"]["mean"] == pytest.approx(accuracy_score(true[kept], guess[kept]))
    assert found["macro_f1"]["n"] == found["accuracy"]["n"] == kept.sum()
    assert {m: value(guess, targets, m) for m in found} == pytest.approx({m: f["mean"] for m, f in found.items()})
    classes = per_class(guess, targets)
    theirs = precision_recall_fscore_support(true[kept], guess[kept], zero_division=0)
    for mine, other in zip(classes[1:], theirs, strict=True):
        np.testing.assert_allclose(mine, other)
    assert classes.row.tolist() == list(range(7)) and classes.support.sum() == kept.sum()


def test_any_target_is_right_and_the_first_stands_for_the_class():
    targets = lists([3, 1], [2], [], [1, 3])
    guess = np.array([1, 2, 2, -1])
    np.testing.assert_array_equal(right(guess, targets), [1, 1, np.nan, 0])
    np.testing.assert_array_equal(first(targets), [3, 2, -1, 1])
    np.testing.assert_array_equal(first(lists([], [5], [])), [-1, 5, -1])
    assert confusions(guess, targets) == [(1, -1, 1)]  # row 0 is no confusion: it is right
    classes = per_class(guess, targets)
    assert classes.row.tolist() == [1, 2, 3] and classes.f1.tolist() == [0, 1, 0] and classes.support.tolist() == [1, 1, 1]


def test_the_largest_confusions_come_first():
    true, guess = [0] * 5 + [1] * 4 + [2] * 3, [1] * 3 + [0] * 2 + [2] * 4 + [2] * 3
    assert confusions(np.array(guess), one_each(true)) == [(1, 2, 4), (0, 1, 3)]
    assert confusions(np.array(guess), one_each(true), most=1) == [(1, 2, 4)]


def test_the_top_row_of_hits_is_the_answer():
    assert predicted(Hits(np.array([[4, 2], [-1, -1]]), np.zeros((2, 2), np.float32))).tolist() == [4, -1]
    assert predicted(Hits(np.zeros((2, 0), np.int64), np.zeros((2, 0), np.float32))).tolist() == [-1, -1]


@pytest.mark.parametrize("block", [1, 2, 100])
def test_the_best_that_is_not_excluded(block):
    scores, rows = np.array([[1, 3, 2], [5, 5, 4], [9, 8, 7]], np.float32), np.array([2, 5, 9])

    def score(part):
        return scores[part].copy()

    assert best(score, 3, rows, block=block).tolist() == [5, 2, 2]
    assert best(score, 3, rows, lists([5, 7], [], [2, 5, 9]), block).tolist() == [9, 2, -1]
    assert best(score, 3, rows[:0]).tolist() == [-1, -1, -1]


CELLS = st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 5)), min_size=1, max_size=40)


@settings(max_examples=25)
@given(CELLS, st.integers(0, 100))
def test_an_interval_holds_its_mean_and_order_does_not_matter(cells, seed):
    true, guess = (np.array(column) for column in zip(*cells, strict=True))
    order = np.random.default_rng(seed).permutation(len(true))
    found, moved = figures(guess, one_each(true)), figures(guess[order], one_each(true[order]))
    for name, of in found.items():
        if of["n"]:
            assert 0 <= of["low"] <= of["mean"] <= of["high"] <= 1
            assert of["mean"] == pytest.approx(moved[name]["mean"])
        else:
            assert (true < 0).all() and np.isnan(of["mean"])
    assert found["macro_f1"] == pytest.approx(moved["macro_f1"], nan_ok=True)  # cells, not queries, are drawn
    step = 1.01 / max(1, found["accuracy"]["n"])  # one query more or less, by the drawing alone
    assert found["accuracy"] == pytest.approx(moved["accuracy"], abs=step + 0.02, nan_ok=True)


def test_a_gain_is_paired():
    true, good = world(1, 400, good=0.8)
    poor = np.where(np.random.default_rng(5).random(400) < 0.1, 0, good)
    up, down = gains(good, poor, one_each(true)), gains(poor, good, one_each(true))
    for name in ("accuracy", "macro_f1"):
        assert up[name]["low"] > 0 and not down[name]["low"] > 0
        assert up[name]["mean"] == pytest.approx(value(good, one_each(true), name) - value(poor, one_each(true), name))
        alone = figures(good, one_each(true))[name]
        assert up[name]["high"] - up[name]["low"] < alone["high"] - alone["low"]
    assert gains(good, good, one_each(true))["macro_f1"]["high"] == 0


def test_77_classes_take_seconds():
    true, good = world(2, 3_080, 77, 0.85)
    began = time.process_time()
    figures(good, one_each(true))
    assert time.process_time() - began < 5


def test_an_unknown_metric_is_named():
    with pytest.raises(KgrecError, match="did you mean 'macro_f1'"):
        value(np.zeros(1, np.int64), lists([0]), "macro-f1")


def test_an_interval_that_resampling_pushes_off_its_mean_is_widened():
    """200 classes of three queries: a resample holds some twice, which costs their F1 more than it wins elsewhere."""
    query = np.arange(600)
    true = query // 3
    guess = np.where(query % 3 == 0, (true + 1) % 200, true)
    assert f1_interval(guess, true)["high"] < value(guess, one_each(true), "macro_f1")
    assert figures(guess, one_each(true))["macro_f1"]["high"] == pytest.approx(2 / 3)
