"""The embedded questions are the published ones, each intent has an answer that a person can read."""

from __future__ import annotations

import csv
import importlib.util
import re
from pathlib import Path

import polars as pl
import pytest
from kgrec_support.assembly import ANSWERED_BY, HAS_INTENT, IN_CATEGORY
from kgrec_support.sample import ANSWERS, FOLDER, QUESTIONS, Banking

from kgrec_core import KgrecError, Split
from kgrec_core.domain import Registry, split
from kgrec_core.parts import near_duplicates
from kgrec_core.testing import check_data

BY_COLUMN = Split(by="column", column="split")


@pytest.fixture(scope="module")
def dataset():
    return Banking().load()


def test_counts(dataset):
    graph = dataset.graph
    assert {kind: graph.size(kind) for kind in ("question", "intent", "answer", "category")} == {
        "question": 13_083, "intent": 77, "answer": 77, "category": 8,
    }  # fmt: skip
    assert len(graph.relations[ANSWERED_BY]) == len(graph.relations[HAS_INTENT]) == 13_083
    assert len(graph.relations[IN_CATEGORY]) == 77
    assert graph.gather("intent", graph.rows("intent", ["card_arrival"]), "text").item() == "card arrival"
    assert [task.name for task in dataset.tasks] == ["answer", "intent"]


def test_the_split_is_the_published_one(dataset):
    views = split(dataset, BY_COLUMN)
    sizes = {name: {task: len(queries.nodes) for task, queries in view.queries.items()} for name, view in views.items()}
    assert sizes["test"] == {"answer": 3_080, "intent": 3_080} and sizes["train"] == {"answer": 9_000, "intent": 9_000}
    assert sizes["select"]["answer"] + sizes["adjust"]["answer"] == 1_003
    assert len(views["train"].graph.relations[ANSWERED_BY]) == len(views["train"].graph.relations[HAS_INTENT]) == 9_000


def test_validation_is_a_tenth_of_every_intent_and_tears_no_duplicates_apart():
    train = pl.read_parquet(QUESTIONS).filter(pl.col("split") != "test")
    share = train.group_by("intent").agg((pl.col("split") == "validation").mean().alias("share"), pl.len())
    assert len(share) == 77 and ((share["share"] - 0.1).abs() <= 1.5 / share["len"]).all()
    groups = train.with_columns(group=pl.Series(near_duplicates(train["text"].to_list()))).group_by("group").agg(pl.col("split").n_unique())
    assert groups["split"].max() == 1


def test_answers():
    with ANSWERS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["intent"] for row in rows} == set(pl.read_parquet(QUESTIONS)["intent"]) and len(rows) == 77
    texts = [row["answer"] for row in rows]
    assert len(set(near_duplicates(texts, 0.5).tolist())) == 77, "no two answers tell the same"
    assert all(40 < len(text) < 320 and 1 <= len(re.findall(r"[.!?](?= |$)", text)) <= 3 for text in texts)
    slots = {slot for text in texts for slot in re.findall(r"\{(\w+)\}", text)}
    assert slots >= {"card_last4", "amount", "merchant"} and sum("{" in text for text in texts) >= 6
    assert all(text.count("{") == text.count("}") == len(re.findall(r"\{[a-z][a-z0-9_]*\}", text)) for text in texts)


def test_few_shot():
    part = Banking(per_class=5, seed=1)
    ten, five = Banking(per_class=10, seed=1).load().graph.entities["question"], part.load().graph.entities["question"]
    assert (five["split"] == "train").sum() == 5 * 77 and (five["split"] == "test").sum() == 3_080
    drawn = [set(table.filter(pl.col("split") == "train")["id"]) for table in (five, ten)]
    assert drawn[0] < drawn[1]
    other = Banking(per_class=5, seed=2).load().graph.entities["question"]
    assert set(other.filter(pl.col("split") == "train")["id"]) != drawn[0]
    assert min(len(queries.nodes) for view in split(part.load(), BY_COLUMN).values() for queries in view.queries.values()) == 5 * 77


def test_conformance():
    check_data(lambda: Banking(per_class=3))


def test_labelled(tmp_path):
    (tmp_path / "new.csv").write_text("text,category\nWhere does my card stay?,card_arrival\nHow is the weather?,\n")
    for relation in ("answered_by", "has_intent"):
        rows = Banking().labelled(relation, tmp_path / "new.csv")
        assert rows["target"].to_list() == ["card_arrival", None] and rows["text"][0] == "Where does my card stay?"
    with pytest.raises(KgrecError, match="known: answered_by, has_intent"):
        Banking().labelled("in_category", tmp_path / "new.csv")


def test_files_are_small_and_attributed():
    assert QUESTIONS.stat().st_size < 1e6
    text = (FOLDER / "ATTRIBUTION.txt").read_text()
    for word in ("BANKING77", "PolyAI", "Casanueva", "CC BY 4.0", "Changes"):
        assert word in text


def test_the_script_makes_the_file(real, tmp_path):
    spec = importlib.util.spec_from_file_location("build_sample", Path(__file__).parents[1] / "build_sample.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.build(real("banking77"), tmp_path)
    assert pl.read_parquet(tmp_path / "banking.parquet").equals(pl.read_parquet(QUESTIONS))


def test_the_plugin_is_listed():
    registry = Registry.discover()
    assert {c.name for c in (registry.component("data", name, []) for name in ("support", "banking"))} == {"support", "banking"}
