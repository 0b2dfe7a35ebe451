"""What every retrieval of the core does with `allowed`, `exclude` and k, against brute force over what it finds without them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_core.graph import DAY, Nodes, Ragged, candidates
from kgrec_core.interfaces import Filter
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.testing import checkerboard
from kgrec_core.testing.retrieval import colours as encode

REGISTRY = Registry.discover()
SETTINGS = {  # a channel alone, or re-rankers around two
    "lexical": {},
    "content": {},
    "repeat": {},
    "popular": {"days": 0.0},
    "ease": {"l2": 1.0},
    "als": {"width": 4},
    "cooccurrence": {},
    "neighbours": {"neighbours": 5},
    "faiss": {"device": "cpu"},
    "exact": {"device": "cpu"},
    "merge": {"a": {"use": "popular"}, "b": {"use": "exact", "device": "cpu"}},
    "lambdarank": {"a": {"use": "popular"}, "b": {"use": "exact", "device": "cpu"}},
    "mmr": {"of": {"use": "exact", "device": "cpu"}},
    "mixture": {"a": {"use": "popular"}, "b": {"use": "exact", "device": "cpu"}},
    "switch": {"default": "a", "strangers": "b", "a": {"use": "exact", "device": "cpu"}, "b": {"use": "popular"}},
    "logistic": {"by": "vectors"},
    "cross-encoder": None,  # its answers hang on a language model; its channels filter
}
EXACT = ("faiss", "exact", "merge", "lambdarank", "mmr")  # exactly min(k, what is open) is found
GRAPH, (TASK,) = checkerboard()
SIZE = GRAPH.size("item")
QUERIES = Nodes(GRAPH, "user", np.arange(9), "query", before=np.full(9, 2 * DAY + 100))
VECTORS = encode(QUERIES)


@cache
def part(use: str):
    made = resolve({"retrieval": {"buys": {"use": use, **SETTINGS[use]}}}).retrieval(REGISTRY, "buys")
    made.build(GRAPH, TASK, candidates(GRAPH, TASK), encode)
    hits = made.search(QUERIES, VECTORS, SIZE)
    scores = np.full((len(QUERIES), SIZE), -np.inf, np.float32)
    owner, column = np.nonzero(hits.rows >= 0)
    scores[owner, hits.rows[owner, column]] = hits.scores[owner, column]
    return made, scores


def test_every_retrieval_is_here():
    assert {name.removeprefix("core/") for name in REGISTRY.components("retrieval") if name.startswith("core/")} == set(SETTINGS)


@pytest.mark.parametrize("use", [use for use, given in SETTINGS.items() if given is not None])
@settings(max_examples=40, derandomize=True)
@given(k=st.integers(1, SIZE + 3), open_=st.lists(st.booleans(), max_size=SIZE + 2), gone=st.data())
def test_only_what_is_open_and_the_best_of_it(use, k, open_, gone):
    made, scores = part(use)
    pairs = gone.draw(st.lists(st.tuples(st.integers(0, 8), st.integers(0, SIZE + 1)), max_size=30))
    exclude = Ragged.of(*(np.array([p[i] for p in pairs], np.int64) for i in (0, 1)), len(QUERIES)) if pairs else None
    allowed = Filter(np.array(open_, bool)) if open_ else None
    free = np.ones(scores.shape, bool)
    if allowed is not None:
        free &= np.pad(allowed.rows, (0, SIZE))[:SIZE]
    for query, row in pairs:
        if row < SIZE:
            free[query, row] = False
    hits = made.search(QUERIES, VECTORS, k, allowed, exclude)
    for query in range(len(QUERIES)):
        found = hits.rows[query][hits.rows[query] >= 0]
        assert len(np.unique(found)) == len(found) and free[query, found].all()
        least = min(k, free[query].sum() if use in EXACT else (free[query] & np.isfinite(scores[query])).sum())
        assert len(found) == least
        if use not in ("merge", "lambdarank", "mixture", "mmr"):  # a rank is one among those that are left
            best = np.sort(np.where(free[query], scores[query], -np.inf))[::-1][:least]
            np.testing.assert_allclose(hits.scores[query][: len(best)], best, atol=1e-5)


@pytest.mark.parametrize("use", [use for use, given in SETTINGS.items() if given is not None])
def test_one_query_through_a_re_ranker(use):
    """What a guard keeps on a part has names that no part learns."""
    made = resolve({"retrieval": {"buys": {"use": "merge", "a": {"use": use, **SETTINGS[use]}}}}).retrieval(REGISTRY, "buys")
    made.build(GRAPH, TASK, candidates(GRAPH, TASK), encode)
    assert made.search(QUERIES.take(np.arange(1)), VECTORS[:1], 3).rows.shape == (1, 3)
