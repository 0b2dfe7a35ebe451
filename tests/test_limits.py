"""A fit that may not cost more: fewer queries, never fewer candidates, and what the minutes did not suffice for is said."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from kgrec_core.limits import Budget, Fit, sampled
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.split import Split, split


@pytest.fixture(scope="module")
def views(shop):
    recipe = resolve(shop / "shop.toml")
    return split(recipe.data(Registry.discover()).load(), recipe.section("split", Split))


def test_queries_are_drawn_by_seed_and_candidates_never(views, caplog):
    limits = Fit(select=3, adjust=0, test=5)
    with caplog.at_level(logging.WARNING, "kgrec"):
        drawn, other = sampled(views, limits, 0), sampled(views, limits, 1)
    assert "test queries of task buys: 5 of 12 are drawn; fit.test = 0 takes all" in caplog.text
    assert {name: len(view.queries["buys"].nodes) for name, view in drawn.items()} == {
        name: {"select": 3, "test": 5}.get(name, len(view.queries["buys"].nodes)) for name, view in views.items()
    }
    assert all(drawn[name].graph is views[name].graph for name in views)
    rows = [of["test"].queries["buys"].nodes.rows for of in (drawn, sampled(views, limits, 0), other)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert set(rows[0]) != set(rows[2])
    whole, part = views["test"].queries["buys"], drawn["test"].queries["buys"]
    for n, row in enumerate(part.nodes.rows):
        at = whole.nodes.rows.tolist().index(row)
        np.testing.assert_array_equal(part.targets.take(np.array([n])).rows, whole.targets.take(np.array([at])).rows)


def test_the_interval_follows_from_the_queries_that_are_left(shop, cache, tmp_path):
    run = fit(resolve(shop / "shop.toml", ["fit.test=5", "train.steps=0", "train.epochs=0"]), tmp_path / "run")
    test = run.metrics["tasks"]["buys"]["test"]
    assert test["after"]["ndcg@10"]["n"] == test["floor"]["popularity"]["ndcg@10"]["n"] == 5
    assert test["gain"]["after-before"]["ndcg@10"]["mean"] == 0  # nothing was fine-tuned


def test_minutes_that_are_used_up(shop, cache, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "kgrec"):
        run = fit(resolve(shop / "shop.toml", ["fit.minutes=1e-4"]), tmp_path / "run")
    said = "the chain without knowledge was not measured: fit.minutes = 0.0001 were used up"
    assert said in caplog.text and said in run.metrics["dropped"] == json.loads((run.folder / "metrics.json").read_text())["dropped"]
    assert said in (run.folder / "README.md").read_text()
    test = run.metrics["tasks"]["buys"]["test"]
    assert "after" in test and "before" not in test and "without_knowledge" not in test
    assert run.answer(["ruser0"], k=1)


def test_what_does_not_fit_is_not_begun():
    budget = Budget(1)
    assert budget.allows("this", 30) and not budget.allows("that", 61) and budget.dropped[0].startswith("that was not measured")
    assert Budget(0).allows("all", 1e9)
