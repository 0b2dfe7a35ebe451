"""Ten million triples from a file into a graph: seconds and peak memory of `kgrec graph build`, in a process of its own.

    python examples/benchmarks/triples.py [--small]

Made: a tag that every one of a million products has, values drawn by a power law, weights, names, self-loops and repeated triples.
Asked: under 6 GB, progress (of each stage how often it was told). --small takes 20,000. One JSON line last.
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

import numpy as np
import polars as pl

RECIPE = """
[data]
use = "tables"
[data.entities.item]
file = "items.parquet"
id = "sku"
text = ["name"]
[knowledge.facts]
use = "triples"
file = "{file}"
"""
CODE = """
import json, resource, sys, time
from pathlib import Path
from kgrec_core.jobs.graph import build_graph
began, told = time.monotonic(), []
report = build_graph([Path(sys.argv[1])], Path(sys.argv[2]), progress=lambda what, done, total: told.append(what))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"seconds": round(time.monotonic() - began, 1), "peak_gb": round(peak, 2), "progress": {what: told.count(what) for what in told},
                  "edges": sum(r["edges"] for r in report["relations"].values()), "hub": max(r["hub"][1] for r in report["relations"].values())}))
"""


def made(folder: Path, count: int, form: str, seed: int = 0) -> Path:
    """The file of `count` triples, and a recipe beside it."""
    draw, items = np.random.default_rng(seed), count // 10
    values = np.minimum(draw.zipf(1.3, count), items)
    values[:items] = 1  # the hub: every product has this tag
    relations = draw.choice(["made_by", "has_part", "like", "sold_in", "has_tag"], count)
    relations[:items] = "has_tag"
    kinds = {"made_by": "brand", "has_part": "part", "like": "item", "sold_in": "country", "has_tag": "tag"}
    source = draw.integers(0, items, count)
    source[:items] = np.arange(items)
    targets = pl.DataFrame({"relation": relations, "n": values}).with_columns(
        pl.when(pl.col("relation") == "like")
        .then(pl.format("sku{}", pl.col("n") % items))
        .otherwise(pl.format("{}{}", "relation", "n"))
        .alias("target")
    )
    table = pl.DataFrame(
        {
            "source": pl.Series(source).cast(pl.String),
            "relation": relations,
            "target_kind": targets["relation"].replace_strict(kinds, return_dtype=pl.String),
            "target": targets["target"],
            "weight": draw.random(count).round(3),
        }
    ).with_columns(pl.format("sku{}", "source").alias("source"))
    pl.DataFrame({"sku": [f"sku{i}" for i in range(items)], "name": [f"thing {i}" for i in range(items)]}).write_parquet(
        folder / "items.parquet"
    )
    file = folder / f"facts.{form}"
    table.write_parquet(file) if form == "parquet" else table.write_csv(file, separator="\t")
    (folder / "recipe.toml").write_text(RECIPE.format(file=file.name))
    return folder / "recipe.toml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--form", choices=["tsv", "parquet"], default="tsv")
    asked = parser.parse_args()
    count = 20_000 if asked.small else 10_000_000
    with tempfile.TemporaryDirectory() as name:
        began = time.monotonic()
        recipe = made(Path(name), count, asked.form)
        print(f"made in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, "-c", CODE, str(recipe), str(Path(name) / "graph")], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        found = json.loads(done.stdout.splitlines()[-1])
    own = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(json.dumps({"benchmark": "triples", "triples": count, "form": asked.form, **found, "peak_gb_child": round(own, 2)}))


if __name__ == "__main__":
    main()
