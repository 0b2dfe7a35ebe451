"""Does the graph pay? The audit of Amazon Beauty, the order book, films and artists.

    python examples/benchmarks/audit.py [--set beauty|order_book|films|artists] [--relation NAME ...] [--seed 0] [--small] [section.key=value ...]

Each by its benchmark's own chain with the encoder as it was pretrained: fitted in full, without the graph, with a degree-preserving
shuffle, without graph and language model, and without each relation (--relation: of these; films, artists: of one); what each brings in
NDCG@10, paired, by slice. Beauty, films and artists are in KGREC_DATA (default ../shared/data). One JSON line last.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import ml100k
from arguments import DATA, about, asked_of, stored
from beauty import RECIPE as BEAUTY
from order_book import SMALL

from kgrec_core.domain import Recipe, Registry, audited, loaded, resolve

LIKED = {"films": ("ml100k:Films", "ml100k", "has_genre"), "artists": ("lastfm:Listeners", "lastfm", "has_music_artist_origin")}


def paid(recipe: Recipe, seed: int, relations: Sequence[str] = ()) -> dict[str, dict]:
    """What the audit of a recipe's data set says of its task."""
    registry = Registry.discover()
    found = audited(recipe, registry, loaded(recipe, registry).dataset, told, relations, seed=seed)
    (task,) = found.pays
    return {**found.pays[task], "full": found.systems[task]["full"], "leaks": len(found.leaks)}


def told(what: str, done: int, total: int) -> None:
    print(what, f"{done}/{total}" if total else "", flush=True)


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
        settings = [f"data.folder={stored(place)}", f"data.seed={asked.seed}", "split.by=column", "split.rebuild=false", "train.epochs=0"]
        settings += [*ml100k.SMALL, "data.users=60"] if asked.small else []
        found[asked.set] = paid(resolve(ml100k.recipe(part), settings + asked.settings), asked.seed, asked.relation or [relation])
    elif asked.set != "order_book" and folder.is_dir():
        small = ["data.users=400", "retrieval.buys.trees=10"] if asked.small else ["retrieval.buys.queries=4000"]
        recipe = resolve(BEAUTY, [f"data.folder={folder}", *small, *asked.settings])
        found["beauty"] = paid(recipe, asked.seed, asked.relation)
        print("beauty", json.dumps(found["beauty"]), flush=True)
    if asked.set in (None, "order_book"):
        settings = ["train.epochs=0", "retrieval.buys.windows=0", *(SMALL if asked.small else []), *asked.settings]
        found["order_book"] = paid(resolve("kgrec_ecommerce:recipe.toml", settings), asked.seed, asked.relation)
    print(json.dumps(found | {"seconds": round(time.monotonic() - began)}))


if __name__ == "__main__":
    main()
