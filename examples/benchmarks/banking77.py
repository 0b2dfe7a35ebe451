"""banking77: accuracy of the 77 intents on the published 3,080 test questions, learned from all training questions or a few a class.

    python examples/benchmarks/banking77.py [--per-class 10] [--unlabelled [KEY]] [--keep RUN] [--seed 0] [--small] [section.key=value ...]

The questions are in the package kgrec-support; validation is a tenth of train. With --per-class only so many training questions an
intent are seen; the validation questions then choose no checkpoint, but the mixture's few weights are still learned from half of them (the encoder's
classes alone do without). With all of them "others_at_least" is the least accuracy that the test questions which train does not repeat can
have. --unlabelled hands all training questions, without labels, to what `train.teacher` says of texts, or to the objective that
KEY belongs to. --keep leaves the run in a folder, so that it may teach: `train.teacher.model=RUN`. --small learns from three of each of four intents for a few steps. One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from arguments import Clock, about, asked_of
from few import training
from kgrec_support.sample import QUESTIONS

from kgrec_core import fit
from kgrec_core.domain import resolve

FULL = ["train.weights.answer=0", "train.contrastive=0.5", "train.epochs=3", "train.lr=1e-4", "train.batch=32", "train.validations=3"]
FEW = ["train.weights.answer=0", "train.contrastive=10", "train.epochs=4", "train.batch=64", "train.validations=1", "split.rebuild=false"]
TEACHER = "train.teacher.texts"
SMALL = ["data.per_class=3", "data.intents=4", "train.steps=2", "train.contrastive=0.02", "train.validations=1"]


def measured(asked: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    """The figures of one fit."""
    settings = [f"{part}.seed={asked.seed}" for part in ("data", "split", "train")] + (FEW if asked.per_class else FULL)
    settings += [f"data.per_class={asked.per_class}"] if asked.per_class else []
    with tempfile.TemporaryDirectory() as folder:
        if asked.unlabelled:
            texts = Path(folder) / "unlabelled.txt"
            texts.write_text("".join(f"{' '.join(text.split())}\n" for text in training()[: 40 if asked.small else None]), encoding="utf-8")
            settings.append(f"{asked.unlabelled}={texts}")
        run = fit(
            resolve("kgrec_support:recipe.toml", settings + (SMALL if asked.small else []) + asked.settings),
            asked.keep or Path(folder) / "run",
            progress=clock,
        )
        test, history = run.metrics["tasks"]["intent"]["test"], run.history
    found = {"benchmark": "banking77", "per_class": asked.per_class or "all", "seed": asked.seed}
    for system in ("before", "encoder_before", "after", "encoder_after"):
        found[system] = test[system]["accuracy"]
    if not (asked.per_class or asked.small):
        after, same = found["after"], repeated()
        found["others_at_least"] = (after["mean"] * after["n"] - same) / (after["n"] - same)
    found |= {"floor": test["floor"]["tfidf_lr"]["accuracy"], "gain": test["gain"]["after-before"]["accuracy"]}
    found |= {"training_seconds": history[-1]["seconds"] if history else 0, "select": history[-1]["select"] if history else None}
    return found


def repeated() -> int:
    """How many test questions stand in train but for case and signs: with the same intent, so that an accuracy without them is least where
    all of them are right."""
    plain = pl.col("text").str.to_lowercase().str.replace_all(r"[^a-z0-9]+", " ").str.strip_chars()
    table = pl.read_parquet(QUESTIONS).with_columns(plain=plain)
    learned = table.filter(pl.col("split") != "test")
    return table.filter(pl.col("split") == "test").join(learned, on=("plain", "intent"), how="semi").height


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("--per-class", type=int)
    parser.add_argument("--unlabelled", nargs="?", const=TEACHER, metavar="KEY")
    parser.add_argument("--keep", type=Path)
    asked, clock = asked_of(parser), Clock()
    print(json.dumps(measured(asked, clock) | {"seconds": clock.seconds}))


if __name__ == "__main__":
    main()
