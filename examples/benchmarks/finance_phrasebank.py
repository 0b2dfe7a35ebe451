"""financial_phrasebank (Malo et al. 2014): accuracy of the sentiment of 4,846 sentences, or of the 2,264 on which all annotators agree.

    python examples/benchmarks/finance_phrasebank.py [--agree 50] [--seed 0] [--headlines 0] [--unlabelled 0] [--keep RUN] [--validate] [--small] [section.key=value ...]

FinBERT's split (Araci 2019): a fifth is the test, a tenth of the rest validation, both drawn with random state 0; --agree All splits the
agreed sentences the same way. `frozen` is logistic regression on vectors of the pretrained model, its penalty chosen on validation.
--validate asks the validation sentences in place of the test, and a tenth of train chooses the epoch: what settings were chosen by.
--headlines learns also from so many of sentfin's headlines, those whose companies all have one label (other news, other annotators);
the floor sees them too. --unlabelled writes so many of them without labels beside the recipe, as what `train.teacher` is asked of. --keep leaves the run
in a folder, so that it may teach: `train.teacher.model=RUN`. --small learns from 200 sentences for a few steps. One JSON line last.
"""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from arguments import Clock, about, asked_of, stored
from kgrec_finance.articles.sample import FOLDER as SAMPLE
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split

from kgrec_core import fit
from kgrec_core.domain import resolve
from kgrec_core.parts import load_model as load

SETTINGS = ["train.metric=accuracy", "train.contrastive=0", "train.epochs=5", "train.lr=1e-4"]
SETTINGS += ["head.sentiment.label_smoothing=0.1", "train.validations=5"]
SMALL = ["train.steps=2", "train.contrastive=0", "train.validations=1"]


def sentences(agree: str) -> list[tuple[str, str]]:
    lines = (stored("financial_phrasebank") / f"Sentences_{agree}Agree.txt").read_text(encoding="latin-1").splitlines()
    return [tuple(line.rsplit("@", 1)) for line in lines if "@" in line]


def parts(rows: list, validate: bool) -> dict[str, list]:
    known, test = train_test_split(rows, test_size=0.2, random_state=0)
    train, validation = train_test_split(known, test_size=0.1, random_state=0)
    if validate:
        test = validation
        train, validation = train_test_split(train, test_size=0.1, random_state=0)
    return {"train": train, "validation": validation, "test": test}


def headlines(n: int, seed: int) -> list[tuple[str, str]]:
    table = pl.read_parquet(SAMPLE / "headlines.parquet").group_by("text", maintain_order=True).agg(pl.col("sentiment").unique())
    table = table.filter(pl.col("sentiment").list.len() == 1).with_columns(pl.col("sentiment").list.first())
    return table.sample(n, seed=seed).rows()


def frozen(split: dict[str, list], model: str) -> dict[str, float]:
    encoder = load(model, 128)
    x = {part: encoder.encode([text for text, _ in rows], normalize_embeddings=True) for part, rows in split.items()}
    y = {part: np.array([mood for _, mood in rows]) for part, rows in split.items()}
    models = [LogisticRegression(C=c, max_iter=2_000).fit(x["train"], y["train"]) for c in (0.3, 1, 3, 10, 30, 100, 300)]
    best = max(models, key=lambda model: model.score(x["validation"], y["validation"]))
    said = best.predict(x["test"])
    return {"frozen": accuracy_score(y["test"], said), "frozen_f1": f1_score(y["test"], said, average="macro")}


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("--agree", choices=["50", "66", "75", "All"], default="50")
    parser.add_argument("--headlines", type=int, default=0)
    parser.add_argument("--unlabelled", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--validate", action="store_true")
    asked = asked_of(parser)
    clock = Clock(20)

    rows = sentences(asked.agree)
    split = parts(rows[:: len(rows) // 280] if asked.small else rows, asked.validate)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sentences.csv"
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(["id", "text", "sentiment", "split"])
            writer.writerows([f"{part} {i}", *row, part] for part, of in split.items() for i, row in enumerate(of))
            writer.writerows([f"headline {i}", *row, "train"] for i, row in enumerate(headlines(asked.headlines, asked.seed)))
        mine = {"data": {"use": "news", "articles": str(file)}, "split": {"by": "column", "column": "split"}}
        settings = [*SETTINGS, f"train.seed={asked.seed}", *(SMALL if asked.small else []), *asked.settings]
        if asked.unlabelled:
            texts = Path(folder) / "unlabelled.txt"
            texts.write_text("".join(f"{text}\n" for text, _ in headlines(asked.unlabelled, asked.seed)), encoding="utf-8")
            settings.append(f"train.teacher.texts={texts}")
        recipe = resolve("kgrec_finance:recipe.toml", mine, settings)
        run = fit(recipe, asked.keep or Path(folder) / "run", progress=clock)
        test, history = run.metrics["tasks"]["sentiment"]["test"], run.history
    found = {
        "benchmark": "finance_phrasebank",
        "agree": asked.agree,
        "seed": asked.seed,
        "headlines": asked.headlines,
        "asked": "validation" if asked.validate else "test",
    }
    for system in ("published", "after", "encoder_after", "before"):
        found |= {system: test[system]["accuracy"], f"{system}_f1": test[system]["macro_f1"]["mean"]}
    found |= {"floor": test["floor"]["tfidf_lr"]["accuracy"]["mean"], "gain": test["gain"]["after-floor"]["accuracy"]}
    encoder = recipe.tables["encoder"]
    found |= frozen(split, encoder.get("large", encoder)["model"])
    found |= {"training_seconds": history[-1]["seconds"] if history else 0, "select": [record["select"]["sentiment"] for record in history]}
    print(json.dumps(found | {"seconds": clock.seconds}))


if __name__ == "__main__":
    main()
