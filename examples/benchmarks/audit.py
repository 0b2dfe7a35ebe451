"""Does the graph pay, and does the linter find leaks? The audit of Amazon Beauty, the order book, films and artists, and positive controls.

    python examples/benchmarks/audit.py [--set beauty|order_book|films|artists] [--relation NAME ...] [--seed 0] [--small] [section.key=value ...]

Each by its benchmark's own chain with the encoder as it was pretrained: fitted in full, without the graph, with a degree-preserving
shuffle, without graph and language model, and without each relation (--relation: of these; films, artists: of one); what each brings in
NDCG@10, paired, by slice. Of Beauty (in KGREC_DATA, default ../shared/data) also the linter: clean it must raise nothing; with texts of users or of items written from whole sequences, test item included, with
also_bought, and with also_bought under another name it must tell a leak. One JSON line last.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import ml100k
import polars as pl
from arguments import DATA, about, asked_of
from beauty import RECIPE as BEAUTY
from beauty_floor import BUYS, lines
from order_book import SMALL

from kgrec_core import Dataset, Graph, Relation
from kgrec_core.domain import Recipe, Registry, Split, audited, leaks, loaded, resolve, split

LIKED = {"films": ("ml100k:Films", "ml100k", "has_genre"), "artists": ("lastfm:Listeners", "lastfm", "has_music_artist_origin")}


def paid(recipe: Recipe, seed: int, relations: Sequence[str] = ()) -> dict[str, dict]:
    """What the audit of a recipe's data set says of its task."""
    registry = Registry.discover()
    found = audited(recipe, registry, loaded(recipe, registry).dataset, told, relations, seed=seed)
    (task,) = found.pays
    return {**found.pays[task], "full": found.systems[task]["full"], "leaks": len(found.leaks)}


def told(what: str, done: int, total: int) -> None:
    print(what, f"{done}/{total}" if total else "", flush=True)


def controls(dataset: Dataset, folder: Path) -> Iterator[tuple[str, Dataset]]:
    """The data set as it is, and with what leaks."""
    graph, items = dataset.graph, dataset.graph.entities["item"]
    names, bought = items["text"].to_list(), graph.relations[BUYS].sort("source", "time")
    sequences = {user: of["target"].to_list() for (user,), of in bought.group_by("source", maintain_order=True)}
    yield "clean", dataset
    told_ = ["This shopper likes " + ", ".join(names[i] for i in sequences.get(user, ())) for user in range(graph.size("user"))]
    yield "user texts", _with(dataset, entities={"user": graph.entities["user"].with_columns(text=pl.Series(told_))})
    after: list[set[str]] = [set() for _ in names]
    for sequence in sequences.values():
        for one, other in pairwise(sequence):
            after[one].add(names[other])
    texts = [f"{name}. Often followed by {'; '.join(sorted(those))}" for name, those in zip(names, after, strict=True)]
    yield "item texts", _with(dataset, entities={"item": items.with_columns(text=pl.Series(texts))})
    row = {id: i for i, id in enumerate(items["id"].to_list())}
    products, related = lines(folder / "pgpr/product.txt.gz"), lines(folder / "pgpr/related_product.txt.gz")
    also = zip(products, lines(folder / "pgpr/also_bought_p_p.txt.gz"), strict=False)
    pairs = [(row[one], row[related[int(i)]]) for one, of in also if one in row for i in of.split() if related[int(i)] in row]
    table = pl.DataFrame([pair for pair in pairs if pair[0] != pair[1]], {"source": pl.UInt32, "target": pl.UInt32}, orient="row")
    for name in ("also_bought", "goes_with"):
        yield name, _with(dataset, relations={Relation("item", name, "item"): table})


def _with(dataset: Dataset, entities: dict | None = None, relations: dict | None = None) -> Dataset:
    graph = dataset.graph
    timeless = graph.timeless | set(relations or {})
    return Dataset(Graph({**graph.entities, **(entities or {})}, {**graph.relations, **(relations or {})}, timeless), dataset.tasks)


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("--set", choices=("beauty", "order_book", *LIKED))
    parser.add_argument("--relation", action="append", default=[], metavar="NAME", help="drop only these, one at a time")
    asked = asked_of(parser, "a few customers, few trees")
    folder = DATA / "amazon_beauty"
    os.chdir(Path(__file__).parent)  # where `beauty:Beauty` is found
    began, found = time.monotonic(), {"benchmark": "audit", "seed": asked.seed}
    if asked.set in LIKED:
        part, place, relation = LIKED[asked.set]
        settings = [f"data.folder={DATA / place}", f"data.seed={asked.seed}", "split.by=column", "split.rebuild=false", "train.epochs=0"]
        settings += [*ml100k.SMALL, "data.users=60"] if asked.small else []
        found[asked.set] = paid(resolve(ml100k.recipe(part), settings + asked.settings), asked.seed, asked.relation or [relation])
    elif asked.set != "order_book" and folder.is_dir():
        small = ["data.users=400", "retrieval.buys.trees=10"] if asked.small else ["retrieval.buys.queries=4000"]
        recipe = resolve(BEAUTY, [f"data.folder={folder}", *small, *asked.settings])
        dataset, how = loaded(recipe, Registry.discover()).dataset, Split(by="last")
        found["linter"] = {name: len(leaks(of, split(of, how), how)) for name, of in controls(dataset, folder)}
        print("linter", json.dumps(found["linter"]), flush=True)
        found["beauty"] = paid(recipe, asked.seed, asked.relation)
        print("beauty", json.dumps(found["beauty"]), flush=True)
    if asked.set in (None, "order_book"):
        settings = ["train.epochs=0", "retrieval.buys.windows=0", *(SMALL if asked.small else []), *asked.settings]
        found["order_book"] = paid(resolve("kgrec_ecommerce:recipe.toml", settings), asked.seed, asked.relation)
    print(json.dumps(found | {"seconds": round(time.monotonic() - began)}))


if __name__ == "__main__":
    main()
