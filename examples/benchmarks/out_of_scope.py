"""Out of scope: how well a run knows which questions no intent of it answers, and what an error budget then keeps.

    python examples/benchmarks/out_of_scope.py [--seed 0] [--small] [section.key=value ...]

Of banking77 ten intents, drawn by the seed, are unknown in calibration and ten others in the test (near); far = paraphrases of another
set, stackfaq. The other 57 are learned from 65 % of their training questions; 30 % validate, with unknown ones mixed in as often as in
the test, and 5 % are the fit's own test. What is asked here is in none of the fit's files, since the published run knows all of these.
Score = calibrated P(right). References: the largest softmax of the same head, and of logistic regression on the pretrained model's
vectors. One JSON line last; asked: AUROC near >= .93, far >= .99; at a budget of 3 %: wrong or out-of-scope answers / answers <= 4 %
(95 % upper bound), in scope answered / in scope >= 80 %.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from arguments import Clock, about, asked_of, stored
from kgrec_support.sample import QUESTIONS
from sklearn.linear_model import LogisticRegression

from kgrec_core import Nodes, candidates, fit
from kgrec_core.domain import Run, auroc, resolve, unseen, upper_bound, with_queries
from kgrec_core.parts import load_model

UNKNOWN, BUDGET = 10, 0.03
TRAIN = ["train.contrastive=0.5", "train.epochs=3", "train.lr=1e-4", "train.batch=32", "train.validations=3"]
SMALL = ["encoder.train_layers=1", "train.steps=2", "train.contrastive=0", "train.validations=1"]


def drawn(seed: int, small: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(text, label, split) to learn and calibrate from, label null = out of scope; (text, label, kind: known or near) to test."""
    rng, table = np.random.default_rng(seed), pl.read_parquet(QUESTIONS)
    intents = rng.permutation(table["intent"].unique().sort().to_numpy())
    intents, unknown = (intents[:8], 2) if small else (intents, UNKNOWN)
    if small:
        table = table.filter(pl.col("intent").is_in(intents.tolist()), pl.int_range(pl.len()).over("intent", "split") < 120)
    calibration, test, known = (pl.Series(part) for part in np.split(intents, [unknown, 2 * unknown]))
    table = table.with_columns(draw=pl.Series(rng.random(len(table))))
    learned = table.filter(pl.col("split") != "test")
    asked = table.filter(pl.col("split") == "test", ~pl.col("intent").is_in(calibration.implode()))
    plain = pl.col("text").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    asked = asked.filter(~plain.is_in(learned.select(plain).to_series().implode()))  # a few are asked in both parts
    own = learned.filter(pl.col("intent").is_in(known.implode()))
    part = pl.when(pl.col("draw") < 0.3).then(pl.lit("validation")).when(pl.col("draw") < 0.35).then(pl.lit("test"))
    own = own.with_columns(split=part.otherwise(pl.lit("train")))
    share = unknown / len(known)
    strange = learned.filter(pl.col("intent").is_in(calibration.implode())).sort("draw")
    strange = strange.head(round(share * len(own.filter(pl.col("split") == "validation"))))
    strange = strange.with_columns(intent=pl.lit(None, pl.String), split=pl.lit("validation"))
    kind = pl.when(pl.col("intent").is_in(test.implode())).then(pl.lit("near")).otherwise(pl.lit("known"))
    columns = ("text", pl.col("intent").alias("label"), "split")
    asked = asked.with_columns(kind=kind)
    files = pl.concat([own.select(columns), strange.select(columns)])
    asked = asked.filter(~pl.col("text").is_in(files["text"].implode()))
    return files, asked.select("text", pl.col("intent").alias("label"), "kind")


def far(seed: int, n: int) -> list[str]:
    pairs = json.loads((stored("stackfaq") / "stackExchange-FAQ.json").read_text(encoding="utf-8"))["root"]["qapair"]
    texts = [t for p in pairs for t in ([p["rephr"]] if isinstance(p["rephr"], str) else p["rephr"]) if t and t.strip() != "*"]
    return np.random.default_rng(seed).choice(np.unique(texts), n, replace=False).tolist()


def softmax(run: Run, texts: list[str]) -> np.ndarray:
    """(n,) the largest probability that the head gives any class."""
    task = run.task("intent")
    graph, model = run.graph, run.snapshot.model
    joined, rows = with_queries(graph, task, [{"text": text} for text in texts])
    logits = model.vectors(task, Nodes(joined, task.relation.source, rows, "query")) @ model.vectors(task, candidates(joined, task)).T
    logits = logits - logits.max(1, keepdims=True)
    return 1 / np.exp(logits).sum(1)


def frozen(files: pl.DataFrame, texts: list[str], model: str) -> tuple[list[str], np.ndarray]:
    """First answer and largest probability of logistic regression on the pretrained model's vectors of what was learned and validated."""
    known, encoder = files.filter(pl.col("label").is_not_null()), load_model(model, 128)
    x, asked = (encoder.encode(of, normalize_embeddings=True) for of in (known["text"].to_list(), texts))
    regression = LogisticRegression(C=10, max_iter=2_000).fit(x, known["label"].to_list())
    p = regression.predict_proba(asked)
    return regression.classes_[p.argmax(1)].tolist(), p.max(1)


def judged(run: Run, texts: list[str]) -> tuple[list[str | None], np.ndarray]:
    """First answer and P(right) of every text."""
    found = run.judged(unseen(run, [{"text": text} for text in texts], "intent"), "intent", 1)
    return [answers[0].id if answers else None for answers, _ in found], np.array([p for _, p in found])


def main() -> None:
    asked = asked_of(about(__doc__))
    files, test = drawn(asked.seed, asked.small)
    texts = test["text"].to_list() + far(asked.seed, test.filter(pl.col("kind") == "near").height)
    clock = Clock()

    with tempfile.TemporaryDirectory() as folder:
        files.write_csv(Path(folder) / "intents.csv")
        data = {"data": {"use": "support", "intents": str(Path(folder) / "intents.csv"), "empty": "keep"}}
        settings = [f"{part}.seed={asked.seed}" for part in ("split", "train")] + TRAIN + (SMALL if asked.small else [])
        run = fit(resolve("kgrec_support:recipe.toml", data, settings + asked.settings), Path(folder) / "run", progress=clock)
        run.recalibrate("intent")
        kind = np.array(test["kind"].to_list() + ["far"] * (len(texts) - len(test)))
        (first, p), reference = judged(run, texts), softmax(run, texts)
        guarantee = run.calibration("intent").guarantee(BUDGET)
        encoder = run.recipe.tables["encoder"]
        theirs, simple = frozen(files, texts, encoder.get("large", encoder)["model"])
        seconds = run.history[-1]["seconds"] if run.history else 0
    labels = test["label"].to_list() + [None] * (len(texts) - len(test))
    right = np.array([a == b for a, b in zip(first, labels, strict=True)]) & (kind == "known")
    answered = (p >= guarantee.threshold) & (kind != "far")  # far ones would only dilute
    wrong = int((answered & ~right).sum())
    found = {"benchmark": "out_of_scope", "seed": asked.seed, "training_seconds": seconds}
    for name, of in (("accuracy", first), ("frozen_accuracy", theirs)):
        same = np.array([a == b for a, b in zip(of, labels, strict=True)])
        found[name] = float(same[kind == "known"].mean())
    for other in ("near", "far"):
        part = (kind == "known") | (kind == other)
        scores = {"p": p, "max_softmax": reference, "frozen_max_softmax": simple}
        found[f"auroc_{other}"] = {name: auroc(of[part], kind[part] == "known") for name, of in scores.items()}
    found["budget"] = {
        "promise": str(guarantee),
        "answers": int(answered.sum()),
        "wrong": wrong,
        "wrong_share": wrong / max(1, int(answered.sum())),
        "upper": upper_bound(wrong, int(answered.sum()), 0.95),
        "far_answered": int(((p >= guarantee.threshold) & (kind == "far")).sum()),
        "in_scope_answered": float(answered[kind == "known"].mean()),
    }
    print(json.dumps(found | {"seconds": clock.seconds}))


if __name__ == "__main__":
    main()
