"""Writes the embedded questions from banking77 (see kgrec_support/ATTRIBUTION.txt).

python plugins/support/build_sample.py ../shared/data/banking77

A tenth of every intent's training questions is validation, drawn by a seed; near-duplicates stay in one part.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import polars as pl

from kgrec_core.knowledge.duplicates import near_duplicates

SAMPLE = Path(__file__).parent / "kgrec_support"


def build(source: Path, folder: Path) -> pl.DataFrame:
    """Write banking.parquet into `folder`; gives the table: text, intent, split, in the order of the source."""
    parts = []
    for part in ("train", "test"):
        with (source / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            parts.append(pl.DataFrame([{"text": row["text"], "intent": row["category"], "split": part} for row in csv.DictReader(file)]))
    train = parts[0].with_columns(group=pl.Series(near_duplicates(parts[0]["text"].to_list())))
    size, draw, held = dict(train["intent"].value_counts().iter_rows()), np.random.default_rng(0), set()
    for intent in sorted(size):
        groups = train.filter(pl.col("intent") == intent).group_by("group", maintain_order=True).len()
        taken = sum(n for group, n in groups.iter_rows() if group in held)
        for group, n in groups[draw.permutation(len(groups))].iter_rows():
            if taken + n <= round(size[intent] / 10) and group not in held:
                held.add(group)
                taken += n
    chosen = pl.col("group").is_in(list(held))
    train = train.with_columns(split=pl.when(chosen).then(pl.lit("validation")).otherwise("split"))
    table = pl.concat([train.drop("group"), parts[1]])
    table.write_parquet(folder / "banking.parquet", compression="zstd", compression_level=19, statistics=False)
    return table


if __name__ == "__main__":
    print(build(Path(sys.argv[1]), SAMPLE).group_by("split").len())
