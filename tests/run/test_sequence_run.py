"""A run whose encoder is `sequence`: fitted by cheap updates and by the usual ones, opened, and asked of what came later."""

from __future__ import annotations

import polars as pl

from kgrec_core.graph import Graph
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.run.run import open_run


def test_it_is_fitted_published_and_knows_what_comes_later(shop, tmp_path):
    above = {"use": "sequence", "items": {"use": "tfidf", "width": 16}, "width": 8, "heads": 2}
    objectives = {"catalogue": {"use": "catalogue", "steps": 4, "batch": 8}}
    layer = {
        "encoder": above,
        "head": {"buys": {"use": "rank"}},
        "retrieval": {"buys": {"use": "exact"}},
        "train": {"epochs": 0, "validations": 2, "objectives": objectives},
        "fit": {"publish": "chain"},
    }
    run = fit(resolve(shop / "shop.toml", layer), tmp_path / "run")
    assert [record["step"] for record in run.history] == [2, 4]
    (task,) = run.tasks
    kind = task.relation.target
    items = run.graph.entities[kind]
    text = items["text"][0]
    run.add(Graph({kind: pl.DataFrame({"id": ["newcomer"], "text": [text]})}))
    again = open_run(tmp_path / "run")
    asked = again.graph.entities[task.relation.source]["id"][:2].to_list()
    for opened in (run, again):
        answers = opened.answer(asked, k=len(items) + 1)
        scores = [{a.id: a.score for a in of} for of in answers]
        assert all("newcomer" in of for of in scores)
    assert [[(a.id, round(a.score, 4)) for a in of] for of in run.answer(asked, k=5)] == [
        [(a.id, round(a.score, 4)) for a in of] for of in again.answer(asked, k=5)
    ]
