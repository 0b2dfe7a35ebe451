"""Of a shop whose referee published what knows behaviour alone, a text without a history is answered by meaning and words, and nothing else changes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command import invoked

import kgrec_core.cli.main
from kgrec_core.comparison.contenders import described
from kgrec_core.comparison.referee import WHOLE, Referee
from kgrec_core.graph import Nodes
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.run.asked import with_queries
from kgrec_core.run.run import open_run

WORST = "retrieval.buys={by='score', weights={semantic=-1.0, words=-1.0, repeat=-1.0, popular=-1.0}}"
LAYERS = ("fit.publish=best", "train.epochs=0", "retrieval.buys.words.use=lexical", WORST)


@pytest.fixture
def ask(shop, cache, tmp_path):
    """The commands, on a run of the shop whose chain ranks by unlikeness."""
    run = tmp_path / "run"

    def ask(*words):
        done = invoked(kgrec_core.cli.main.main, "kgrec", "ecommerce", *words, "--run", run, cwd=tmp_path, run=run)
        assert done.code == 0, done.err
        return done.out

    ask.said = ask("fit", "--recipe", shop / "shop.toml", *LAYERS)
    ask.run = open_run(run)
    return ask


def test_a_small_shop_answers_words_by_words_and_histories_as_the_referee_heard(ask):
    table = ask.run.recipe.tables["retrieval"]["buys"]
    assert (
        table["use"] == "core/switch"
        and table["described"] == "text_alone"
        and set(table["text_alone"]["weights"]) == {"semantic", "words"}
    )
    assert "A text without a history is answered by semantic and words" in ask.said
    for words, first in (("blue lamp", "b1"), ("red candle", "r7"), ("BLUE CHAIR", "b3")):
        found = json.loads(ask("recommend", "--text", words, "-k", "3", "--json", "--explain"))
        assert found[0]["id"] == first and "has words in common" in found[0]["reason"]
        assert set(found[0]["explanation"]["channels"]) == {"semantic", "words"}
    at, history = ask.run.snapshot, ("b0", "b1")
    graph, rows = with_queries(at.graph, at.task(None), [{"history": history}, {"history": history, "text": "red candle"}, "ruser0"])
    nodes = Nodes(graph, "user", rows, "query")
    vectors, part = at.model.vectors(at.task(None), nodes), at.retrievals["buys"]
    np.testing.assert_array_equal(part.search(nodes, vectors, 8).rows, part.channels["usual"].search(nodes, vectors, 8).rows)


def test_a_chain_names_who_hears_words_however_deep():
    deep = {"use": "switch", "usual": {"use": "merge", "only": {"use": "ease"}, "nearest": {"use": "core/exact"}}, "w": {"use": "lexical"}}
    assert described(deep)["weights"] == {"nearest": 1.0, "w": 1.0} and described({"use": "merge", "own": {"use": "ease"}}) is None


@pytest.mark.parametrize("ranker", ["merge", "lambdarank"])
def test_who_has_met_nothing_may_have_an_answer_of_their_own(shop, cache, tmp_path, monkeypatch, ranker):
    """Strangers get what is popular of a run that publishes the chain; no probability is told."""
    monkeypatch.setattr(Referee, "_slices", lambda self, task, of, best: {"strangers": next(c for c in of if c.name == "popular")})
    monkeypatch.setattr(Referee, "_best", lambda self, found, *_: next(c for c in found if c.name in WHOLE.values()))
    for where in ("confidence", "calibration"):
        monkeypatch.setattr(f"kgrec_core.calibration.{where}.SMALLEST", 2)
    channels = {"semantic": {"use": "faiss"}, "words": {"use": "lexical"}, "popular": {"use": "popular"}}
    layers = {"fit": {"publish": "best"}, "train": {"epochs": 0}, "retrieval": {"buys": {"use": "none"}}}
    run = fit(resolve(shop / "shop.toml", layers, {"retrieval": {"buys": {"use": ranker, **channels}}}), tmp_path / "run")
    again = open_run(tmp_path / "run")
    part = again.snapshot.retrievals["buys"]
    assert (part.default, part.strangers, part.described) == ("usual", "without_history", "text_alone")
    asked = [{"text": "blue lamp"}, {"id": "ruser0"}]
    assert [[a.id for a in of] for of in again.answer(asked, k=3)] == [[a.id for a in of] for of in run.answer(asked, k=3)]
    assert again.answer(asked, k=1)[0][0].id == "b1"
    assert [of.probability for of in again.judged(asked)] == [None, None]  # each is answered by other columns
