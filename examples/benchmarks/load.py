"""How long and how much memory `tables` needs for 10 million interactions.

    python examples/benchmarks/load.py [--small] [--format csv|parquet] [--budget GB]

Writes orders of 1,000,000 customers and 100,000 products into a temporary folder, loads them in a fresh process, and prints one JSON
line last: rows, seconds, peak resident memory of that process (everything included: interpreter, libraries, file pages). Exits
with 1 when the peak is over the budget of 4 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = {"small": (200_000, 20_000, 5_000), "full": (10_000_000, 1_000_000, 100_000)}


def write(folder: Path, form: str, size: str) -> None:
    """orders and products, with ids and times as shops write them, in pieces so that writing needs little memory."""
    import numpy as np
    import polars as pl

    orders, customers, products = SIZES[size]
    rng, pieces = np.random.default_rng(0), []
    sku = pl.Series("sku", np.arange(products)).cast(pl.String).str.zfill(7)
    pl.DataFrame(
        {"sku": sku, "name": "product number " + sku, "brand": "brand " + (pl.Series(np.arange(products)) % 500).cast(pl.String)}
    ).write_csv(folder / "products.csv")
    for start in range(0, orders, 1_000_000):
        n = min(1_000_000, orders - start)
        when = pl.Series(np.sort(rng.integers(0, 365 * 86_400, n)) * 1_000_000 + 1_577_836_800_000_000).cast(pl.Datetime("us"))
        piece = pl.DataFrame(
            {
                "customer": "C" + pl.Series(rng.integers(0, customers, n)).cast(pl.String),
                "sku": sku.gather((products * rng.random(n) ** 3).astype(np.int64)),
                "date": when.dt.strftime("%Y-%m-%d %H:%M:%S"),
                "quantity": rng.integers(1, 10, n),
            }
        )
        if form == "csv":
            with (folder / "orders.csv").open("ab") as file:
                piece.write_csv(file, include_header=start == 0)
        else:
            pieces.append(folder / f"piece{start}.parquet")
            piece.write_parquet(pieces[-1])
    if pieces:
        pl.scan_parquet(pieces).sink_parquet(folder / "orders.parquet")


def load(folder: Path, form: str) -> dict:
    from kgrec_core.parts import Edges, End, Entity, Goal, Link, Tables

    start = time.perf_counter()
    dataset = Tables(
        entities={"item": Entity(file=folder / "products.csv", id="sku", text=("name",), links={"brand": Link(column="brand")})},
        relations={
            "buys": Edges(
                file=folder / f"orders.{form}",
                source=End(kind="user", column="customer"),
                target=End(kind="item", column="sku"),
                time="date",
                weight="quantity",
                unknown="add",
            )
        },
        tasks={"buys": Goal(relation="buys", repeats=True)},
    ).load()
    graph, task = dataset.graph, dataset.tasks[0]
    return {
        "benchmark": "load",
        "format": form,
        "rows": len(graph.relations[task.relation]),
        "users": graph.size("user"),
        "items": graph.size("item"),
        "seconds": round(time.perf_counter() - start, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9, 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="200,000 interactions")
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv")
    parser.add_argument("--budget", type=float, default=4.0, help="GB that the peak may reach")
    parser.add_argument("--step", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = "small" if options.small else "full"
    if options.step:
        step, folder = options.step[0], Path(options.step[1])
        write(folder, options.format, size) if step == "write" else print(json.dumps(load(folder, options.format)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        again = [sys.executable, *sys.argv]
        subprocess.run([*again, "--step", "write", folder], check=True)
        done = subprocess.run([*again, "--step", "load", folder], check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1]) | {"budget_gb": options.budget}
    print(json.dumps(found))
    return int(found["peak_gb"] > options.budget)


if __name__ == "__main__":
    sys.exit(main())
