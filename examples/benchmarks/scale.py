"""What a fit costs where data are many and undated: a made-up shop, leave-last-out, the e-commerce recipe as it stands.

    python examples/benchmarks/scale.py [--users 50000] [--items 17000] [--seed 0] [--small] [section.key=value ...]

Shoppers have two tastes out of many, half of their purchases follow them, in a row of related things; names and brands tell tastes.
--small: 400 shoppers and 120 products, to see that it runs. One JSON line last: CPU seconds per stage, peak memory, figures.
"""

from __future__ import annotations

import json
import resource
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from arguments import about, asked_of

from kgrec_core import fit
from kgrec_core.domain import resolve

SORTS = ("lamp", "mug", "clock", "chair", "basket", "candle", "cushion", "frame", "bowl", "tray", "hook", "vase")
DATA = {
    "use": "tables",
    "entities": {"item": {"id": "sku", "text": ["name"], "links": {"brand": {"column": "brand"}}}},
    "relations": {
        "buys": {"source": {"kind": "user", "column": "customer"}, "target": {"kind": "item", "column": "sku"}, "unknown": "add"}
    },
    "tasks": {"buys": {"relation": "buys"}},
}


def make(folder: Path, users: int, items: int, seed: int) -> int:
    """Write products.csv and orders.csv; returns the number of order lines."""
    draw, themes = np.random.default_rng(seed), max(4, items // 150)
    theme = np.sort(draw.integers(0, themes, items))
    sort, colour = draw.choice(SORTS, items), draw.choice(["red", "blue", "green", "white", "black"], items)
    name = [f"theme{t} {c} {s} no {i}" for i, (t, c, s) in enumerate(zip(theme, colour, sort, strict=True))]
    brand = [f"brand{t}" for t in (theme + (draw.random(items) < 0.2)) % themes]
    pl.DataFrame({"sku": np.arange(items), "name": name, "brand": brand}).write_csv(folder / "products.csv")
    fame = 1 / (1 + draw.permutation(items)) ** 0.8
    count = np.clip(draw.geometric(1 / 9, users) + 3, 4, 60)
    owner = np.repeat(np.arange(users), count)
    tastes = draw.integers(0, themes, (users, 2))[owner, draw.integers(0, 2, len(owner))]
    first, size = np.searchsorted(theme, tastes), np.maximum(np.bincount(theme, minlength=themes)[tastes], 1)
    near = first + (size * draw.random(len(owner)) ** 2).astype(np.int64)  # the first of a theme are its best known
    bought = np.where(draw.random(len(owner)) < 0.5, np.minimum(near, items - 1), draw.choice(items, len(owner), p=fame / fame.sum()))
    orders = pl.DataFrame({"customer": owner, "sku": bought}).unique(maintain_order=True)
    orders.write_csv(folder / "orders.csv")
    return len(orders)


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--items", type=int, default=17_000)
    asked = asked_of(parser, "400 shoppers, 120 products, few steps and trees")
    users, items = (400, 120) if asked.small else (asked.users, asked.items)
    settings = ["train.steps=2", "retrieval.buys.trees=5", "retrieval.buys.smallest=5"] if asked.small else []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        lines = make(folder, users, items, asked.seed)
        data = json.loads(json.dumps(DATA))
        data["entities"]["item"]["file"], data["relations"]["buys"]["file"] = str(folder / "products.csv"), str(folder / "orders.csv")
        layer = {"data": data, "split": {"by": "last", "test": "none", "validation": "none"}}
        recipe = resolve("kgrec_ecommerce:recipe.toml", layer, settings + asked.settings)
        run = fit(recipe, folder / "run", progress=lambda what, done, total: print(what, done or "", flush=True))
        test, stages = run.metrics["tasks"]["buys"]["test"], run.metrics["stages"]
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {name: round(test[name]["ndcg@10"]["mean"], 4) for name in ("before", "after", "without_knowledge", "without_language_model")}
    figures["floor"] = round(test["floor"][test["best_floor"]]["ndcg@10"]["mean"], 4)
    found = {"benchmark": "scale", "users": users, "items": items, "orders": lines, "n": test["after"]["ndcg@10"]["n"], "ndcg@10": figures}
    found |= {"cpu_minutes": round((used.ru_utime + used.ru_stime) / 60, 1), "peak_gb": round(used.ru_maxrss / 2**20, 2)}
    print(json.dumps(found | {"stages": {name: of["cpu"] for name, of in stages.items()}}))


if __name__ == "__main__":
    main()
