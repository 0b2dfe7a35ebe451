"""Full ranking of 22,000 queries x 12,000 candidates x 384 dimensions, four settings, against a naive loop over queries.

    python examples/benchmarks/evaluation.py [--small]

A setting is a set of query vectors of its own (floor, before, after, without knowledge, say) with 10 known rows per query out
of the ranking; all metrics and their intervals are computed. The naive loop scores and sorts one query at a time, on a sample
whose time is scaled up. Memory is the growth of the process's peak. One JSON line last; asked: <= 20 s, < 2 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

from kgrec_core import Ragged
from kgrec_core.domain import RANKED, dense_ranks, intervals, measure

SETTINGS, KNOWN, DIM = 4, 10, 384


def naive(queries: np.ndarray, candidates: np.ndarray, targets: np.ndarray, known: np.ndarray) -> dict[str, list[float]]:
    """One query at a time: score all, sort all, look up the one target; gives ndcg@10, recall@20 and mrr."""
    found = {"ndcg@10": [], "recall@20": [], "mrr": []}
    for query, target, seen in zip(queries, targets, known, strict=True):
        scores = candidates @ query
        scores[seen[seen != target]] = -np.inf
        rank = int(np.flatnonzero(np.argsort(-scores) == target)[0]) + 1
        found["ndcg@10"].append(1 / np.log2(rank + 1) if rank <= 10 else 0.0)
        found["recall@20"].append(float(rank <= 20))
        found["mrr"].append(1 / rank)
    return found


def peak() -> float:
    """MB"""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="2,000 queries x 1,000 candidates")
    n, m = (2_000, 1_000) if parser.parse_args().small else (22_000, 12_000)
    draw = np.random.default_rng(0)
    candidates = draw.standard_normal((m, DIM), np.float32)
    wanted = draw.integers(0, m, n)
    settings = [candidates[wanted] * np.float32(0.1) + draw.standard_normal((n, DIM), np.float32) for _ in range(SETTINGS)]
    known = draw.integers(0, m, (n, KNOWN))
    targets = Ragged(np.arange(n + 1), wanted, np.full(n, -1))
    exclude = Ragged(np.arange(0, n * KNOWN + 1, KNOWN), known.ravel(), np.full(n * KNOWN, -1))

    before, start, values = peak(), time.perf_counter(), []
    for queries in settings:
        ranks = dense_ranks(lambda part, q=queries: q[part] @ candidates.T, targets, np.arange(m), exclude)
        values.append(measure(ranks, targets, RANKED))
    ranked = time.perf_counter() - start
    intervals({f"{i} {name}": of[name] for i, of in enumerate(values) for name in of})
    seconds, memory = time.perf_counter() - start, peak() - before

    sample, start = slice(0, 200), time.perf_counter()
    expected = [naive(queries[sample], candidates, wanted[sample], known[sample]) for queries in settings]
    looped = (time.perf_counter() - start) * n / 200
    for of, loop in zip(values, expected, strict=True):
        for name, value in loop.items():
            np.testing.assert_allclose(of[name][sample], value, atol=1e-6)
    result = {"benchmark": "evaluation", "queries": n, "candidates": m, "settings": SETTINGS, "seconds": round(seconds, 2)}
    result |= {"of_which_intervals": round(seconds - ranked, 2), "naive_seconds": round(looped, 1), "ratio": round(looped / seconds, 2)}
    print(json.dumps(result | {"extra_mb": round(memory), "ndcg@10": round(float(values[0]["ndcg@10"].mean()), 4)}))


if __name__ == "__main__":
    main()
