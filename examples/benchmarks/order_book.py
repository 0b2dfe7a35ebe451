"""The order book: NDCG@10 of the whole chain on the embedded orders, all products, only new ones, and cold ones.

    python examples/benchmarks/order_book.py [--cold] [--seed 0] [--small] [section.key=value ...]

Test = orders from 2010-11-01 of customers known before; all 4,006 products ranked. --cold takes a seeded 10 % of the products out of
everything known. --small fits a few customers and steps, to see that it runs. One JSON line last.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from arguments import about, asked_of

from kgrec_core import fit
from kgrec_core.domain import resolve

# One step, at the warm-up's rate of 0: the weights stay as they were, so that the products need encoding once only.
SMALL = ["data.where=customer < 12600", "train.steps=1", "train.batch=8", "train.validations=1", "retrieval.buys.windows=0"]
SMALL += [
    "retrieval.buys.trees=5",
    *(f"retrieval.buys.{c}.use=none" for c in ("ease_recent", "neighbours_recent", "basket", "next", "sequence")),
]


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("--cold", action="store_true")
    asked = asked_of(parser)
    settings = [f"split.seed={asked.seed}", f"train.seed={asked.seed}", f"retrieval.buys.seed={asked.seed}"]
    settings += (["split.cold=0.1"] if asked.cold else []) + (SMALL if asked.small else []) + asked.settings
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        recipe = resolve("kgrec_ecommerce:recipe.toml", settings)
        run = fit(recipe, Path(folder) / "run", progress=lambda what, done, total: print(what, done or "", flush=True))
        test = run.metrics["tasks"]["buys"]["test"]
    cases = {"all": test, **test["variants"]}
    found = {"benchmark": "order_book", "seed": asked.seed, "seconds": round(time.monotonic() - began)}
    for case, table in cases.items():
        systems = {**{f"floor: {n}": v for n, v in table["floor"].items()}, **{n: table[n] for n in table if "ndcg@10" in (table[n] or {})}}
        found[case] = {name: values["ndcg@10"] for name, values in {**systems, **table["gain"]}.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
