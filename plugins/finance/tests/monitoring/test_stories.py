"""A story is counted once, across restarts, and forgotten when it is over."""

from __future__ import annotations

import json

import pytest
from kgrec_finance.articles.sample import TWEETS
from kgrec_finance.feeds.follow import follow
from kgrec_finance.monitoring.stories import Stories, Story

from kgrec_core import DAY, KgrecError

TEXT = "Walmart warns that its profit will fall next year as it raises wages and prices stay low"


def test_copies_are_one_story():
    stories = Stories()
    assert stories.add("a", TEXT, 0) == Story("a", 1)
    assert stories.add("b", f"{TEXT} https://t.co/x1", 5) == Story("a", 2)
    assert stories.add("c", TEXT.replace("next year", "next  YEAR!"), 3) == Story("a", 3), "late, and the same"
    assert stories.add("d", "Caterpillar cuts its outlook and ten thousand jobs", 6) == Story("d", 1)
    assert stories.add("e", TEXT, 5 * DAY) == Story("e", 1), "the first is out of the window"
    assert stories.add("f", "", 5 * DAY).size == 1 and stories.add("g", "!", 5 * DAY).size == 1


def test_a_restart_changes_nothing():
    events = [event for event, _ in follow(TWEETS, columns={"time": "created_at"}, wait=False)][:1500]
    undisturbed, restarted, expected, got = Stories(), Stories(), [], []
    for number, event in enumerate(events):
        expected.append(undisturbed.add(event.id, event.text, event.time))
        if number % 200 == 0:
            restarted = Stories.of(json.loads(json.dumps(restarted.state())))
        got.append(restarted.add(event.id, event.text, event.time))
    assert got == expected and len({story.id for story in got}) < 0.95 * len(events)


def test_a_flood_costs_as_much_as_one():
    stories = Stories(window=DAY)
    for number in range(2000):
        story = stories.add(f"spam {number}", TEXT, number * DAY // 500)
    assert story.id == "spam 0" and story.size == 2000
    for number in range(3000):
        stories.add(f"n{number}", f"{number} {number + 1} {number + 2}", 10 * DAY + number * DAY // 100)
    state = stories.state()
    assert len(state["story"]) < 200 and len(state["known"]) < 200 and len(state["recent"]["entries"]) < 200


def test_the_spam_that_named_coca_cola_is_one_story():
    stories, sizes = Stories(), []
    for event, _ in follow(TWEETS, columns={"time": "created_at"}, wait=False):
        story = stories.add(event.id, event.text, event.time)
        if "$NGCG" in event.text and "IT'S GO TIME" in event.text:
            sizes.append(story.size)
    assert max(sizes) >= 58


def test_another_thing_is_no_state():
    with pytest.raises(KgrecError, match="no state of Stories"):
        Stories.of({"recent": Stories().state()["recent"]})
