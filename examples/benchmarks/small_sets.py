"""Is what is published on small sets as good as the best simple thing in it, where some 30 to 100 queries choose among 25?

    python examples/benchmarks/small_sets.py [--sets films,pairs_last] [--seeds 3] [--small]

Sets: parts of films (MovieLens-100K, 120 users), artists (Last.FM, 120), beauty (Amazon Beauty, 200) with what these users met, faq (68 threads of
stackfaq), sentences (300 of financial_phrasebank), and shops made up of 120 customers who buy what is popular, what is new, what goes with their
last purchase, what their taste is called, what they bought before, or all of it. A shop's name ends in `_last` where the last purchase is held out
and not a month. On demand only: phrases_N, headlines_N and intents_N, so many drawn sentences of financial_phrasebank, headlines of sentfin, questions of
30 of banking77's intents; classes_N and answers_N, so many questions of each of its intents; faq_N, chinese_N, so many entries. The recipes as they stand, without fine-tuning; only what may be published is made. One JSON line last: by set the mean
over its seeds of what is published less the simple thing that is best there on average, for a referee that goes by its select queries alone and for
it as it is, and in how many the 95 % interval of what is published less the best simple thing on test is below 0. --small takes one shop of 40.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import beauty
import finance_phrasebank
import never_below
import numpy as np
import polars as pl
from arguments import about, asked_of, stored
from kgrec_support.sample import QUESTIONS

from kgrec_core import Dataset, Graph, Relation, Task, View
from kgrec_core.comparison.chains import Chain, learn_retrieval
from kgrec_core.comparison.evidence import build
from kgrec_core.comparison.referee import PAIR, WHOLE, Contender, Referee
from kgrec_core.comparison.results import Results, results_of
from kgrec_core.domain import resolve
from kgrec_core.evaluation.interval import gain
from kgrec_core.finetuning import SECTIONS, build_model, build_retrievals, sections
from kgrec_core.limits import sampled
from kgrec_core.loading import loaded
from kgrec_core.model import Model
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.split import Split, split
from kgrec_core.training.options import Train

DAY, BUYS, BRAND = 86_400_000_000, Relation("user", "buys", "item"), Relation("item", "brand", "brand")
WORDS = [
    "red", "blue", "green", "amber", "linen", "oak", "steel", "wool", "silver", "paper",
    "glass", "velvet", "cotton", "copper", "rustic", "nordic", "vintage", "mini", "grand", "soft",
]  # fmt: skip
THINGS = [
    "mug", "lamp", "chair", "rug", "clock", "vase", "bowl", "tray", "kettle", "quilt",
    "basket", "mirror", "candle", "frame", "stool", "jar", "tin", "hook", "bench", "spoon",
]  # fmt: skip


class Shop:
    """A year of a made-up shop. why: what its customers go by."""

    def __init__(self, *, why: str, users: int, seed: int, items: int = 250) -> None:
        self.why, self.users, self.items, self.seed = why, users, items, [seed, *why.encode()]

    def load(self) -> Dataset:
        self.draw, n = np.random.default_rng(self.seed), self.items
        draw = self.draw
        self.taste, self.born, self.partner = draw.integers(0, 20, n), draw.integers(0, 300, n), draw.permutation(n)
        self.fame = draw.pareto(1.1, n) + 0.05
        rows = [row for user in range(self.users) for row in self.year(user)]
        buys = pl.DataFrame(rows, schema={"source": pl.UInt32, "target": pl.UInt32, "time": pl.Int64}, orient="row").sort("time")
        text = [f"{WORDS[draw.integers(20)]} {WORDS[t]} {THINGS[t if draw.random() < 0.3 else draw.integers(20)]}" for t in self.taste]
        entities = {kind: pl.DataFrame({"id": [f"{kind[0]}{i}" for i in range(k)]}) for kind, k in (("user", self.users), ("brand", 15))}
        entities["item"] = pl.DataFrame({"id": [f"i{i}" for i in range(n)], "text": text})
        brand = pl.DataFrame({"source": np.arange(n, dtype=np.uint32), "target": draw.integers(0, 15, n).astype(np.uint32)})
        task = Task("buys", BUYS, repeats=self.why == "habit")
        return Dataset(Graph(entities, {BUYS: buys, BRAND: brand}, frozenset({BRAND})), (task,))

    def year(self, user: int) -> list[tuple[int, int, int]]:
        met: list[int] = []
        mine, days = self.draw.integers(0, 20), np.sort(self.draw.integers(0, 360, 3 + self.draw.poisson(6)))
        for day in days:
            weight = self.likely(met, int(mine), int(day))
            if self.why != "habit":
                weight[met] = 0
            met.append(int(self.draw.choice(self.items, p=weight / weight.sum())))
        moment = 18_262 * DAY + int(user)  # 2020; nobody buys at the very moment of another
        return [(user, item, moment + int(day) * DAY) for item, day in zip(met, days, strict=True)]

    def likely(self, met: list[int], mine: int, day: int) -> np.ndarray:
        """How likely each item is the next one of somebody, not yet of sum 1."""
        why = self.draw.choice(["taste", "pairs", "new", "fame"]) if self.why == "mixed" else self.why
        if why == "taste":
            return self.fame**0.3 * np.where(self.taste == mine, 1, 0.02)
        if why == "new":
            return np.where(day >= self.born, np.exp(-np.maximum(day - self.born, 0) / 20), 0) * self.fame**0.5 + 1e-4
        weight = self.fame / self.fame.sum()
        if why == "pairs" and met and self.draw.random() < 0.75:
            weight = 0.02 * weight
            for back, item in enumerate(met[::-1][:3]):
                weight[self.partner[item]] += 0.5**back
        if why == "habit" and met and self.draw.random() < 0.5:
            weight = np.bincount(met, minlength=self.items).astype(float)
        return weight.copy()


class Part:
    """Some users of a set, and only what they met."""

    def __init__(self, *, of: str, users: int, seed: int) -> None:
        self.of, self.users, self.seed = of, users, seed

    def load(self) -> Dataset:
        whole = beauty.Beauty(folder=stored("amazon_beauty")) if self.of == "beauty" else self.artists()
        graph, tasks = whole.load()
        edges = graph.relations[BUYS]
        users = np.sort(np.random.default_rng(self.seed).choice(edges["source"].unique().sort().to_numpy(), self.users, replace=False))
        edges = edges.filter(pl.col("source").is_in(users.tolist()))
        kept = {"user": users, "item": edges["target"].unique().sort().to_numpy()}
        entities = {kind: table[kept[kind]] if kind in kept else table for kind, table in graph.entities.items()}
        relations = {r: edges if r == BUYS else table for r, table in graph.relations.items()}
        for relation, table in relations.items():
            for end, kind in (("source", relation.source), ("target", relation.target)):
                if kind in kept:
                    rows = kept[kind].tolist()
                    new = pl.col(end).replace_strict(rows, range(len(rows)), return_dtype=pl.UInt32)
                    table = table.filter(pl.col(end).is_in(rows)).with_columns(new)
            relations[relation] = table
        return Dataset(Graph(entities, relations, graph.timeless), tuple(task for task in tasks if task.relation == BUYS))

    def artists(self) -> Any:
        return never_below.Artists(folder=stored("lastfm"), seed=self.seed)


LAST, MONTH = {"by": "last", "known_only": False}, {"by": "time", "test": "2020-11-01", "validation": "31d", "known_only": True}
DRAWN = {"by": "random", "test": 0.2, "validation": 0.1}
COLUMN = {"by": "column", "column": "part", "known_only": False}
SHOPS = {f"{why}{end}": how for end, how in (("", MONTH), ("_last", LAST)) for why in ("fame", "new", "pairs", "taste", "mixed")} | {
    "habit": MONTH
}


def layers(name: str, folder: Path, users: int, seed: int) -> tuple[str, str, list[Any]]:
    """The recipe, its task, and what is put above it."""
    if name in SHOPS:
        data = {"use": "small_sets:Shop", "why": name.removesuffix("_last"), "users": users or 120, "seed": seed}
        return "kgrec_ecommerce", "buys", [{"data": data, "split": SHOPS[name]}]
    if name in ("artists", "beauty"):
        data = {"use": "small_sets:Part", "of": name, "users": users or (120 if name == "artists" else 200), "seed": seed}
        return "kgrec_ecommerce", "buys", [{"data": data, "split": COLUMN if name == "artists" else LAST}]
    if name == "films":
        return "kgrec_ecommerce", "buys", never_below.films(folder, users or 120, seed)
    kind, _, n = name.partition("_")
    if kind in ("faq", "chinese"):
        return "kgrec_support", "answer", {"faq": never_below.faq, "chinese": never_below.chinese}[kind](folder, int(n or 68), seed)
    if kind in ("classes", "answers"):
        return "kgrec_support", {"classes": "intent", "answers": "answer"}[kind], [[f"data.per_class={int(n or 10)}", f"data.seed={seed}"]]
    classes = {"sentences": phrases, "phrases": phrases, "headlines": headlines, "intents": intents}[kind](int(n or 300), seed)
    classes.write_csv(file := folder / f"{kind}.csv")
    if kind == "intents":
        return "kgrec_support", "intent", [{"data": {"use": "support", "intents": str(file)}, "split": DRAWN}]
    return "kgrec_finance", "sentiment", [{"data": {"use": "news", "articles": str(file)}}]


def phrases(n: int, seed: int) -> pl.DataFrame:
    lines = (stored("financial_phrasebank") / "Sentences_50Agree.txt").read_text(encoding="latin-1").splitlines()
    rows = [tuple(lines[i].rsplit("@", 1)) for i in np.random.default_rng(seed).choice(len(lines), n, replace=False)]
    return pl.DataFrame(rows, schema=["text", "sentiment"], orient="row")


def headlines(n: int, seed: int) -> pl.DataFrame:
    return pl.DataFrame(finance_phrasebank.headlines(n, seed), schema=["text", "sentiment"], orient="row")


def intents(n: int, seed: int) -> pl.DataFrame:
    table = pl.read_parquet(QUESTIONS).select("text", label="intent")
    some = np.random.default_rng(seed).choice(table["label"].unique().sort().to_numpy(), 30, replace=False)
    return table.filter(pl.col("label").is_in(some.tolist())).sample(n, seed=seed, shuffle=True)


class Begun(NamedTuple):
    """A fit of one task as far as its model and its referee; nothing is learned yet."""

    recipe: Recipe
    registry: Registry
    how: Split
    options: Train
    dataset: Dataset
    views: dict[str, View]
    model: Model
    results: Results
    referee: Referee

    @property
    def task(self) -> Task:
        return self.dataset.tasks[0]

    def heard(self, system: str) -> list[Contender]:
        """The chain and what is simple in it, with the vectors as they are now, judged by the queries that a referee may ask."""
        chain = Chain(self.model, build_retrievals(self.recipe, self.registry, self.dataset))
        self.referee.hear(system, self.model, chain.retrievals, learn_retrieval(chain, self.views))
        return self.referee.heard[self.task.name]


def begun(name: str, users: int, seed: int, folder: Path, settings: list[str]) -> Begun:
    registry = Registry.discover()
    domain, task_name, above = layers(name, folder, users, seed)
    own = [f"split.seed={seed}", f"train.seed={seed}", *([f"retrieval.buys.seed={seed}"] if task_name == "buys" else [])]
    recipe = resolve(f"{domain}:recipe.toml", *above, own + settings).check(registry, SECTIONS)
    how, options, limits = sections(recipe, registry)
    dataset, *_ = loaded(recipe, registry, strict=False)
    task = next(t for t in dataset.tasks if t.name == task_name)
    dataset = Dataset(dataset.graph, (task,))
    views = sampled(split(dataset, how), limits, how.seed)
    model = build_model(recipe, registry, (task,), views["train"].graph)
    results = {task_name: results_of(task, recipe.head(registry, task_name), views, how)}
    referee = Referee(recipe, registry, views, results, how)
    return Begun(recipe, registry, how, options, dataset, views, model, results[task_name], referee)


def judged(name: str, users: int, seed: int, folder: Path, settings: list[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Every contender's values on test, and the names of what is published: by select queries alone, and as it is."""
    of = begun(name, users, seed, folder, settings)
    task, referee, heard = of.task, of.referee, of.heard("before")
    now = referee.decide((task,), "before").choices[task.name].published.name
    referee.heard[task.name] = [c._replace(further=np.zeros(0)) for c in heard if PAIR not in c.name]
    referee.evidence.views_of = lambda *_: []  # as if the select queries were all there is
    plain = referee.decide((task,), "before").choices[task.name].published.name
    graph = of.views["test" if of.how.rebuild else "train"].graph
    of.model.refresh(graph)
    for contender in heard:
        build(contender.retrieval, task, of.model, graph)
    return {c.name: of.results.asked(of.model, c.retrieval, of.views["test"]) for c in heard}, [plain, now]


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("--sets", default=",".join(["films", "artists", "beauty", "faq", "sentences", *SHOPS]))
    parser.add_argument("--seeds", type=int, default=3)
    asked = asked_of(parser)
    os.chdir(Path(__file__).parent)  # where parts from files are found
    names, users, seeds = (["fame"], 40, 1) if asked.small else (asked.sets.split(","), 0, asked.seeds)
    small = never_below.SMALL[3:] if asked.small else []
    began, rows, below, gains = time.process_time(), {}, [0, 0], []
    for name in names:
        found = []
        for seed in range(asked.seed, asked.seed + seeds):
            with tempfile.TemporaryDirectory() as place:
                values, published = judged(name, users, seed, Path(place), small + asked.settings)
            means = {n: float(np.nanmean(v)) for n, v in values.items() if n not in WHOLE.values() and PAIR not in n}
            best = max(means, key=means.get)
            below = [n + (gain(values[of], values[best])["high"] < 0) for n, of in zip(below, published, strict=True)]
            found.append((means, [float(np.nanmean(values[of])) for of in published]))
            print(
                name,
                seed,
                "best:",
                best,
                f"{means[best]:.4f}",
                "published:",
                *(f"{of} {np.nanmean(values[of]):.4f}" for of in published),
                flush=True,
            )
        shared = set.intersection(*(set(means) for means, _ in found))
        average = {n: np.mean([means[n] for means, _ in found]) for n in shared}
        best = max(average, key=average.get)
        less = np.mean([figures for _, figures in found], axis=0) - average[best]
        gains.append(less)
        rows[name] = {
            "best": best,
            "figure": round(float(average[best]), 4),
            "select alone": round(float(less[0]), 4),
            "as it is": round(float(less[1]), 4),
        }
    mean = [round(float(of), 4) for of in np.mean(gains, axis=0)]
    total = {"fits": len(names) * seeds, "published - best": dict(zip(("select alone", "as it is"), mean, strict=True))}
    total |= {"below the best by more than its interval": dict(zip(("select alone", "as it is"), below, strict=True))}
    print(json.dumps({"benchmark": "small_sets", "seed": asked.seed, **total, "sets": rows, "cpu": round(time.process_time() - began)}))


if __name__ == "__main__":
    main()
