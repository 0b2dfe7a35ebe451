"""Is an error budget kept by small FAQs that measure themselves, and how much do they still answer?

    python examples/benchmarks/budget.py [--draws 200] [--budget .1] [--model models/e5-small] [--small]

The sets are those of prior.py. A draw takes one of them in turn, 30 to 300 of its entries as an FAQ, and asks it the questions of these entries
with a tenth of other entries' among them; none of the questions that ask is known to it. Everything else it does by itself, as a `fit` on so few
entries: the known questions ask again, each without its own entry, and where they have siblings thresholds are tested on them. The curve
that this begins with was learned on the other sets. Kept: at most `budget` of the answers given are wrong, up to what chance does in so
few answers (the 95 % lower bound of the share of wrong ones is not above it); wrong answers in all and the worst draw are printed beside.
The model is frozen. --small takes banking77 alone. One JSON line last; asked: kept in >= 95 % of the draws, >= 40 % answered at 10 %.
"""

from __future__ import annotations

import argparse
import json
import time
from unittest.mock import patch

import numpy as np
from prior import MINILM, Faq, curve, drawn, encoder, faqs, measured, others, settings

from kgrec_core.calibration import prior
from kgrec_core.calibration.calibration import upper_bound
from kgrec_core.calibration.confidence import features, right

OUT = 0.1  # of what is asked, the questions that no entry answers
SMALLEST, LARGEST = 30, 300  # entries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--budget", type=float, default=0.1)
    parser.add_argument("--model", default="models/e5-small")
    parser.add_argument("--small", action="store_true")
    asked, began = parser.parse_args(), time.monotonic()
    sets = list(faqs(asked.model, asked.small))
    encode = {faq.name: encoder(asked.model if faq.e5 else MINILM, faq.e5) for faq in sets}
    rows = []
    for faq in sets:
        for seed, (share, out) in enumerate(settings()):
            rows.append((faq.name, *measured(faq, share, out, encode[faq.name], np.random.default_rng(seed))))
    curves = {faq.name: curve(others(rows, faq.name, asked.small), range(len(prior.ROLES))) for faq in sets}
    draws = 2 * len(sets) if asked.small else asked.draws
    found: dict[str, list[tuple[int, int, int, float]]] = {faq.name: [] for faq in sets}
    for n in range(draws):
        faq = sets[n % len(sets)]
        found[faq.name].append(one(faq, curves[faq.name], encode[faq.name], asked.budget, np.random.default_rng(n)))
        if n % 10 == 9:
            print(f"{time.monotonic() - began:6.0f} s  {n + 1} draws", flush=True)
    table = {name: summary(of, asked.budget) for name, of in found.items()}
    every = summary([draw for of in found.values() for draw in of], asked.budget)
    print(json.dumps({"benchmark": "budget", **every, "sets": table, "seconds": round(time.monotonic() - began)}))


def one(faq: Faq, learned: tuple, encode, budget: float, rng: np.random.Generator) -> tuple[int, int, int, float]:
    """How many were asked, answered, answered wrongly; and how many entries there were."""
    size = int(rng.integers(min(SMALLEST, len(faq.entries) // 2), min(LARGEST, round(0.9 * len(faq.entries))) + 1))
    draw = drawn(faq, np.sort(rng.permutation(len(faq.entries))[:size]), OUT, encode, rng)
    entries = draw.own.rows
    siblings = np.bincount(entries)[entries] > 1
    weights, bias = learned
    with patch.dict(prior.CURVES, {prior.ROLES: (tuple(weights), bias)}):
        calibration = prior.calibrated(draw.known, draw.own, draw.channels, siblings, OUT)
    p = calibration.probability(features(draw.found))
    given = p >= calibration.guarantee(budget).threshold
    return len(p), int(given.sum()), int((given & ~right(draw.found, draw.targets)).sum()), size


def summary(draws: list[tuple[int, int, int, float]], budget: float) -> dict[str, float]:
    asked, given, wrong, size = np.array(draws).T
    kept = [upper_bound(g - w, g, 0.95) >= 1 - budget if g else True for g, w in zip(given, wrong, strict=True)]
    return {
        "draws": len(draws),
        "entries": round(float(size.mean())),
        "kept": round(float(np.mean(kept)), 3),
        "at most the budget as counted": round(float(np.mean(wrong <= budget * given)), 3),
        "answered": round(float(given.sum() / asked.sum()), 3),
        "answered, worst draw": round(float((given / asked).min()), 3),
        "wrong of answers": round(float(wrong.sum() / max(1, given.sum())), 4),
    }


if __name__ == "__main__":
    main()
