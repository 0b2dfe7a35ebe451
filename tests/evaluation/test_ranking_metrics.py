"""Ranks and metrics: against ranx, by properties, and on rankings whose values are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_core.errors import KgrecError
from kgrec_core.evaluation.beyond import coverage, intra_list_diversity, novelty, popularity_bias
from kgrec_core.evaluation.metrics import macro_f1, measure
from kgrec_core.evaluation.ranks import dense_ranks, hits_ranks
from kgrec_core.graph import Ragged
from kgrec_core.interfaces import Hits

NAMES = ["ndcg@5", "ndcg@10", "recall@10", "recall@20", "hit_rate@10", "map@10", "precision@5", "mrr"]


def lists(*of):
    return Ragged.of(np.repeat(np.arange(len(of)), [len(x) for x in of]), np.concatenate([np.asarray(x, np.int64) for x in of]), len(of))


def world(seed, n=40, m=60, ties=False):
    """Scores, targets (1 to 6 a query) and disjoint excluded rows; candidates are the odd rows."""
    draw = np.random.default_rng(seed)
    scores = (
        draw.integers(0, 8, (n, m)).astype(np.float32) if ties else draw.permuted(np.tile(np.arange(m, dtype=np.float32), (n, 1)), axis=1)
    )
    rows = np.arange(m) * 2 + 1
    drawn = [draw.permutation(rows) for _ in range(n)]
    counts = draw.integers(1, 7, n)
    return scores, rows, lists(*(d[:c] for d, c in zip(drawn, counts, strict=True))), lists(*(d[10:15] for d in drawn))


def ranked(scores, rows, exclude, k):
    scores = scores.copy()
    scores[exclude.owner, np.searchsorted(rows, exclude.rows)] = -np.inf
    order = np.argsort(-scores, axis=1)[:, :k]
    return Hits(rows[order], np.take_along_axis(scores, order, 1))


def test_metrics_equal_ranx(monkeypatch):
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)  # compiling ranx takes longer than everything else here
    from ranx import Qrels, Run, evaluate

    scores, rows, targets, exclude = world(0)
    values = measure(dense_ranks(lambda s: scores[s].copy(), targets, rows, exclude, block=7), targets, NAMES)
    hits = ranked(scores, rows, exclude, len(rows) - 5)
    run = Run(
        {f"q{i}": {str(r): float(s) for r, s in zip(*pair, strict=True)} for i, pair in enumerate(zip(hits.rows, hits.scores, strict=True))}
    )
    qrels = Qrels({f"q{i}": {str(r): 1 for r in targets.take(np.array([i])).rows} for i in range(len(scores))})
    theirs = evaluate(qrels, run, NAMES, return_mean=False, make_comparable=True)
    order = [int(q[1:]) for q in qrels.qrels]
    for name in NAMES:
        np.testing.assert_allclose(values[name][order], theirs[name], atol=1e-6, err_msg=name)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.booleans(), st.integers(1, 50))
def test_rank_is_one_plus_higher_plus_half_the_ties(seed, ties, block):
    scores, rows, targets, exclude = world(seed, 6, 30, ties)
    ranks = dense_ranks(lambda s: scores[s].copy(), targets, rows, exclude, block)
    for rank, query, row in zip(ranks, targets.owner, targets.rows, strict=True):
        out = np.isin(rows, exclude.take(np.array([query])).rows)
        left, own = scores[query][~out], scores[query][rows == row]
        assert rank == 1 + (left > own).sum() + ((left == own).sum() - 1) / 2


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_dense_and_hits_agree_and_columns_may_be_permuted(seed):
    scores, rows, targets, exclude = world(seed, 8, 40)
    dense = dense_ranks(lambda s: scores[s].copy(), targets, rows, exclude)
    np.testing.assert_array_equal(dense, hits_ranks(ranked(scores, rows, exclude, 35), targets))
    top = hits_ranks(ranked(scores, rows, exclude, 10), targets)
    np.testing.assert_array_equal(top, np.where(dense <= 10, dense, np.inf))
    order = np.random.default_rng(seed).permutation(len(rows))
    np.testing.assert_array_equal(dense, dense_ranks(lambda s: scores[s][:, order], targets, rows[order], exclude))


@settings(max_examples=30)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.booleans())
def test_perfect_rankings_give_one_and_nothing_exceeds_it(counts, tied):
    targets = lists(*(range(c) for c in counts))
    scores = np.zeros((len(counts), 30), np.float32)
    for query, count in enumerate(counts):
        scores[query, :count] = 1 if tied else np.arange(count, 0, -1)
    values = measure(dense_ranks(lambda s: scores[s].copy(), targets, np.arange(30)), targets, NAMES)
    assert all((v <= 1).all() for v in values.values())
    if not tied:
        for name in ("ndcg@5", "ndcg@10", "hit_rate@10", "mrr", "recall@20"):
            np.testing.assert_allclose(values[name], 1, err_msg=name)


def test_what_is_not_ranked():
    scores = np.array([[3, 2, np.nan, 1], [4, 3, 2, 1], [4, 3, 2, 1]], np.float32)
    targets = lists([11, 12, 99], [13], [])
    ranks = dense_ranks(lambda s: scores[s].copy(), targets, np.arange(10, 14), lists([10], [10, 13, 7], []))
    np.testing.assert_array_equal(ranks, [1, np.inf, np.inf, 3])  # NaN, no candidate; an excluded target still counts
    values = measure(ranks, targets, ["mrr", "recall@1", "ndcg@1"])
    np.testing.assert_allclose(values["mrr"], [1, 1 / 3, np.nan])
    np.testing.assert_allclose(values["recall@1"], [1 / 3, 0, np.nan])
    assert np.isinf(hits_ranks(Hits(np.full((3, 2), -1), np.zeros((3, 2), np.float32)), targets)).all()
    with pytest.raises(KgrecError, match=r"shape \(3, 3\)"):
        dense_ranks(lambda s: scores[s, :3], targets, np.arange(10, 14))


def test_hits_wanting_places_do_not_shift_ranks():
    hits = Hits(np.array([[5, -1, 7], [-1, -1, 5]]), np.zeros((2, 3), np.float32))
    np.testing.assert_array_equal(hits_ranks(hits, lists([7, 5], [7, 5])), [3, 1, np.inf, 3])


@pytest.mark.parametrize(
    ("name", "says"), [("ndgc@10", "did you mean 'ndcg@K'"), ("ndcg", 'such as "ndcg@10"'), ("recall@0", "at least 1")]
)
def test_unknown_metrics_are_named(name, says):
    with pytest.raises(KgrecError, match=says):
        measure(np.ones(1), lists([0]), [name])


def test_classes_equal_scikit_learn():
    from sklearn.metrics import f1_score

    draw = np.random.default_rng(0)
    true, predicted = draw.integers(0, 5, 300), draw.integers(0, 6, 300)
    assert macro_f1(predicted, true) == pytest.approx(f1_score(true, predicted, average="macro"))
    true[:50] = -1
    assert macro_f1(predicted, true) == pytest.approx(f1_score(true[50:], predicted[50:], average="macro"))
    assert np.isnan(macro_f1(predicted[:50], true[:50]))


def test_beyond_accuracy_on_lists_with_known_answers():
    rows = np.array([10, 11, 12, 13])
    hits = Hits(np.array([[10, 11, 13], [11, -1, 12], [-1, -1, -1]]), np.zeros((3, 3), np.float32))
    popularity = np.array([7, 3, 1, 1])
    assert coverage(hits, rows, 2) == 0.5 and coverage(hits, rows, 3) == 1
    np.testing.assert_allclose(novelty(hits, rows, popularity, 2), [(1 + 2) / 2, 2, np.nan])  # shares (c + 1) / 16: 1/2, 1/4
    np.testing.assert_allclose(popularity_bias(hits, rows, popularity, 3), [(7 / 8 + 5 / 8 + 1 / 4) / 3, (5 / 8 + 1 / 4) / 2, np.nan])
    vectors = np.array([[1, 0], [0, 2], [0, -3], [1, 1]], np.float32)
    cosines = (0 + 2 * np.sqrt(0.5)) / 3
    np.testing.assert_allclose(intra_list_diversity(hits, rows, vectors, 3), [1 - cosines, 2, np.nan], atol=1e-6)
