"""Topics from eight headlines each: accuracy on 220 hand-labelled headlines, against the topics' descriptions alone.

    python examples/benchmarks/finance_topics.py [--seed 0] [--validate] [--small] [section.key=value ...]

Ten topics, see docs/topic_labels.md; --seed draws the eight to learn from, the other headlines of the 300 are the test. `described` gives
each headline the topic whose description is nearest among vectors of the pretrained model: no example at all. One of the eight validates:
nothing learns from it. --validate takes six a topic and asks the other two. --small learns for one step. One JSON line last.
"""

from __future__ import annotations

import csv
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from arguments import about, asked_of

from kgrec_core import fit
from kgrec_core.domain import gain, held_out, interval, resolve
from kgrec_core.parts import load_model as load

LABELS = Path(__file__).with_name("topic_labels.csv")
MEANT = {
    "results": "company results: quarterly net profit, loss, sales, margins",
    "advice": "analyst advice: buy or sell a share, target price, view of a sector",
    "shares": "a company's shares rise or fall",
    "market": "the stock market: indices such as Sensex, Nifty, Nikkei, investors' mood and flows",
    "commodities": "commodities: gold, oil, metals, farm goods and their prices",
    "currencies": "currencies: rupee, dollar, euro, exchange rates",
    "bonds": "government bonds, interest rates, central bank",
    "deals": "deals: mergers, stakes sold, IPO, share and bond issues, raising money",
    "regulation": "regulation: Sebi, courts, taxes, rules of exchanges",
    "company": "company news: management appointments, products, plans, orders",
}
EACH = 8
SETTINGS = ["train.contrastive=12", "train.epochs=6", "train.batch=16", "train.lr=1e-4", "train.validations=1"]
SMALL = ["train.steps=1", "train.contrastive=0.2"]


def parts(seed: int, validate: bool) -> dict[str, list[dict[str, str]]]:
    with LABELS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    split: dict[str, list[dict[str, str]]] = {"train": [], "validation": [], "test": []}
    draw = np.random.default_rng(seed)
    for topic in MEANT:
        mine = [row for row in rows if row["topic"] == topic]
        mine = [mine[i] for i in draw.permutation(len(mine))]
        learned, asked = (mine[: EACH - 2], mine[EACH - 2 : EACH]) if validate else (mine[:EACH], mine[EACH:])
        split["train"] += learned[1:]
        split["validation"] += learned[:1]
        split["test"] += asked
    return split


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("--validate", action="store_true")
    asked = asked_of(parser)
    began, split = time.monotonic(), parts(asked.seed, asked.validate)
    with tempfile.TemporaryDirectory() as folder:
        articles, labels = Path(folder) / "headlines.csv", Path(folder) / "labels.csv"
        with articles.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(["id", "text", "topic", "split"])
            writer.writerows([f"{part} {row['id']}", row["text"], row["topic"], part] for part, of in split.items() for row in of)
        with labels.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(["task", "label", "text"])
            writer.writerows(["topic", *of] for of in MEANT.items())
        mine = {"data": {"use": "news", "articles": str(articles), "labels": str(labels)}, "split": {"by": "column", "column": "split"}}
        mine["retrieval"] = {"topic": {"use": "exact"}}
        settings = [*SETTINGS, f"train.seed={asked.seed}", *(SMALL if asked.small else []), *asked.settings]
        recipe = resolve("kgrec_finance:recipe.toml", mine, settings)
        run = fit(recipe, Path(folder) / "run", progress=lambda what, done, total: print(what, flush=True) if not total else None)
        found = held_out(run).snapshot.probabilities([row["text"] for row in split["test"]], "topic")  # the published one knows them
        said = [found.labels[i] for i in found.log.argmax(1)]
        trained = run.history[-1]["seconds"] if run.history else 0.0
    encoder = load(recipe.tables["encoder"]["model"])
    texts, names = encoder.encode([row["text"] for row in split["test"]], normalize_embeddings=True), list(MEANT)
    nearest = (texts @ encoder.encode(list(MEANT.values()), normalize_embeddings=True).T).argmax(1)
    true = [row["topic"] for row in split["test"]]
    right = np.array([a == b for a, b in zip(said, true, strict=True)], float)
    described = np.array([names[i] == topic for i, topic in zip(nearest, true, strict=True)], float)
    found = {"benchmark": "finance_topics", "seed": asked.seed, "learned": len(split["train"])}
    found |= {"after": interval(right), "described": interval(described), "gain": gain(right, described)}
    print(json.dumps(found | {"training_seconds": trained, "seconds": round(time.monotonic() - began)}))


if __name__ == "__main__":
    main()
