"""jddc_dialogues_zh: the agent's reply to 1,141 contexts of a shop's chats, found among the distinct test replies; recall@10.

    python examples/e5_small.py models/e5-small
    python examples/benchmarks/jddc.py [--model models/e5-small] [--seed 0] [--select] [--small] [section.key=value ...]

Needs the set jddc_dialogues_zh in KGREC_DATA (default ../shared/data). Commas at a line's end are cut off; two test lines have no reply
then and are left out. A question is the last 60 characters of its context: encoders cut long texts at the end, where the question
itself stands. Replies of train are learned from and never candidates; a reply that train has too is `seen` and reported apart, as
there old answers tell (channel `neighbours`) and elsewhere they cannot. A tenth of train is validation. The references rank the same
candidates: BM25 over the replies, cut by rjieba, and multilingual-e5-small as it was pretrained, with its prefixes, both by the same 60
characters and by the whole context; the ratio is to the best of the four. --select holds the test lines back altogether and tests on
1,141 lines of train, with their replies as candidates: what settings were chosen by. --small takes 60 lines and the packaged
MiniLM where the model is missing. One JSON line last.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from arguments import Clock, stored
from esun import arguments, bm25, encoder, held_out, model_of, ranks, seconds
from kgrec_support.plain import plain
from numpy.typing import NDArray

from kgrec_core import fit
from kgrec_core.domain import gain, hits_ranks, interval, resolve

LAST = 60
SETTINGS = [
    "data.use=support", "data.mentions=false", "split.by=column", "split.column=split",
    "encoder.use=concat", "encoder.words.use=tfidf", "encoder.words.tokenizer=rjieba",
    "encoder.meaning.use=text", "encoder.meaning.train_layers=0",
    'encoder.meaning.query_prefix="query: "', 'encoder.meaning.candidate_prefix="passage: "',
    "head.answer.adapter=true", "head.answer.temperature=0.1", "head.answer.logq=false",
    "retrieval.answer.pool=200", "retrieval.answer.questions.neighbours=20", "retrieval.answer.questions.per=sum",
    "retrieval.answer.words.tokenizer=rjieba", "retrieval.answer.words.asked=false",
    "retrieval.answer.weights={answers=1.0,words=0.1,questions=0.3}",
    "train.batch=512", "train.epochs=20", "train.head_lr=1e-3", "train.contrastive=0", "train.validations=4",
]  # fmt: skip
SMALL = ["train.steps=2", "train.batch=8", "train.validations=1", "encoder.words.width=16", "encoder.meaning.foreign=allow"]


class Line(NamedTuple):
    """question: the end of the context, or all of it. part: train, validation or test."""

    question: str
    context: str
    reply: str
    part: str


def main() -> None:
    asked = arguments(__doc__)
    lines = drawn(stored("jddc_dialogues_zh"), asked.seed, asked.select, asked.small)
    model = model_of(asked)
    found, clock = {"benchmark": "jddc", "seed": asked.seed, "part": "validation" if asked.select else "test"}, Clock()
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "faq.jsonl"
        number = {reply: str(n) for n, reply in enumerate(dict.fromkeys(one.reply for one in lines))}
        rows = [{"id": number[one.reply], "question": one.question, "answer": one.reply, "split": one.part} for one in lines]
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        settings = [f"data.faq={json.dumps(str(file))}", f"encoder.meaning.model={json.dumps(model)}", f"split.seed={asked.seed}"]
        settings += [f"train.seed={asked.seed}", *SETTINGS, *(SMALL if asked.small else []), *asked.settings]
        run = fit(resolve("kgrec_support:recipe.toml", settings), Path(place) / "run", progress=clock)
        replies = list(dict.fromkeys(one.reply for one in lines if one.part == "test"))
        theirs = run.graph.entities["answer"]["id"].is_in([number[reply] for reply in replies]).to_numpy()
        queries, hits = held_out(run, theirs)
        found |= {"training_seconds": seconds(run)}
    of = {plain(one.question): one for one in lines if one.part == "test"}
    test = [of[text] for text in queries.nodes.graph.gather("question", queries.nodes.rows, "text")["text"]]
    ours = (hits_ranks(hits, queries.targets) <= 10).astype(np.float64)
    every = references(test, replies, model)
    known = {one.reply for one in lines if one.part != "test"}
    seen = np.array([one.reply in known for one in test])
    for name, part in (("all", np.ones(len(test), bool)), ("seen", seen), ("unseen", ~seen)):
        if not part.any():
            continue
        hit = {other: values[part] for other, values in every.items()}
        best = max(hit, key=lambda other: hit[other].mean())
        found[name] = {
            "recall@10": interval(ours[part], asked.seed),
            "references": {other: float(values.mean()) for other, values in hit.items()},
            "best_reference": best,
            "ratio": float(ours[part].mean() / max(hit[best].mean(), 1e-9)),
            "gain": gain(ours[part], hit[best], asked.seed),
        }
    print(json.dumps(found | {"candidates": len(replies), "seconds": clock.seconds}))


def drawn(folder: Path, seed: int, select: bool, small: bool) -> list[Line]:
    """All lines with a reply. Contexts that end alike are told apart by all they say: a question is known by its text."""
    train, test = (read(folder, name, 60 if small else None) for name in ("train", "test"))
    part = np.random.default_rng(seed).permutation(len(train))
    names = np.full(len(train), "train", object)
    if select:
        names[part[: len(test)]], part = "test", part[len(test) :]
    names[part[: len(part) // 10]] = "validation"
    lines = [(*line, name) for line, name in zip(train, names, strict=True)]
    lines += [] if select else [(*line, "test") for line in test]
    ends = Counter(plain(context[-LAST:]) for context, *_ in lines)
    return [Line(context[-LAST:] if ends[plain(context[-LAST:])] == 1 else context, context, *rest) for context, *rest in lines]


def read(folder: Path, name: str, most: int | None) -> list[tuple[str, str]]:
    """(context, reply), without the commas at the end and without lines that have nothing but them."""
    sides = [(folder / f"{name}.{side}").read_text(encoding="utf-8").split("\n")[:most] for side in ("enc", "dec")]
    pairs = ((context.rstrip(","), reply.rstrip(",")) for context, reply in zip(*sides, strict=True))
    return [(context, reply) for context, reply in pairs if context and reply]


def references(test: list[Line], replies: list[str], model: str) -> dict[str, NDArray[np.float64]]:
    """Whether the right reply is among the first ten, per test line, for every training-free way to rank them."""
    right = [replies.index(one.reply) for one in test]
    vectors = encoder(model)
    candidates = vectors([f"passage: {reply}" for reply in replies])
    found = {}
    for name, asked in (("last characters", [one.question for one in test]), ("whole context", [one.context for one in test])):
        found[f"BM25, {name}"] = ranks(bm25(replies, asked), right) <= 10
        found[f"e5, {name}"] = ranks(vectors([f"query: {text}" for text in asked]) @ candidates.T, right) <= 10
    return {name: hit.astype(np.float64) for name, hit in found.items()}


if __name__ == "__main__":
    main()
