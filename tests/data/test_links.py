"""Links of columns: words of names, lists, the same kind, a kind with a table, buckets."""

from __future__ import annotations

import numpy as np
import polars as pl

from kgrec_core.data.links import Link
from kgrec_core.data.mapping import Entity, Goal
from kgrec_core.data.tables import Tables
from kgrec_core.graph import Relation
from tests.data.test_tables import named


def test_words_of_names_are_links_for_a_shop_without_attributes(tmp_path):
    names = ["Red glass lamp", "RED metal lamp", "Glass bowl", "Lamp of oak 12"]
    pl.DataFrame({"sku": ["a", "b", "c", "d"], "name": names}).write_csv(tmp_path / "products.csv")
    spec = Entity(file=tmp_path / "products.csv", id="sku", links={"word": Link(column="name", words=True, min_count=2, max_share=0.5)})
    graph = Tables(entities={"item": spec}).load().graph
    assert sorted(named(graph, Relation("item", "word", "word"))) == [("a", "glass"), ("a", "red"), ("b", "red"), ("c", "glass")]


def test_links_may_name_the_same_kind_a_kind_with_a_table_and_json_lists(tmp_path):
    (tmp_path / "items.jsonl").write_text('{"id": 7, "with": ["8", "9"], "maker": "m1"}\n{"id": 8, "with": null, "maker": "m2"}\n')
    (tmp_path / "makers.csv").write_text("id,name\nm1,Acme\n")
    links = {"with": Link(column="with", kind="item"), "maker": Link(column="maker", kind="company")}
    entities = {
        "item": Entity(file=tmp_path / "items.jsonl", id="id", links=links),
        "company": Entity(file=tmp_path / "makers.csv", id="id", text=("name",)),
    }
    graph = Tables(entities=entities).load().graph
    assert named(graph, Relation("item", "with", "item")) == [("7", "8"), ("7", "9")]
    assert graph.entities["company"].rows() == [("m1", "Acme"), ("m2", "m2")]


def test_quantile_buckets_are_of_like_size(tmp_path):
    pl.DataFrame({"sku": [str(i) for i in range(100)], "price": [None, *range(1, 100)]}).write_csv(tmp_path / "products.csv")
    spec = Entity(file=tmp_path / "products.csv", id="sku", links={"band": Link(column="price", buckets=4)})
    graph = Tables(entities={"item": spec}).load().graph
    sizes = graph.degree(Relation("item", "band", "band"), np.arange(graph.size("band")), inverse=True)
    assert len(sizes) == 4 and sizes.sum() == 99 and sizes.max() - sizes.min() <= 1


def test_a_link_may_be_what_a_task_predicts(tmp_path):
    (tmp_path / "questions.csv").write_text("id,text,intent\n1,where is it,track\n2,hello,\n")
    spec = Entity(file=tmp_path / "questions.csv", id="id", text=("text",), links={"intent": Link(column="intent")})
    dataset = Tables(entities={"question": spec}, tasks={"intent": Goal(relation="intent")}).load()
    assert dataset.tasks[0].relation == Relation("question", "intent", "intent")
    assert not dataset.graph.timeless  # what is predicted is not true at all times
