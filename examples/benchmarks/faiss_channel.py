"""The faiss channel against bare FAISS: the same index, the same queries, side by side in one run.

    python examples/benchmarks/faiss_channel.py [--small] [--rounds 15]

For Flat over 12,000 x 384 and IVF over 100,000 x 384: 2,000 queries, k = 10, rounds in alternating order. The ratio is the
median over rounds of (channel queries/s) / (bare queries/s) of the same round, its interval a 95 % bootstrap of that median.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import click
import numpy as np
import polars as pl

from kgrec_core import Graph, Nodes, Relation, Task, candidates
from kgrec_core.parts import Faiss
from kgrec_core.parts import index_parameters as parameters

BUYS, K, WIDTH = Task("buys", Relation("user", "buys", "item")), 10, 384


def clustered(n: int, rng: np.random.Generator, centres: np.ndarray) -> np.ndarray:
    """(n, d) float32 of unit length, around the centres."""
    x = centres[rng.integers(0, len(centres), n)] + 0.7 * rng.standard_normal((n, centres.shape[1]), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def compare(index: str, n: int, m: int, rounds: int) -> dict[str, float | str]:
    import faiss

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(10, n // 100), WIDTH), dtype=np.float32)
    items, x = clustered(n, rng, centres), clustered(m, rng, centres)
    ids = {"item": n, "user": m}
    graph = Graph({kind: pl.DataFrame({"id": [f"{kind}{i}" for i in range(size)]}) for kind, size in ids.items()})
    queries = Nodes(graph, "user", np.arange(m), "query")
    channel = Faiss(index=index, device="cpu")
    channel.build(graph, BUYS, candidates(graph, BUYS), lambda nodes: items[nodes.rows])

    bare = channel.index_
    settings = parameters(bare, channel.setting_)
    acts = {"bare": lambda: bare.search(x, K, params=settings), "channel": lambda: channel.search(queries, x, K)}
    right = faiss.knn(x, items, K, metric=faiss.METRIC_INNER_PRODUCT)[1]
    found = {"bare": acts["bare"]()[1], "channel": acts["channel"]().rows}
    took: dict[str, list[float]] = {name: [] for name in acts}
    for i in range(rounds):
        for name in sorted(acts, reverse=i % 2 == 1):
            took[name].append(seconds(acts[name]))
    ratios = np.divide(took["bare"], took["channel"])
    draws = np.median(rng.choice(ratios, (10_000, rounds)), axis=1)
    return {
        "index": channel.reason_,
        "ratio": round(float(np.median(ratios)), 4),
        "low": round(float(np.quantile(draws, 0.025)), 4),
        "high": round(float(np.quantile(draws, 0.975)), 4),
        **{f"{name} queries/s": round(m / float(np.median(t))) for name, t in took.items()},
        **{
            f"{name} recall@{K}": round(float(np.mean([len(set(a) & set(b)) / K for a, b in zip(f, right, strict=True)])), 4)
            for name, f in found.items()
        },
    }


@click.command(help=__doc__)
@click.option("--small", is_flag=True, help="A tenth of everything, for a test.")
@click.option("--rounds", default=15, show_default=True)
def main(small: bool, rounds: int) -> None:
    part = 10 if small else 1
    result = {
        "flat": compare("Flat", 12_000 // part, 2000 // part, rounds),
        "ivf": compare(f"IVF{1024 // part},Flat", 100_000 // part, 2000 // part, rounds),
    }
    for name, row in result.items():
        click.echo(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))
    click.echo(json.dumps({"benchmark": "faiss_channel", **result}))


if __name__ == "__main__":
    main()
