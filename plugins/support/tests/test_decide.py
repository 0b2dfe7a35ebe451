"""Decisions: every rule by a case that only it decides, and the budget of a real calibration kept on questions it has not seen."""

from __future__ import annotations

import json

import numpy as np
import pytest
from kgrec_support.decide import TEXTS, Thresholds, decide, named, readable

from kgrec_core import KgrecError
from kgrec_core.domain import Answer, calibrate

AT = Thresholds(answer=0.8, clarify=0.6, scope=0.1)


def found(
    *scores: float, texts: tuple[str, ...] = ("Open PIN services.", "Freeze the card.", "Wait two days.", "Call us.")
) -> list[Answer]:
    return [Answer(f"a{i}", text, score, {"title": f"Title {i}"}, {}) for i, (score, text) in enumerate(zip(scores, texts, strict=False))]


def test_a_sure_answer_is_given():
    decision = decide(found(9, 5, 1), 0.8, AT, 0.9, question="How do I change my PIN?")
    assert (decision.outcome, decision.text) == ("answer", "Open PIN services.") and [a.id for a in decision.answers] == ["a0"]
    assert decision.reason == "The answer is right with P = 0.80, 0.80 is needed."


@pytest.mark.parametrize(("probability", "outcome"), [(0.79, "clarify"), ([0.4, 0.21, 0.0], "clarify"), ([0.4, 0.19, 0.0], "hand over")])
def test_between_it_asks_when_the_alternatives_hold_enough(probability, outcome):
    decision = decide(found(9, 8.9, 1), probability, AT, question="PIN?")
    assert decision.outcome == outcome
    if outcome == "clarify":
        assert decision.text.splitlines() == [TEXTS["en"]["clarify"], "1. Title 0", "2. Title 1"]  # a2 has nothing of the probability
        assert [a.id for a in decision.answers] == ["a0", "a1"]


def test_at_most_three_and_only_different_texts_are_asked():
    texts = ("Freeze the card.", "freeze the card", "Wait.", "Call us.", "Write us.")
    decision = decide(found(5, 5, 5, 5, 5, texts=texts), [0.3, 0.3, 0.2, 0.2, 0.0], AT)
    assert [a.id for a in decision.answers] == ["a0", "a2", "a3"] and decision.outcome == "clarify"
    alone = decide(found(5, 5, texts=texts), [0.5, 0.5], AT)
    assert (alone.outcome, alone.reason) == ("hand over", "The answer is right with P = 0.50 only, 0.80 is needed.")


def test_a_far_second_is_no_alternative():
    decision = decide(found(9, 1.2, 1), 0.7, AT)  # its part of .7 is .0175
    assert decision.outcome == "hand over" and decision.text == TEXTS["en"]["hand over"]
    assert decide(found(9, 8, 1), 0.7, AT).outcome == "clarify"


@pytest.mark.parametrize("question", ["", "   ", "\U0001f600\U0001f600", "?!...", "\ufffd\ufffd\ufffda", "\x00\x01\x02a", "\u200b"])
def test_what_cannot_be_read_is_refused_before_all_else(question):
    decision = decide(found(9, 1), 0.99, AT, 0.99, question=question)
    assert (decision.outcome, decision.text, decision.answers) == ("refuse", TEXTS["en"]["empty"], [])


@pytest.mark.parametrize("question", ["PIN", "x" * 10_000, "<b>card</b>", "卡丢了", "सवाल", "card \U0001f600", "\x07card lost"])
def test_what_can_be_read_is_not_refused(question):
    assert readable(question) and decide(found(9, 1), 0.99, AT, question=question).outcome == "answer"


def test_only_clearly_out_of_scope_is_refused():
    assert decide(found(9, 1), 0.99, AT, 0.09).text == TEXTS["en"]["scope"]
    assert decide(found(9, 1), 0.99, AT, 0.1).outcome == "answer"


def test_nothing_found_is_handed_over():
    assert decide([], 0.0, AT, question="PIN?").outcome == "hand over"
    assert decide([Answer("a", None, 1.0, {}, {})], 0.99, AT).outcome == "hand over"


def test_the_customer_is_spoken_to_in_his_language():
    assert decide([], 0.0, AT, question="卡丢了怎么办").text == TEXTS["zh"]["hand over"]
    assert decide([], 0.0, AT, question="卡丢了怎么办", language="en").text == TEXTS["en"]["hand over"]
    assert all(set(texts) == set(TEXTS["en"]) for texts in TEXTS.values())


def test_a_long_text_is_named_by_its_beginning():
    assert named(Answer("a", "word " * 100, 1.0, {}, {})).endswith("word…") and len(named(Answer("a", "卡" * 500, 1.0, {}, {}))) == 90
    assert named(Answer("a", "Two\nlines", 1.0, {}, {})) == "Two lines"


@pytest.mark.parametrize("probability", [1.2, -0.1, float("nan"), [0.5], [0.5, 2.0]])
def test_what_is_no_probability_is_said(probability):
    with pytest.raises(KgrecError, match="probabilit"):
        decide(found(9, 1), probability, AT)
    with pytest.raises(KgrecError, match="scope"):
        decide(found(9, 1), 0.5, AT, 1.5)


def test_a_decision_is_json():
    told = json.loads(json.dumps(decide(found(9, 8.9, 1), 0.79, AT).to_json()))
    assert told["outcome"] == "clarify" and [a["id"] for a in told["answers"]] == ["a0", "a1"] and told["probability"] == 0.79


def test_the_budget_of_a_calibration_is_kept_on_new_questions():
    draw = np.random.default_rng(0)
    score = draw.normal(size=8000)
    right = draw.random(8000) < 1 / (1 + np.exp(-4 * score - 2))
    calibration = calibrate(score[:4000], right[:4000], budget=0.05)
    at = Thresholds.of(calibration)
    decisions = [decide(found(s, s - 1), float(p), at) for s, p in zip(score[4000:], calibration.probability(score[4000:]), strict=True)]
    given = np.array([d.outcome == "answer" for d in decisions])
    assert 0.3 < given.mean() < 0.9 and (~right[4000:][given]).mean() < 0.05
    assert "wrong, at most" in next(d for d in decisions if d.outcome == "answer").reason


def test_a_budget_that_cannot_be_kept_answers_nothing():
    draw = np.random.default_rng(0)
    at = Thresholds.of(calibrate(draw.normal(size=300), draw.random(300) < 0.5, budget=0.3), 0.01)
    decision = decide(found(9, 8, 1), 1.0, at)
    assert decision.outcome == "clarify" and "No threshold keeps the budget" in decision.reason


@pytest.mark.parametrize("strangers", [False, True])
def test_what_no_question_without_an_answer_was_asked_of_says_so(strangers):
    draw = np.random.default_rng(0)
    inside = draw.random(300) < (0.8 if strangers else 2)
    at = Thresholds.of(calibrate(draw.normal(size=300), inside & (draw.random(300) < 0.5), scope=inside), 0.01)
    assert decide(found(9, 8, 1), 0.7, at).reason.endswith(", if there is an answer here.") is not strangers
