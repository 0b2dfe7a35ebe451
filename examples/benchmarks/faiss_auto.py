"""What the faiss channel's `auto` takes, beside IVF-Flat, IVF-PQ and HNSW, each set to the recall asked.

    python examples/benchmarks/faiss_auto.py [--n 100000] [--recall 0.98] [--vectors clustered|spread|uniform] [--small]

Vectors of width 384, unit length. clustered: 100 vectors around each centre. spread: 64 directions matter, no clusters.
uniform: any direction, the worst case. Reported for 1,000 new queries: recall@10 against Flat, queries/s (median of 5),
bytes per vector in the saved file, seconds to build and calibrate, and the channel's own reason.
"""

from __future__ import annotations

import json
import time

import click
import numpy as np
import polars as pl

from kgrec_core import Graph, Nodes, Relation, Task, candidates
from kgrec_core.parts import Faiss

BUYS, K, WIDTH = Task("buys", Relation("user", "buys", "item")), 10, 384


def draw(shape: str, n: int, rng: np.random.Generator, world: np.ndarray) -> np.ndarray:
    """(n, d) float32 of unit length."""
    x = rng.standard_normal((n, WIDTH), dtype=np.float32)
    if shape == "clustered":
        x = world[rng.integers(0, len(world), n)] + 0.7 * x
    elif shape == "spread":
        x = rng.standard_normal((n, 64), dtype=np.float32) @ world[:64] + 0.5 * x
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@click.command(help=__doc__)
@click.option("--n", default=100_000, show_default=True)
@click.option("--recall", default=0.98, show_default=True)
@click.option("--vectors", "shapes", multiple=True, default=("clustered", "spread"), type=click.Choice(["clustered", "spread", "uniform"]))
@click.option("--small", is_flag=True, help="60,000 vectors of the first kind, auto and IVF-Flat only.")
def main(n: int, recall: float, shapes: tuple[str, ...], small: bool) -> None:
    import faiss

    n, m, shapes = (60_000, 200, shapes[:1]) if small else (n, 1000, shapes)
    lists = 2 ** round(np.log2(4 * np.sqrt(n)))
    indexes = {"auto": "auto", "IVF-Flat": f"IVF{lists},Flat"}
    if not small:
        indexes |= {"IVF-PQ": f"IVF{lists},PQ96x4fs,Refine(SQfp16)", "HNSW": "HNSW32"}
    ids = {"item": n, "user": m}
    graph = Graph({kind: pl.DataFrame({"id": [f"{kind}{i}" for i in range(size)]}) for kind, size in ids.items()})
    queries = Nodes(graph, "user", np.arange(m), "query")
    result = {}
    for shape in shapes:
        rng = np.random.default_rng(0)
        world = rng.standard_normal((max(64, n // 100), WIDTH), dtype=np.float32)
        items, x = draw(shape, n, rng, world), draw(shape, m, rng, world)
        right = faiss.knn(x, items, K, metric=faiss.METRIC_INNER_PRODUCT)[1]
        for name, index in indexes.items():
            channel, start = Faiss(index=index, recall=recall, device="cpu"), time.perf_counter()
            channel.build(graph, BUYS, candidates(graph, BUYS), lambda nodes, items=items: items[nodes.rows])
            built, took = time.perf_counter() - start, []
            for _ in range(5):
                start = time.perf_counter()
                rows = channel.search(queries, x, K).rows
                took.append(time.perf_counter() - start)
            row = {
                "recall@10": round(float(np.mean([len(set(a) & set(b)) / K for a, b in zip(rows, right, strict=True)])), 4),
                "queries/s": round(m / float(np.median(took))),
                "bytes/vector": round(len(faiss.serialize_index(channel.index_)) / n),
                "build s": round(built, 1),
                "reason": channel.reason_,
            }
            click.echo(f"{shape:9} {name:8} " + ", ".join(f"{key} {value}" for key, value in row.items()))
            result[f"{shape} {name}"] = row
    click.echo(json.dumps({"benchmark": "faiss_auto", "n": n, "width": WIDTH, "asked": recall, **result}))


if __name__ == "__main__":
    main()
