"""Who is published: never what is worse than something simple in it, and what opens is what was judged."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_core.comparison.contenders import alone, beside, without_graph
from kgrec_core.comparison.evidence import ahead
from kgrec_core.comparison.referee import BLIND, PAIR, WHOLE, Contender, Referee
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.report.verdict import short, verdict
from kgrec_core.run.run import open_run


class Part:
    def __init__(self, learns=False, anchored=False):
        self.learns, self.anchored = learns, anchored


class Judge(Referee):
    """A referee that was told what others found."""

    def __init__(self, heard):
        self.heard, self.seed, self.results = {"buys": heard}, 0, {}


def contender(name, values, system=None, learns=False, anchored=False):
    return Contender(name, system, {"use": name}, Part(learns, anchored), np.asarray(values, float))


def best(*heard, system="before"):
    return Judge(list(heard))._best(list(heard), system).name


def test_what_learned_must_gain_more_than_its_error():
    draw = np.random.default_rng(0)
    simple = draw.random(400)
    noise = draw.normal(0, 0.2, 400)
    noise -= noise.mean()
    for gain, expected in ((0.05, WHOLE["before"]), (0.001, "ease"), (-0.05, "ease")):
        chain = contender(WHOLE["before"], simple + noise + gain, "before", learns=True)
        assert best(chain, contender("ease", simple), contender("popular", simple - 0.3)) == expected


def test_a_chain_that_learned_nothing_stays_where_it_is_level():
    draw = np.random.default_rng(0)
    simple, noise = draw.random(400), draw.normal(0, 0.2, 400)
    noise -= noise.mean()
    for gain, expected in ((0.05, WHOLE["before"]), (-0.001, WHOLE["before"]), (-0.05, "ease")):
        assert best(contender(WHOLE["before"], simple + noise + gain, "before"), contender("ease", simple)) == expected


@pytest.mark.parametrize("system", ["before", "after"])
def test_what_stays_near_where_it_began_gives_way_to_what_is_clearly_better(system):
    """The errors of these differences are .01."""
    draw = np.random.default_rng(0)
    simple, noise = draw.random(400), draw.normal(0, 0.2, 400)
    noise -= noise.mean()
    for gain, expected in ((0.001, WHOLE[system]), (-0.015, WHOLE[system]), (-0.03, "vectors")):
        chain = contender(WHOLE[system], simple + noise + gain, system, learns=True, anchored=True)
        assert best(chain, contender("vectors", simple), system=system) == expected


@pytest.mark.parametrize(("gain", "system"), [(0.05, "after"), (0.003, "after"), (-0.003, "before"), (-0.05, "before")])
def test_fine_tuning_that_does_not_pay_is_dropped(gain, system):
    """The error of these differences is .006."""
    draw = np.random.default_rng(1)
    before = draw.random(300)
    noise = draw.normal(0, 0.1, 300)
    after = before + noise - noise.mean() + gain
    judge = Judge([contender(WHOLE["before"], before, "before"), contender(WHOLE["after"], after, "after")])
    assert judge.decide((), "after").system == system


@pytest.mark.parametrize(("gain", "system"), [(0.05, "after"), (-0.05, "before")])
def test_fine_tuning_is_judged_by_further_queries_too(gain, system):
    """40 select queries alone would say the opposite."""
    draw, alone = np.random.default_rng(1), "before" if system == "after" else "after"
    noise, before = draw.normal(0, 0.2, 400), draw.random(400)
    noise[:40] -= np.sign(gain) * 0.01 + noise[:40].mean()
    noise[40:] += gain - noise[40:].mean()
    heard = [contender(WHOLE["before"], before[:40], "before"), contender(WHOLE["after"], before[:40] + noise[:40], "after")]
    assert Judge(heard).decide((), "after").system == alone
    told = [heard[0]._replace(further=before[40:]), heard[1]._replace(further=before[40:] + noise[40:])]
    assert Judge(told).decide((), "after").system == system


def test_hardly_a_query_takes_nothing_from_the_recipe_but_what_is_clearly_worse():
    draw = np.random.default_rng(1)
    before = draw.random(9)
    noise = draw.normal(0, 0.1, 9)
    for gain, system, published in ((-0.01, "after", WHOLE["after"]), (-0.3, "before", "ease")):
        after = contender(WHOLE["after"], before + noise - noise.mean() + gain, "after")
        assert best(after, contender("ease", before), system="after") == published
        assert Judge([contender(WHOLE["before"], before, "before"), after]).decide((), "after").system == system


def test_a_ranker_that_learned_from_hardly_a_query_must_earn_its_place_all_the_more():
    draw = np.random.default_rng(1)
    simple, noise = draw.random(9), draw.normal(0, 0.1, 9)
    for gain, published in ((0.2, WHOLE["before"]), (0.0, "repeat"), (-0.01, "repeat")):
        chain = contender(WHOLE["before"], simple + noise - noise.mean() + gain, "before", learns=True)
        assert best(chain, contender("repeat", simple)) == published


def test_where_select_queries_are_few_what_else_was_asked_counts_as_much():
    """Six select queries place `lucky` first; 60 further ones, which the chain has learned from, do not."""
    draw, lucky = np.random.default_rng(0), np.array([0.6, 0.4, 0.9, 0.8, 0.5, 0.7])
    steady, chain = lucky - 0.05, lucky - np.array([0.0, 0.1, 0.2, 0.0, 0.3, 0.1])
    further = draw.random(60)
    found = [contender("lucky", lucky), contender("steady", steady), contender(WHOLE["before"], chain, "before", learns=True)]
    told = [found[0]._replace(further=further), found[1]._replace(further=further + 0.1), found[2]._replace(further=np.full(60, np.nan))]
    assert Judge(found)._best(found, "before").name == "lucky"
    assert Judge(told)._best(told, "before").name == "steady"


def test_a_contender_that_was_asked_less_is_judged_by_what_both_were_asked():
    hard, easy = np.full(40, 0.2), np.full(40, 0.9)
    half = np.concatenate([hard + 0.1, np.full(40, np.nan)])  # its mean is lower only because it was not asked what is easy
    assert ahead([np.concatenate([hard, easy]), half]) == 1
    assert ahead([np.concatenate([hard, easy]), half - 0.2]) == 0
    assert ahead([hard, hard, np.full(40, np.nan)]) == 0


@given(st.lists(st.lists(st.integers(0, 9), min_size=5, max_size=5), min_size=1, max_size=8))
def test_where_all_were_asked_the_same_the_first_of_the_best_is_ahead(rows):
    values = [np.array(row, float) for row in rows]
    assert ahead(values) == int(np.argmax([v.sum() for v in values]))


@pytest.mark.parametrize(("led", "judges"), [(2, [0, 1]), (12, list(range(12))), (15, None), (17, None)])
def test_an_entry_that_lost_its_only_question_says_nothing_of_known_questions(led, judges):
    """Once published it has that question again; a fifth of such queries is enough to have answers' own texts published in place of questions."""
    judge = Judge([])
    judge.results = {"answer": SimpleNamespace(metric="ndcg@10")}
    queries = {"answer": SimpleNamespace(targets=SimpleNamespace(counts=np.ones(17, int)))}
    judge.views = {"select": SimpleNamespace(graph=SimpleNamespace(columns=lambda kind: ["id", "text"]), queries=queries)}
    judge.evidence = SimpleNamespace(views_of=lambda task, tasks: [])
    judge._led_to = lambda task, view: np.arange(17) < led
    counts = judge._judges(SimpleNamespace(name="answer", relation=SimpleNamespace(source="question")), ())
    assert counts == slice(None) if judges is None else np.flatnonzero(counts).tolist() == judges


def test_a_channel_alone_fills_its_list_with_what_is_popular():
    table = alone("nearest text", {"use": "faiss"})
    assert table["use"] == "merge" and table["nearest_text"] == {"use": "faiss"} and table["weights"]["filled"] < 0.01
    assert alone("popular", {"use": "popular", "days": 7.0}) == {"use": "popular", "days": 7.0}
    chain = {"use": "merge", "by": "score", "weights": {"a": 1.0}, "a": {"use": "faiss"}}
    assert beside(chain, {"nearest text": {"use": "faiss"}, "words": {"use": "lexical"}}) == {
        "a": {"use": "faiss"},
        "words": {"use": "lexical"},
    }


def test_a_run_is_the_best_of_its_parts_and_says_so(shop, cache, tmp_path):
    """A chain that ranks the wrong colour first loses against its own channels; what is published opens and answers as a run does."""
    worst = {"use": "merge", "by": "score", "weights": {"repeat": -1.0, "popular": -1.0, "semantic": -1.0}}
    channels = {"semantic": {"use": "faiss"}, "repeat": {"use": "repeat"}, "popular": {"use": "popular"}}
    layers = {"fit": {"publish": "best"}, "train": {"epochs": 0}, "retrieval": {"buys": {"use": "none"}}}
    run = fit(resolve(shop / "shop.toml", layers, {"retrieval": {"buys": worst | channels}}), tmp_path / "run")
    task = run.metrics["tasks"]["buys"]
    told, test = task["referee"], task["test"]
    assert told["published"] in told["contenders"] and told["published"] not in WHOLE.values()
    assert test["published"]["ndcg@10"]["mean"] > test["after"]["ndcg@10"]["mean"]
    own = told["contenders"][told["published"]]
    # what knows behaviour alone is published with what nobody has chosen yet behind it
    assert own["gain"]["mean"] == pytest.approx(test["published"]["ndcg@10"]["mean"] - own["test"]["mean"]) == pytest.approx(0, abs=0.01)
    assert told["simple"] == told["published"] and told["further"] > own["select"]["n"]
    again = open_run(tmp_path / "run")
    assert [a.id for a in again.answer(["ruser0"], k=3)[0]] == [a.id for a in run.answer(["ruser0"], k=3)[0]]
    assert again.recipe.tables["retrieval"]["buys"] != worst | channels
    said = verdict("buys", task)
    assert said[0].startswith(f"Published for buys: {told['published']}; NDCG@10 ") and "12 test queries" in said[0]
    assert f"Chosen by 6 select queries and up to {told['further']} further held-out ones." in said[0]
    assert len(short(task)) == min(8, 2 + len(told["contenders"]))


def test_two_that_know_different_things_are_published_together_where_queries_are_few(shop, cache, tmp_path, monkeypatch):
    """Customers buy one colour, which the graph knows, and of it mostly what everybody buys, which it does not."""
    simple = {"its colour": {"use": "content", "by": "relations"}, "popular": {"use": "popular", "days": 0.0}}
    monkeypatch.setattr("kgrec_core.comparison.results.Ranking.simple", lambda *_: simple)
    folder, draw = Path(shutil.copytree(shop, tmp_path / "shop")), np.random.default_rng(0)
    head, *lines = (shop / "orders.csv").read_text().splitlines()
    rows = (f"{who},{who[0]}{8 - min(draw.geometric(0.4), 8)},{day}" for who, _, day in (line.split(",") for line in lines))
    (folder / "orders.csv").write_text("\n".join([head, *rows]) + "\n")
    layers = {"fit": {"publish": "best"}, "train": {"epochs": 0}, "retrieval": {"buys": {"use": "none"}}}
    run = fit(resolve(folder / "shop.toml", layers, {"retrieval": {"buys": {"use": "exact"}}}), tmp_path / "run")
    told, table = run.metrics["tasks"]["buys"]["referee"], run.recipe.tables["retrieval"]["buys"]
    assert set(told["published"].split(PAIR)) == set(simple) and {"its_colour", "popular"} < set(table["weights"])
    again = open_run(tmp_path / "run")
    answers = again.answer(["ruser0"], k=3)[0]
    assert [a.id for a in answers] == [a.id for a in run.answer(["ruser0"], k=3)[0]] and all(a.id.startswith("r") for a in answers)
    assert answers[0].reason and set(answers[0].columns) >= {"its_colour", "popular"}


def test_a_retrieval_without_the_graph_has_no_channel_and_no_column_by_it():
    near, graph = {"use": "faiss"}, {"use": "content", "by": "relations"}
    merge = {"use": "merge", "by": "score", "weights": {"near": 1.0, "graph": 2.0}, "near": near, "graph": graph}
    assert without_graph(merge) == {"use": "merge", "by": "score", "weights": {"near": 1.0}, "near": near}
    ranker = {"use": "core/lambdarank", "leave_out": ["age"], "unchosen": {"graph": 1.0}, "graph": graph, "inner": merge}
    found = without_graph(ranker)
    assert found == {"use": "core/lambdarank", "leave_out": ["age", "near by"], "unchosen": {}, "inner": without_graph(merge)}
    assert without_graph(near) == near


@pytest.mark.parametrize(("weight", "published"), [(2.0, WHOLE["before"]), (-2.0, BLIND)])
def test_where_the_graph_does_not_pay_auto_leaves_it_out_and_says_so(shop, cache, tmp_path, monkeypatch, weight, published):
    """Customers buy one colour, which the graph knows: a chain that ranks by it is kept, one that ranks against it is not."""
    monkeypatch.setattr("kgrec_core.comparison.results.Ranking.simple", lambda *_: {})
    channels = {"graph": {"use": "content", "by": "relations"}, "popular": {"use": "popular"}}
    table = {"use": "merge", "by": "score", "weights": {"graph": weight, "popular": 0.1}, **channels}
    layers = {"fit": {"publish": "best", "graph": "auto"}, "train": {"epochs": 0}, "retrieval": {"buys": {"use": "none"}}}
    run = fit(resolve(shop / "shop.toml", layers, {"retrieval": {"buys": table}}), tmp_path / "run")
    told = run.metrics["tasks"]["buys"]["referee"]
    assert told["published"] == published and set(told["contenders"]) == {WHOLE["before"], BLIND}
    assert ("graph" in run.recipe.tables["retrieval"]["buys"]) is (published != BLIND)
    assert ("does not do clearly better with it" in verdict("buys", run.metrics["tasks"]["buys"])[0]) is (published == BLIND)
    assert len(open_run(tmp_path / "run").answer(["ruser0"], k=3)[0]) == 3
