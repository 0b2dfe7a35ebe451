"""How long `kgrec_support.ask` takes in an open run of 10,000 entries, against the bare encoder and FAISS.

    python examples/benchmarks/ask.py [--small] [--rounds 300]

20,000 questions of distinct words lead to 10,000 entries; the run is served as published, warm, in one process and one thread, by
the domain's own channels (nearest questions, answers, words) and with a calibration. Bare: the same sentence-transformers model
encodes the same new question, and a flat FAISS index over the 20,000 questions finds ten. Both in turn, question by question. Prints
one JSON line last: milliseconds (median, p95), the ratio of the p95 and the median ratio of the pairs. Exits with 1 when the ratio of the p95 is over 1.3 at full size.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

THINGS = ("invoice", "parcel", "card", "account", "refund", "order", "address", "password", "voucher", "contract", "router", "ticket")
VERBS = ("change", "cancel", "find", "print", "share", "return", "extend", "pause", "check", "report", "lose", "block", "move", "split")


def sentence(number: int, asked: str = "How do I {verb} the {thing} of kind {a}{b}?") -> str:
    """Distinct for every number, and of ordinary words."""
    a, b = divmod(number // (len(THINGS) * len(VERBS)), 26)
    verb, thing = VERBS[number // len(THINGS) % len(VERBS)], THINGS[number % len(THINGS)]
    return asked.format(verb=verb, thing=thing, a=chr(97 + a), b=chr(97 + b))


def faq(file: Path, entries: int) -> None:
    """An FAQ table of two questions an entry."""
    import polars as pl

    n = range(entries)
    pl.DataFrame(
        {
            "id": [f"entry{i}" for i in n],
            "question": [sentence(i) for i in n],
            "variants": [sentence(i, "{verb} {thing} {a}{b}") for i in n],
            "answer": [sentence(i, "To {verb} the {thing} of kind {a}{b}, open Settings and follow the steps there.") for i in n],
        }
    ).write_csv(file)


def published(folder: Path, entries: int, encoder: dict | None = None):
    """An open run over such an FAQ; nothing is trained."""
    from kgrec_core import fit
    from kgrec_core.domain import resolve

    faq(folder / "faq.csv", entries)
    data = {"use": "support", "faq": str(folder / "faq.csv"), "mentions": False}
    part = min(0.02, 200 / entries) if entries > 5_000 else 0.2
    layer = {"data": data, "split": {"by": "random", "test": part, "validation": part}, "train": {"epochs": 0.0, "contrastive": 0.0}}
    return fit(resolve("kgrec_support:recipe.toml", layer | ({"encoder": encoder} if encoder else {})), folder / "run")


def measure(entries: int, rounds: int) -> dict[str, float | int]:
    import faiss
    import torch
    from kgrec_support import ask
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        run = published(Path(name), entries)
        model = SentenceTransformer(str(run.folder / "encoder"), device="cpu")
        texts = run.graph.entities["question"]["text"].to_list()
        vectors = model.encode(texts, batch_size=256, normalize_embeddings=True)
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)

        def bare(question: str) -> None:
            index.search(model.encode([question], normalize_embeddings=True, show_progress_bar=False), 10)

        took: dict[str, list[float]] = {"bare": [], "ask": []}
        acts = {"bare": bare, "ask": lambda question: ask(run, question, log=False)}
        for number in range(rounds + 20):
            for place in (number % 2, 1 - number % 2):
                label = ("bare", "ask")[place]
                question = sentence(number * 29 % entries, "I would like to {verb} my {thing} {a}{b}, how? " + f"({number})")
                start = time.perf_counter()
                acts[label](question)
                if number >= 20:
                    took[label].append(1_000 * (time.perf_counter() - start))
        calibrated = run.calibration("answer") is not None
    figures = {
        f"{label}_{what}_ms": round(float(np.quantile(t, q)), 2)
        for label, t in took.items()
        for what, q in (("median", 0.5), ("p95", 0.95))
    }
    ratio = figures["ask_p95_ms"] / figures["bare_p95_ms"]
    pairs = float(np.median(np.divide(took["ask"], took["bare"])))
    return {"entries": entries, "calibrated": calibrated, **figures, "ratio_p95": round(ratio, 3), "ratio_of_pairs": round(pairs, 3)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="500 entries, 30 rounds")
    parser.add_argument("--rounds", type=int, default=300, help="questions asked of each")
    options = parser.parse_args()
    found = measure(500 if options.small else 10_000, 30 if options.small else options.rounds)
    print(json.dumps({"benchmark": "ask", **found}))
    return int(not options.small and found["ratio_p95"] > 1.3)


if __name__ == "__main__":
    sys.exit(main())
