"""Rules for lists: filters by the graph, quotas, boosts, variety; a list is k long whatever they say."""

from __future__ import annotations

import numpy as np
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.run.rules import Rules
from kgrec_core.run.run import open_run


@pytest.fixture(scope="module")
def run(published):
    return open_run(published)


def asked(run, k: int = 6, query="ruser0", **rules) -> list:
    (found,) = run.answer([query], k=k, rules=Rules(**rules))
    return found


def colours(found) -> list[str]:
    return [answer.id[0] for answer in found]


def test_what_the_graph_relates_is_a_filter_and_its_opposite_too(run):
    assert set(colours(asked(run, related=("colour=blue",)))) == {"b"} and len(asked(run, related=("colour=blue",))) == 6
    assert set(colours(asked(run, related=("colour!=red",)))) == {"b"}
    assert set(colours(asked(run, k=16, related=("colour=blue", "colour=red")))) == {"b", "r"}
    with pytest.raises(KgrecError, match="no item is left"):
        asked(run, related=("colour=blue", "colour!=blue"))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"related": ("color=blue",)}, "no relation of item is called 'color'; did you mean 'colour'"),
        ({"related": ("colour",)}, "write related as NAME=VALUE"),
        ({"related": ("colour=bleu",)}, "no colour of this run is called 'bleu'; did you mean 'blue'"),
        ({"at_most": {"size": 1}}, "no relation or column of item is called 'size'"),
        ({"at_most": {"colour": 0}}, "must be at least 1"),
        ({"at_least": {"new": 0}}, "must be at least 1"),
        ({"diversity": 1.5}, "diversity = 1.5"),
        ({"boost": {"new": float("nan")}}, "boost new = nan"),
        ({"boost": {"prize < 3": 1.0}}, "prize"),
    ],
)
def test_a_rule_that_cannot_be_kept_is_refused_by_name(run, rules, said):
    with pytest.raises(KgrecError, match=said):
        asked(run, **rules)


def test_at_most_so_many_of_a_value_and_k_stays(run):
    free = colours(asked(run))
    assert free.count("r") > 2  # a shopper of red things
    assert colours(asked(run, k=4, at_most={"colour": 2})).count("r") == 2
    assert len(asked(run, k=6, at_most={"colour": 2})) == 6  # two colours, two of each: filled with the best of the rest
    prices = [answer.attributes["price"] for answer in asked(run, k=6, at_most={"price": 1})]
    assert len(set(prices)) == len(prices) == 6


def test_at_least_so_many_of_a_group_and_the_best_stay_first(run):
    free, got = asked(run), asked(run, at_least={"colour=blue": 3})
    assert colours(got).count("b") >= 3 and len(got) == 6
    assert [answer.id for answer in got[:3]] == [answer.id for answer in free[:3]]
    unsold = [answer.id for answer in asked(run, at_least={"new": 1})]
    graph, relation = run.graph, run.tasks[0].relation
    new = graph.degree(relation, np.arange(graph.size("item")), inverse=True) == 0
    assert len(unsold) == 6 and (not new.any() or new[graph.rows("item", unsold)].any())


def test_boosts_lift_a_group_and_scores_stay_their_own(run):
    free = {answer.id: answer.score for answer in asked(run, k=16)}
    for said in ("colour=blue", "price >= 6"):
        got = asked(run, boost={said: 50.0})
        inside = [answer.id[0] == "b" if said[0] == "c" else answer.attributes["price"] >= 6 for answer in got]
        assert all(inside[:6]) and all(answer.score == pytest.approx(free[answer.id]) for answer in got)


def test_variety_changes_lists_but_not_their_first(run):
    free, varied = asked(run), asked(run, diversity=0.9)
    assert varied[0].id == free[0].id and len({a.id for a in varied}) == 6 and set(colours(varied)) == {"r", "b"}


def test_explanations_are_of_the_answers_that_rules_leave(run):
    rules = Rules(at_least={"colour=blue": 3}, at_most={"price": 1})
    given, why = run.answer(["ruser0"], k=5, rules=rules)[0], run.explain(["ruser0"], k=5, rules=rules)[0]
    assert {answer.id for answer in given} == {of.item.id for of in why}


def test_the_price_of_rules_is_paired_and_stated_with_what_they_bring(published, cache):
    from kgrec_core.lifecycle.price import price

    found = price(open_run(published), Rules(at_least={"colour=red": 1, "colour=blue": 5}))
    without, with_ = (found["ndcg@10"][which]["mean"] for which in ("without", "with"))
    assert found["gain"]["mean"] == pytest.approx(with_ - without) and found["gain"]["n"] == found["ndcg@10"]["with"]["n"] > 0
    assert with_ <= without and set(found["with"]) == {"diversity@10", "new@10", "coverage@10"}
    free = price(open_run(published), Rules(), where="price >= 0")
    assert free["gain"]["mean"] == 0, "a filter that all pass costs nothing"
    left_out = price(open_run(published), Rules(), where="price < 3", exclude=["r0"])
    assert left_out["ndcg@10"]["with"]["mean"] <= left_out["ndcg@10"]["without"]["mean"]


def test_the_price_is_a_word_of_every_domain(published):
    from kgrec_core.jobs.standard import Price, priced
    from kgrec_core.jobs.standard import price as word
    from kgrec_core.stages import silent

    asked = Price(diversity=0.5)
    said = priced(word(open_run(published), asked, silent), asked)
    assert "without the rules" in said and "the rules bring" in said
    with pytest.raises(KgrecError, match="price needs a rule"):
        Price()
    assert Price(where="price < 3").where and Price(exclude=("r0",)).exclude
