"""P(correct) on simulated answers whose chances are known, the promise of a budget on fresh data, and the measures by hand."""

import json
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from kgrec_core.calibration.calibration import (
    Calibration,
    auroc,
    calibrate,
    upper_bound,
)
from kgrec_core.calibration.confidence import right
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Ragged
from kgrec_core.interfaces import Hits


def answers(draw, n, shape=expit):
    """Top score, margin and a column of noise; the chance that the answer is right depends on the first two."""
    x = np.stack([draw.normal(0.6, 0.1, n), draw.exponential(0.1, n), draw.normal(0, 5, n)], 1)
    chance = shape(12 * (x[:, 0] - 0.6) + 25 * (x[:, 1] - 0.1) + 2.0)
    return x, draw.random(n) < chance, chance


def steps(z):
    """Far from a logistic curve: a quarter of the answers is hopeless, the others are almost always right."""
    return np.where(z < 0.5, 0.05, np.where(z < 2, 0.9, 0.995))


@pytest.mark.parametrize(("shape", "method"), [(expit, "logistic"), (steps, "isotonic")])
def test_probabilities_are_those_of_the_simulation(shape, method):
    x, correct, _ = answers(np.random.default_rng(0), 4_000, shape)
    made = calibrate(x, correct)
    assert made.method == method == min(made.log_loss, key=made.log_loss.get)
    fresh, _, chance = answers(np.random.default_rng(1), 20_000, shape)
    p = made.probability(fresh)
    assert np.abs(p - chance).mean() < 0.03
    assert ((p >= 0) & (p <= 1)).all()


def test_a_flat_step_does_not_tie_what_the_scores_tell_apart():
    x, correct, _ = answers(np.random.default_rng(0), 4_000, steps)
    made = calibrate(x, correct)
    fresh, *_ = answers(np.random.default_rng(1), 2_000, steps)
    assert made.method == "isotonic" and len(np.unique(made.probability(fresh))) == 2_000


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.booleans())
def test_a_single_score_gives_a_monotone_probability(seed, upside_down):
    draw = np.random.default_rng(seed)
    score = draw.normal(size=200)
    correct = draw.random(200) < (steps if seed % 2 else expit)(2 * score + 1)
    made = calibrate(-score if upside_down else score, correct)
    p = made.probability(np.linspace(-4, 4, 100))
    assert (np.diff(-p if upside_down else p) >= 0).all()


@pytest.mark.parametrize(("shape", "budget"), [(expit, 0.05), (steps, 0.03)])
def test_the_budget_holds_on_fresh_data(shape, budget):
    """200 fits: no more of them break the budget than the 5 % that may, by a binomial test, and it is not bought by never answering."""
    fresh, right, _ = answers(np.random.default_rng(10_000), 20_000, shape)
    held, coverage = [], []
    for seed in range(200):
        x, correct, _ = answers(np.random.default_rng(seed), 1_500, shape)
        made = calibrate(x, correct, budget, seed=seed)
        answered = made.probability(fresh) >= made.answers_from
        held.append(bool(not answered.any() or (~right[answered]).mean() <= budget))
        coverage.append(answered.mean())
    assert binomtest(held.count(False), len(held), 0.05, alternative="greater").pvalue > 0.01
    assert np.mean(coverage) > 0.3  # of .48 and .57 that one could answer who knew the chances


def test_a_threshold_is_the_lowest_that_the_tests_reach():
    x, correct, _ = answers(np.random.default_rng(3), 2_000)
    made = calibrate(x, correct)
    found = made.guarantee(0.05)
    last = [row[0] for row in made.counts].index(found.threshold)
    bounds = [upper_bound(int(wrong), int(n), 0.95) for _, _, _, n, wrong, _ in made.counts[last : last + 2]]
    assert bounds[0] == found.bound <= 0.05 < bounds[1]
    assert made.threshold(0.05) == found.threshold and f"{found.wrong:,} of {found.answered:,} wrong" in str(found)
    strict, loose = made.guarantee(0.03), made.guarantee(0.2)
    assert strict.threshold > found.threshold > loose.threshold and strict.answered < found.answered < loose.answered
    assert made.guarantee(0.05, confidence=0.999).threshold > found.threshold
    assert calibrate(x, correct, 0.05).answers_from == found.threshold and made.answers_from == 0


def test_where_no_threshold_keeps_the_budget_it_says_so_and_never_answers(caplog):
    draw = np.random.default_rng(0)
    score = draw.normal(size=500)
    with caplog.at_level(logging.WARNING, "kgrec"):
        made = calibrate(score, draw.random(500) < 0.5, 0.01)
    assert "never answers: no threshold keeps the budget on 333 queries" in caplog.text
    assert made.answers_from > 1 and made.threshold(0.01) > made.probability(score).max()
    # Always right, but 40 answers cannot show that at most 3 % are wrong; 300 can.
    assert calibrate(score[:60], np.ones(60, bool), 0.03).answers_from > 1
    always = calibrate(score, np.ones(500, bool), 0.03)
    assert always.method == "constant" and (always.probability(score) >= always.answers_from).all()


@pytest.mark.parametrize("shape", [expit, steps])
def test_json_and_back(shape):
    x, correct, _ = answers(np.random.default_rng(2), 1_000, shape)
    made = calibrate(x, correct, 0.05)
    again = Calibration.from_json(json.loads(json.dumps(made.to_json())))
    assert again == made and again.guarantee() == made.guarantee()
    np.testing.assert_array_equal(again.probability(x), made.probability(x))
    state = made.to_json()
    lacking = {key: value for key, value in state.items() if key != "bias"}
    for wrong in (
        {**state, "weights": [1.0]},
        {**state, "method": "guess"},
        {**state, "scale": [0.0] * 3},
        lacking,
        {**state, "more": 1},
        [],
    ):
        with pytest.raises(KgrecError, match="fit again"):
            Calibration.from_json(wrong)


def test_what_cannot_be_calibrated_is_named():
    score = np.linspace(0, 1, 59)
    with pytest.raises(KgrecError, match="59 answered queries are too few to learn from, at least 60"):
        calibrate(score, score > 0.5)
    holes = np.append(score, [np.inf, np.nan])
    with pytest.raises(KgrecError, match="59 answered queries"):
        calibrate(holes, holes > 0.5)
    with pytest.raises(KgrecError, match=r"`correct` has shape \(58,\)"):
        calibrate(score, score[1:] > 0.5)
    made = calibrate(np.arange(100.0), np.arange(100) % 3 > 0)
    with pytest.raises(KgrecError, match="2 scores per query, but it was fitted on 1"):
        made.probability(np.zeros((3, 2)))
    for budget in (None, 0, 3):
        with pytest.raises(KgrecError, match="is no share between 0 and 1"):
            made.threshold(budget)


def test_what_was_not_found_is_never_sure():
    x, correct, _ = answers(np.random.default_rng(2), 400)
    x[::10], correct[::10] = -np.inf, False
    made = calibrate(x, correct)
    assert (made.probability(x)[::10] == 0).all() and made.tested == 266
    assert made.counts[-1][3] <= np.isfinite(x).all(1).sum() * 2 / 3 + 20


def test_the_upper_bound_is_clopper_and_pearsons():
    for wrong, n in ((0, 99), (3, 200), (40, 50), (7, 7)):
        expected = binomtest(wrong, n, alternative="less").proportion_ci(0.95, "exact").high
        assert upper_bound(wrong, n, 0.95) == pytest.approx(expected)
    assert upper_bound(0, 0, 0.95) == 1


def test_auroc_equals_scikit_learn():
    draw = np.random.default_rng(0)
    inside = draw.random(300) < 0.7
    score = np.round(draw.normal(inside, 1), 1)  # with ties
    assert auroc(score, inside) == pytest.approx(roc_auc_score(inside, score))
    assert np.isnan(auroc(score, np.ones(300, bool)))


def test_testing_stops_at_the_first_threshold_that_fails():
    """14 of 300 are too many at .7; that .6 would pass again is no evidence, as it was never reached."""
    counts = [[0.9, 50, 1, 100, 0], [0.8, 100, 2, 200, 2], [0.7, 150, 20, 300, 14], [0.6, 400, 40, 2_000, 20]]
    fields = {"method": "logistic", "mean": [0.0], "scale": [1.0], "weights": [1.0], "bias": 0.0, "knots": [[0.0], [0.5]]}
    made = Calibration(**fields, counts=counts, tested=2_000, log_loss={})
    assert upper_bound(20, 2_000, 0.95) < 0.04 and made.guarantee(0.04).threshold == 0.8


def test_a_curve_that_is_sure_of_itself_promises_no_more_than_its_tests():
    fields = {"method": "logistic", "mean": [0.0], "scale": [1.0], "weights": [1.0], "bias": 0.0, "knots": [[0.0], [0.5]]}
    made = Calibration(**fields, counts=[[0.99997, 236, 0.007, 236, 0]], tested=236, pseudo=40.0, log_loss={})
    assert 0.005 < made.guarantee(0.03).bound < upper_bound(0, 236, 0.95)


def strange(draw, n):
    """As `answers`, of queries that nothing answers: less near, and nothing is right."""
    x, _, _ = answers(draw, n)
    return x - np.array([0.15, 0.08, 0]), np.zeros(n, bool)


def test_a_budget_holds_for_the_share_of_strangers_that_it_is_stated_for():
    """Learned with a tenth of them, asked with a half: by the share as it was the budget breaks, by the true one it holds."""

    def mixed(draw, n, out):
        inside, outside = answers(draw, n)[:2], strange(draw, int(n * out / (1 - out)))
        return (*(np.concatenate(pair) for pair in zip(inside, outside, strict=True)), np.arange(n + len(outside[1])) < n)

    x, correct, scope = mixed(np.random.default_rng(0), 3_000, 0.1)
    made = calibrate(x, correct, scope=scope)
    assert made.share == pytest.approx(0.1, abs=0.01) and made.counts[-1][5] <= made.strangers < (~scope).sum()
    fresh, is_right, _ = mixed(np.random.default_rng(1), 40_000, 0.5)
    wrong = {share: (~is_right[made.probability(fresh) >= made.guarantee(0.15, share=share).threshold]).mean() for share in (None, 0.5)}
    assert wrong[None] > 0.2 and 0 < wrong[0.5] <= 0.15
    assert made.guarantee(0.15) == made.guarantee(0.15, share=made.share), "the same share is the same promise"
    assert "where 50% of the queries have no answer here" in str(made.guarantee(0.15, share=0.5))
    alone = calibrate(x[scope], correct[scope])
    assert "how many have none is not known" in str(alone.guarantee(0.1))
    with pytest.raises(KgrecError, match="nothing can be said of 30% of them"):
        alone.guarantee(0.1, share=0.3)
    with pytest.raises(KgrecError, match="share = 1 of queries that nothing answers is no share"):
        made.guarantee(0.1, share=1)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_the_share_of_strangers_is_seen_by_how_many_are_answered(share):
    fields = {"method": "logistic", "mean": [0.0], "scale": [1.0], "weights": [1.0], "bias": 0.0, "knots": [[0.0], [0.5]], "log_loss": {}}
    made = Calibration(**fields, counts=[[0.9, 50, 1, 100, 0, 0], [0.7, 150, 20, 160, 14, 20]], tested=200, strangers=100, share=0.1)
    reached = int(1_000 * ((1 - share) * 0.8 + share * 0.2))
    low, high = made.strangers_among(reached, 1_000, 0.7)
    assert low < share < high < low + 0.15
    assert made.strangers_among(0, 0, 0.7) is None and made.strangers_among(5, 10, 0.6) is None
    assert calibrate(*answers(np.random.default_rng(0), 400)[:2]).strangers_among(5, 10, 0.5) is None, "none was seen"


def test_an_answer_is_right_by_its_first_row_alone():
    hits = Hits(np.array([[3, 1], [1, 3], [-1, -1], [2, 0]]), np.zeros((4, 2), np.float32))
    targets = Ragged(np.array([0, 2, 3, 4, 4]), np.array([3, 5, 3, 0]), np.full(4, -1))
    assert right(hits, targets).tolist() == [True, False, False, False]
    assert right(Hits(np.zeros((4, 0), np.int64), np.zeros((4, 0), np.float32)), targets).tolist() == [False] * 4
