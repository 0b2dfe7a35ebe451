"""The recipes as they stand, on sets that they were not tuned for: what is published against the best simple thing in it.

    python examples/benchmarks/never_below.py films [--users 250] [--small] [section.key=value ...]

Rankings: films (MovieLens-100K by its RecBole files, the last rating held out), beauty (Amazon Beauty, the last purchase held out), artists
(Last.FM, a fifth of every listener's held out), spring (the embedded orders, tested on 2010-06). FAQs: faq (68 threads of stackfaq with their
paraphrases), chinese (the bank's 617 documents), jddc (replies to the contexts of a shop's chats); these two, and titles, with
multilingual-e5-small in models/e5-small. Classes: intents (ten questions of each of banking77's), sentences (financial_phrasebank, half agree),
companies (the mood of sentfin's headlines towards each company, a fifth of them held out), titles (Chinese ones). All candidates are ranked.
--users: that many of them, or of entries, lines, titles. --small takes few, to see that it runs. One JSON line last: the test figure of all
contenders, and what the published run gains over each.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import finance_chinese
import jddc
import numpy as np
import polars as pl
from arguments import about, asked_of, stored
from lastfm import LIKES, Listeners

from kgrec_core import Dataset, Graph, Relation, Task, fit
from kgrec_core.domain import resolve

E5 = ["encoder.model=" + str(Path("models/e5-small").absolute()), 'encoder.query_prefix="query: "', 'encoder.candidate_prefix="passage: "']
SMALL = ["train.steps=1", "train.batch=8", "train.validations=1", "retrieval.buys.windows=0", "retrieval.buys.trees=5"]
SMALL += [f"retrieval.buys.{c}.use=none" for c in ("ease_recent", "neighbours_recent", "basket", "next", "sequence")]


def films(folder: Path, users: int, seed: int) -> list[object]:
    """Users' ratings as what they met, the last two of each held out."""
    table = pl.read_csv(stored("ml100k") / "ml-100k.inter", separator="\t")
    if users:
        drawn = np.random.default_rng(seed).choice(np.sort(table["user_id:token"].unique().to_numpy()), users, replace=False)
        table = table.filter(pl.col("user_id:token").is_in(drawn.tolist()))
    folder = folder / "films"
    folder.mkdir()
    table.write_csv(folder / "films.inter", separator="\t")
    for end in ("item", "user", "kg", "link"):
        (folder / f"films.{end}").write_bytes((stored("ml100k") / f"ml-100k.{end}").read_bytes())
    data = {"use": "recbole", "folder": str(folder), "name": "films", "relation": "buys"}
    return [{"data": data, "split": {"by": "last", "known_only": False}}]


class Artists(Listeners):
    """What listeners hear, under the name that the recipe has for it."""

    def load(self) -> Dataset:
        (graph, _), buys = super().load(), Relation("user", "buys", "item")
        relations = {buys if r == LIKES else r: graph.relations[r] for r in graph.relations}
        return Dataset(Graph(graph.entities, relations, graph.timeless), (Task("buys", buys),))


def beauty(folder: Path, users: int, seed: int) -> list[object]:
    data = {"use": "beauty:Beauty", "folder": str(stored("amazon_beauty")), "users": users}
    return [{"data": data, "split": {"by": "last", "known_only": False}}]


def artists(folder: Path, users: int, seed: int) -> list[object]:
    data = {"use": "never_below:Artists", "folder": str(stored("lastfm")), "users": users, "seed": seed}
    return [{"data": data, "split": {"by": "column", "column": "part", "known_only": False}}]


def spring(folder: Path, users: int, seed: int) -> list[object]:
    """An earlier half-year of the order book than the recipe was made on."""
    return [["split.test=2010-06-01", "data.where=time < '2010-07-01'"]]


def faq(folder: Path, n: int, seed: int) -> list[object]:
    pairs = json.loads((stored("stackfaq") / "stackExchange-FAQ.json").read_text(encoding="utf-8"))["root"]["qapair"]
    drawn = np.random.default_rng(seed).choice(len(pairs), n or 68, replace=False)
    found = [{k: [v] if isinstance(v, str) else v for k, v in pairs[i].items() if k in ("question", "rephr", "answer")} for i in drawn]
    rows = [(t["question"][0], [q for q in t["rephr"] if q and q.strip() not in ("", "*")], "\n".join(t["answer"])) for t in found]
    return [entries(folder, rows)]


def chinese(folder: Path, n: int, seed: int) -> list[object]:
    documents = json.loads((stored("esun_bank_faq_zh") / "pid_map_content.json").read_text(encoding="utf-8"))
    rows = []
    for of in list(documents.values())[: n or None]:
        asked = list(dict.fromkeys(q["question"] for q in of))
        rows.append((asked[0], asked[1:], "\n".join(dict.fromkeys(a for q in of for a in q["answers"]))))
    return [entries(folder, rows), E5]


def entries(folder: Path, rows: list[tuple[str, list[str], str]]) -> dict:
    """An FAQ of (question, variants, answer) as a layer."""
    lines = [{"question": q, "variants": json.dumps(more, ensure_ascii=False), "answer": answer} for q, more, answer in rows]
    pl.DataFrame(lines).write_csv(folder / "faq.csv")
    split = {"by": "random", "group": "group", "test": 0.2, "validation": 0.2}  # as `kgrec support fit --faq` has it
    return {"data": {"use": "support", "faq": str(folder / "faq.csv")}, "split": split}


def replies(folder: Path, n: int, seed: int) -> list[object]:
    """Test lines are asked of the replies of all."""
    lines = jddc.drawn(stored("jddc_dialogues_zh"), seed, False, bool(n))
    number = {reply: str(i) for i, reply in enumerate(dict.fromkeys(line.reply for line in lines))}
    rows = [{"id": number[line.reply], "question": line.question, "answer": line.reply, "split": line.part} for line in lines]
    (folder / "faq.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    data = {"use": "support", "faq": str(folder / "faq.jsonl"), "mentions": False}
    return [{"data": data, "split": {"by": "column", "column": "split"}}, E5]


def intents(folder: Path, n: int, seed: int) -> list[object]:
    return [[f"data.per_class={3 if n else 10}", f"data.seed={seed}"]]


def sentences(folder: Path, n: int, seed: int) -> list[object]:
    lines = (stored("financial_phrasebank") / "Sentences_50Agree.txt").read_text(encoding="latin-1").splitlines()
    rows = [tuple(line.rsplit("@", 1)) for line in lines if "@" in line]
    pl.DataFrame(rows[:: len(rows) // 300 if n else 1], schema=["text", "sentiment"], orient="row").write_csv(folder / "sentences.csv")
    return [{"data": {"use": "news", "articles": str(folder / "sentences.csv")}}]


def companies(folder: Path, n: int, seed: int) -> list[object]:
    data = {"use": "finance_companies:Folds", "seed": seed} | ({"headlines": 4 * n} if n else {})
    return [{"data": data, "split": {"by": "column", "column": "split"}}]


def titles(folder: Path, n: int, seed: int) -> list[object]:
    rows = [(*row, part) for part, of in finance_chinese.parts(validate=False, small=bool(n)).items() for row in of]
    pl.DataFrame(rows, schema=["text", "sentiment", "split"], orient="row").write_csv(folder / "titles.csv")
    data = {"use": "news", "articles": str(folder / "titles.csv")}
    return [{"data": data, "split": {"by": "column", "column": "split"}}, E5[:2]]


SETS = {  # -> layers, the domain's recipe, its task, the metric
    "films": (films, "kgrec_ecommerce", "buys", "ndcg@10"),
    "beauty": (beauty, "kgrec_ecommerce", "buys", "ndcg@10"),
    "artists": (artists, "kgrec_ecommerce", "buys", "ndcg@10"),
    "spring": (spring, "kgrec_ecommerce", "buys", "ndcg@10"),
    "faq": (faq, "kgrec_support", "answer", "ndcg@10"),
    "chinese": (chinese, "kgrec_support", "answer", "ndcg@10"),
    "jddc": (replies, "kgrec_support", "answer", "ndcg@10"),
    "intents": (intents, "kgrec_support", "intent", "accuracy"),
    "sentences": (sentences, "kgrec_finance", "sentiment", "accuracy"),
    "companies": (companies, "kgrec_finance", "entity_sentiment", "accuracy"),
    "titles": (titles, "kgrec_finance", "sentiment", "accuracy"),
}


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("set", nargs="?", default="films", choices=SETS)
    parser.add_argument("--users", type=int, default=0)
    asked = asked_of(parser)
    os.chdir(Path(__file__).parent)  # where parts from files are found
    began = time.process_time()
    make, domain, name, metric = SETS[asked.set]
    with tempfile.TemporaryDirectory() as place:
        layers = make(Path(place), 40 if asked.small else asked.users, asked.seed)
        settings = [f"split.seed={asked.seed}", f"train.seed={asked.seed}"]
        settings += [f"retrieval.buys.seed={asked.seed}"] if name == "buys" else []
        settings += (SMALL if name == "buys" else SMALL[:3]) if asked.small else []
        recipe = resolve(f"{domain}:recipe.toml", *layers, settings + asked.settings)
        run = fit(recipe, Path(place) / "run", progress=lambda what, done, total: None if done else print(what, flush=True))
        task, metrics = run.metrics["tasks"][name], run.metrics
    referee, test = task["referee"], task["test"]
    rows = {n: {k: [round(v[x], 4) for x in ("mean", "low", "high")] for k, v in of.items()} for n, of in referee["contenders"].items()}
    found = {"benchmark": "never_below", "set": asked.set, "users": asked.users, "seed": asked.seed, "published": referee["published"]}
    found |= {"system": referee["system"], "slices": referee.get("slices", {}), "test": test["published"][metric]}
    found |= {system: test[system][metric]["mean"] for system in ("before", "after")}
    found |= {"contenders": rows}
    best = max(rows, key=lambda n: rows[n]["test"][0])
    found |= {"best": best, "published - best": rows[best]["gain"], "cpu": round(time.process_time() - began)}
    found["stages"] = {n: s["cpu"] for n, s in metrics["stages"].items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
