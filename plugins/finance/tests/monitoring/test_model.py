"""What the monitor is told does not depend on which texts come together, on the length of an article, or on where its names stand."""

from __future__ import annotations

import numpy as np
import pytest
from kgrec_finance.articles.linking import Linker
from kgrec_finance.articles.marking import marked
from kgrec_finance.articles.passages import passages
from kgrec_finance.articles.reading import asked, lead, towards
from kgrec_finance.articles.roster import roster
from kgrec_finance.feeds.events import Event
from kgrec_finance.monitoring.model import SentimentModel
from kgrec_finance.monitoring.scores import moods

import kgrec_core
from kgrec_core import KgrecError

TEXTS = (
    "Infosys falls as TCS gains",
    "Gold flat ahead of Fed meeting",
    "Infosys posts record profit, shares jump 8 per cent; analysts raise targets of the company after a strong quarter",
    "Reliance Industries",
    "Nobody said anything.",
    "央行下调利率，黄金上涨",
)


def events(texts) -> list[Event]:
    return [Event(str(i), i, text, None, {}) for i, text in enumerate(texts)]


@pytest.fixture(scope="module")
def run(fitted):
    return kgrec_core.open_run(fitted)


@pytest.fixture(scope="module")
def score(run):
    return SentimentModel(run)


def test_scores_are_the_same_to_the_bit_in_any_batch(score):
    asked = events((*TEXTS, " ".join([*TEXTS] * 12), *TEXTS))
    together = score(asked)
    alone = [score([event])[0] for event in asked]
    backwards = score(asked[::-1])[::-1]
    assert together == alone == backwards and together[0] == together[7], "floats are compared exactly"


def test_a_score_is_three_probabilities_of_the_article_and_of_each_company(score):
    found = score(events(TEXTS))
    assert found[0].companies.keys() == {"INFY", "TCS"} and not found[4].companies and found[0].topics == {}
    for of in found:
        assert all(moods(one) == pytest.approx(one) for one in (of.article, *of.companies.values()))
    assert found[0].companies["INFY"] != found[0].companies["TCS"]


def test_companies_that_only_the_feed_names_are_scored_too(score):
    (event,) = events(["Shares slump after the audit"])
    assert score([event._replace(companies=("TCS", "nobody knows"))])[0].companies.keys() == {"TCS"}


def test_the_sum_of_passages(run):
    """An article that repeats itself scores as its passage does; a short one is read as it is."""
    once = "Profit rose sharply in the quarter and the board raised the dividend for all shareholders."
    (short,) = asked(run.snapshot, "sentiment", [lead(once)]).log
    assert short == pytest.approx(run.probabilities([once], "sentiment").log[0]) and np.exp(short).sum() == pytest.approx(1)
    parts = lead(" ".join([once] * 40))
    assert len(parts) > 3
    (window,) = run.probabilities([parts[0][0]], "sentiment").log
    assert asked(run.snapshot, "sentiment", [parts]).log[0] == pytest.approx(window, abs=0.35)


def test_mentions_of_a_long_article_are_read_where_they_stand(run):
    linker: Linker = roster(None, run).linker
    filler = "The weather was fine on that day and nothing else happened in town. " * 20
    text = f"Infosys falls. {filler} TCS gains on a strong order book."
    infosys, tcs = towards(text, ["INFY", "TCS"], linker)
    assert len(infosys) == len(tcs) == 1 < len(passages(text))
    assert infosys[0][0].startswith("Infosys ltd.: TARGET falls.") and tcs[0][0].endswith("TARGET gains on a strong order book.")
    short = "Infosys falls as TCS gains"
    assert towards(short, ["TCS"], linker)[0][0][0] == marked(short, linker.names["TCS"], [(17, 20)], [(0, 7)])
    assert [t for t, _ in towards(short, ["WIPRO"], linker)[0]] == [marked(short, linker.names["WIPRO"], [], [(0, 7), (17, 20)])]
    assert len(towards(text, ["WIPRO"], linker)[0]) == len(passages(text)), "a company that the text does not name is asked of all of it"


def test_labels_that_are_no_sentiments_are_refused(run, monkeypatch):
    monkeypatch.setattr("kgrec_finance.monitoring.model.WORDS", {"good": 2})
    with pytest.raises(KgrecError, match="no sentiments; call them negative, neutral and positive"):
        SentimentModel(run)


def test_a_run_without_sentiment_is_refused(run, monkeypatch):
    monkeypatch.setattr(run, "tasks", (run.tasks[0]._replace(name="topic"),))
    with pytest.raises(KgrecError, match="knows no sentiment, only topic"):
        SentimentModel(run)
