"""A run's test figures are computed again from its own data, and nobody asks it what it was built on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph
from kgrec_core.jobs.standard import Evaluate, evaluate, evaluated
from kgrec_core.lifecycle.held_out import evaluate_again, held_out, unseen
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.run.run import open_run

LAYER = {
    "encoder": {"use": "history", "items": {"use": "tfidf", "width": 8}},
    "head": {"buys": {"use": "rank", "adapter": True}},
    "retrieval": {
        "buys": {"use": "lambdarank", "trees": 8, "semantic": {"use": "exact"}, "repeat": {"use": "repeat"}, "ease": {"use": "ease"}}
    },
    "train": {"epochs": 1.0, "steps": 0, "batch": 8},
}


@pytest.fixture(scope="module")
def own(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shop's files and a run of them with a ranker that learns."""
    folder = tmp_path_factory.mktemp("again")
    shutil.copytree(shop, folder / "shop")
    fit(resolve(folder / "shop" / "shop.toml", LAYER), folder / "run")
    return folder


def test_every_figure_of_the_published_system_is_computed_again(own):
    run = open_run(own / "run")
    before = [[a.id for a in of] for of in run.answer(["ruser0", "buser1"], k=5)]
    found = evaluate(run, Evaluate(again=True), lambda *_: None)
    again = found["again"]["buys"]
    assert again["differs"] == [] and again["difference"] <= 1e-6 and again["figures"] > 100
    system = "published" if "published" in run.metrics["tasks"]["buys"]["test"] else "after"
    assert found["tasks"]["buys"]["test"][system]["ndcg@10"] == pytest.approx(run.metrics["tasks"]["buys"]["test"][system]["ndcg@10"])
    assert "figures are those of the fit" in evaluated(found, Evaluate(again=True))
    assert [[a.id for a in of] for of in run.answer(["ruser0", "buser1"], k=5)] == before, "the run itself is left alone"


def test_a_figure_that_is_another_is_told(own):
    run = open_run(own / "run")
    run._read["metrics.json"] = run._read["metrics.json"].replace(b'"mrr": {\n', b'"mrr": {"n": 13,\n').replace(b'"n": 12', b'"n": 11')
    found = evaluate_again(run)
    assert found["again"]["buys"]["differs"] and found["again"]["buys"]["difference"] == 1
    assert "figures differ by up to 1: " in evaluated(found, Evaluate(again=True))


def test_what_was_held_out_is_not_known(own):
    run = open_run(own / "run")
    (task,), (views, snapshot) = run.tasks, held_out(run)
    assert len(snapshot.graph.relations[task.relation]) < len(run.graph.relations[task.relation])
    assert len(views["test"].queries["buys"].nodes) == 12 and len(snapshot.answer(["ruser0"], k=3)[0]) == 3


def test_other_data_are_refused(own, tmp_path):
    shutil.copytree(own / "run", tmp_path / "run")
    orders = own / "shop" / "orders.csv"
    text = orders.read_text()
    try:
        orders.write_text(text + "ruser0,r1,2024-03-05\n")
        with pytest.raises(KgrecError, match="are not those that it was fitted on; put them back, or fit again"):
            evaluate_again(open_run(tmp_path / "run"))
    finally:
        orders.write_text(text)


def test_again_or_other_rows():
    with pytest.raises(KgrecError, match="give one of them"):
        evaluate(None, Evaluate(again=True, data=Path("x.csv")), lambda *_: None)


def test_who_measures_asks_no_question_that_the_run_was_built_on(own):
    import polars as pl

    run = open_run(own / "run")
    with pytest.raises(KgrecError, match="user 'ruser0': this run was built on its answer for task buys"):
        unseen(run, ["ruser0"])
    queries = [{"text": "a red one"}, {"history": ["b1"]}]
    assert unseen(run, queries) is queries
    texts = Graph({"user": pl.DataFrame({"id": ["ruser0"], "text": ["A  friend of red"]})})
    if "text" in run.graph.columns("user"):
        run.add(texts)
        with pytest.raises(KgrecError, match="'a friend of Red '"):
            unseen(run, [{"text": "a friend of Red "}])
