"""The training-free floor on Amazon Beauty: leave one out, all 12,101 items ranked, history masked.

    python examples/benchmarks/beauty_floor.py [--small]

Needs the set amazon_beauty in KGREC_DATA (default ../shared/data). Components count what is known before validation; the
history at test includes the validation item. References are NDCG@10 of the same floor made independently. One JSON line last.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import time
from pathlib import Path

import polars as pl
from arguments import stored

from kgrec_core import Dataset, Graph, Relation, Split, Task
from kgrec_core.domain import Floor, interval, split
from kgrec_core.domain import floor_methods as methods

BUYS = Relation("user", "buys", "item")
REFERENCE = {"cooccurrence": 0.0395, "cooccurrence+text": 0.0572, "cooccurrence+text+attributes": 0.0560}


def load(folder: Path, users: int | None = None) -> Dataset:
    """users, items (titles), brands, categories; a purchase's time is its day plus its place in the user's sequence, in us.

    users: only so many, the first of the file, and only what they bought.
    """
    sequences = [line.split()[1:] for line in (folder / "idgenrec/user_sequence.txt").read_text().splitlines()][:users]
    products = [asin for asin in lines(folder / "pgpr/product.txt.gz") if asin]
    every = sorted(products)
    asins = every if users is None else sorted({asin for sequence in sequences for asin in sequence})
    row = {asin: i for i, asin in enumerate(asins)}
    items = [
        [every[int(i) - 1] for i in line.split()[1:]] for line in (folder / "ticoserec/Beauty_item_org_rank.txt").read_text().splitlines()
    ]
    days = [[float(t) for t in line.split()[1:]] for line in (folder / "ticoserec/Beauty_time_org_rank.txt").read_text().splitlines()]
    number = {asin: str(i) for asin, i in json.loads((folder / "llmseqrec/item_id_to_int.json").read_text()).items()}
    with open(folder / "llmseqrec/products_lookup.csv", encoding="utf-8", newline="") as file:
        title = {line["global_product_id"]: line["name"] or "" for line in csv.DictReader(file)}
    source, target, when = [], [], []
    for user, sequence in enumerate(sequences):
        day = dict(zip(items[user], days[user], strict=True))  # items of one day may stand in another order: join by item
        for place, asin in enumerate(sequence):
            source.append(user)
            target.append(row[asin])
            when.append(int(day[asin] * 1e6) + place)
    relations = {
        BUYS: pl.DataFrame({"source": source, "target": target, "time": when}, {"source": pl.UInt32, "target": pl.UInt32, "time": pl.Int64})
    }
    entities = {
        "user": pl.DataFrame({"id": [str(u) for u in range(len(sequences))]}),
        "item": pl.DataFrame({"id": asins, "text": [title.get(number[a], "") for a in asins]}),
    }
    for kind, links in (("brand", "brand_p_b"), ("category", "category_p_c")):
        names = lines(folder / f"pgpr/{kind}.txt.gz")
        entities[kind] = pl.DataFrame({"id": [str(i) for i in range(len(names))], "text": names})
        linked = zip(products, lines(folder / f"pgpr/{links}.txt.gz"), strict=False)
        ends = [(row[p], int(i)) for p, line in linked if p in row for i in line.split()]
        relations[Relation("item", f"has_{kind}", kind)] = pl.DataFrame(ends, {"source": pl.UInt32, "target": pl.UInt32}, orient="row")
    graph = Graph(entities, relations, frozenset(r for r in relations if r != BUYS))
    return Dataset(graph, (Task("buys", BUYS),))


def related(dataset: Dataset, folder: Path, name: str) -> pl.DataFrame:
    """Edges between items by also_bought, also_viewed or bought_together, which the shop collected after what is held out was bought."""
    row = {asin: i for i, asin in enumerate(dataset.graph.entities["item"]["id"])}
    products, others = lines(folder / "pgpr/product.txt.gz"), lines(folder / "pgpr/related_product.txt.gz")
    linked = zip(products, lines(folder / f"pgpr/{name}_p_p.txt.gz"), strict=False)
    pairs = [(row[one], row[others[int(i)]]) for one, of in linked if one in row for i in of.split() if others[int(i)] in row]
    return pl.DataFrame([pair for pair in pairs if pair[0] != pair[1]], {"source": pl.UInt32, "target": pl.UInt32}, orient="row")


def lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().split("\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="the first 1,000 users only; no reference then")
    small = parser.parse_args().small
    folder = stored("amazon_beauty")
    dataset = load(folder, 1_000 if small else None)
    views = split(dataset, Split(by="last"))
    result = {}
    for name, reference in REFERENCE.items():
        start = time.perf_counter()
        without = {"text", "attributes"} - set(name.split("+"))
        asked = methods(views["select"].graph, dataset.tasks[0], without)
        floor = Floor(views["select"], views["test"], dataset.tasks[0], of=asked, rebuild=False).measure(metrics=["ndcg@10"])
        got = interval(floor.values["neighbours"]["ndcg@10"])
        result[name] = {"reference": None if small else reference, **got, "seconds": round(time.perf_counter() - start, 1)}
        print(name, {k: round(v, 4) for k, v in got.items()}, floor.settings["neighbours"], flush=True)
    result["popularity"] = interval(floor.values["popularity"]["ndcg@10"])
    print(json.dumps({"benchmark": "beauty_floor", "users": dataset.graph.size("user"), **result}))


if __name__ == "__main__":
    main()
