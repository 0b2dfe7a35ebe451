"""Certainty by other FAQs' curve, on questions drawn around entries: the same whatever a model's cosines are like, and a budget that holds."""

from __future__ import annotations

import numpy as np

from kgrec_core.calibration.calibration import Calibration
from kgrec_core.calibration.confidence import features
from kgrec_core.calibration.prior import CURVES, ROLES, calibrated, without
from kgrec_core.graph import Ragged
from kgrec_core.interfaces import Hits

DIM = 24


def asked(draw, centres, entry, noise=0.75):
    v = centres[entry] + noise * draw.normal(size=(len(entry), DIM)) / DIM**0.5
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def hits(queries, known, owner, entries, itself=False, squeeze=lambda cosine: cosine):
    """An entry is as near as its nearest question, never the query itself."""
    near = queries @ known.T
    if itself:
        np.fill_diagonal(near, -1)
    score = np.stack([near[:, owner == e].max(1) if (owner == e).any() else np.full(len(near), -1) for e in range(entries)], 1)
    score = squeeze(np.maximum(score, 0.0)).astype(np.float32)
    order = np.argsort(-score, axis=1)[:, :20]
    best = np.take_along_axis(score, order, 1)
    return Hits(order, best, {"questions": best})


def faq(seed, entries=40, squeeze=lambda cosine: cosine, each=4, learned=False):
    """(calibration, hits of 2,000 new questions, whether the first is right): a tenth of them about what the FAQ lacks."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(2 * entries, DIM)) + 0.6 * draw.normal(size=DIM)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    owner = np.repeat(np.arange(entries), each)
    known = asked(draw, centres, owner)
    mine = hits(known, known, owner, entries, True, squeeze)
    again = np.full(len(owner), each > 1 and not learned)
    made = calibrated(mine, Ragged.of(np.arange(len(owner)), owner, len(owner)), {"questions": "question"}, again, 0.1, seed)
    new = np.concatenate([draw.integers(0, entries, 1_800), draw.integers(entries, 2 * entries, 200)])
    found = hits(asked(draw, centres, new), known, owner, entries, squeeze=squeeze)
    return made, found, found.rows[:, 0] == new


def test_there_is_a_curve_for_every_choice_of_channels():
    assert set(CURVES) == {tuple(r for i, r in enumerate(ROLES) if n >> i & 1) for n in range(1, 8)}
    assert all(len(weights) == 2 * len(roles) for roles, (weights, _) in CURVES.items())


def test_a_model_whose_cosines_are_all_high_is_as_sure_as_any_other():
    plain, found, _ = faq(0, learned=True)
    high, squeezed, _ = faq(0, learned=True, squeeze=lambda cosine: 0.8 + 0.2 * cosine)
    assert squeezed.scores[:, 0].min() > 0.8 and plain.tested == high.tested == 0
    np.testing.assert_allclose(high.probability(features(squeezed)), plain.probability(features(found)), atol=1e-3)


def test_without_tests_it_is_careful_and_promises_nothing():
    for each, learned in ((1, False), (4, True)):
        made, found, right = faq(1, each=each, learned=learned)
        promise = made.guarantee(0.05)
        given = made.probability(features(found)) >= promise.threshold
        assert given.mean() > 0.03 and right[given].mean() > 0.9
        assert promise.tested == 0 and promise.bound == 1 and "nothing is promised" in str(promise)
        assert made.guarantee(0.001).threshold > promise.threshold > made.guarantee(0.2).threshold


def test_the_budget_of_a_small_faq_holds_in_nearly_all_of_them():
    kept, answered = [], []
    for seed in range(60):
        made, found, right = faq(seed, entries=30)
        promise = made.guarantee(0.1)
        assert made.tested == 120 and made.strangers == 120 and "10% of the queries have no answer here" in str(promise)
        given = made.probability(features(found)) >= promise.threshold
        kept.append(not given.any() or (~right[given]).mean() <= 0.1)
        answered.append(given.mean())
    assert np.mean(kept) >= 0.95 and np.mean(answered) >= 0.4, (np.mean(kept), np.mean(answered))


def test_a_few_questions_bend_the_curve_but_test_nothing():
    """Three siblings each of 15 entries: no promise, yet questions that this FAQ answers well are surer than other FAQs' curve says."""
    made, found, right = faq(3, entries=15, each=3)
    alone, *_ = faq(3, entries=15, each=3, learned=True)
    assert made.tested == alone.tested == 0 and made.weights != alone.weights
    ours, theirs = (np.abs(of.probability(features(found)) - right).mean() for of in (made, alone))
    assert ours < theirs


def test_where_no_tested_threshold_will_do_only_what_is_surer_is_answered():
    made, *_ = faq(0, entries=30)
    none = Calibration(**{**made.to_json(), "counts": [[0.9, 60.0, 6.0, 60.0, 20.0, 5.0]]})
    promise = none.guarantee(0.1)
    assert 0.95 < promise.threshold < 1 and promise.answered == 0 and "none of 133 tested was so sure" in str(promise)


def test_more_strangers_ask_for_a_higher_threshold_and_json_keeps_all():
    made, *_ = faq(2, entries=60, each=8)
    again = Calibration.from_json(made.to_json())
    assert again == made
    thresholds = [again.guarantee(0.1, share=share).threshold for share in (0, 0.1, 0.4)]
    assert thresholds == sorted(thresholds) and thresholds[0] < thresholds[2]


def test_too_few_questions_or_no_channel_say_nothing():
    assert faq(0, entries=7, each=1)[0] is None
    found = hits(np.eye(9, DIM), np.eye(9, DIM), np.arange(9), 9, True)
    assert calibrated(found, Ragged.of(np.arange(9), np.arange(9), 9), {}, np.zeros(9, bool), 0.1) is None


def test_what_a_query_leads_to_is_taken_out_and_the_rest_moves_up():
    found = Hits(
        np.array([[3, 1, 2], [0, 1, -1]]),
        np.array([[9.0, 5, 1], [4, 2, -np.inf]], np.float32),
        {"a": np.array([[1.0, 2, 3], [4, 5, np.nan]])},
    )
    left = without(found, Ragged.of(np.array([0, 0, 1]), np.array([3, 2, 1]), 2))
    assert (
        left.rows.tolist() == [[1, -1, -1], [0, -1, -1]]
        and left.scores[:, 0].tolist() == [5, 4]
        and left.columns["a"][:, 0].tolist() == [2, 4]
    )
    assert np.isneginf(left.scores[:, 1:]).all() and np.isnan(left.columns["a"][:, 1:]).all()
