"""The monitor: alerts depend on events and their order alone, whatever is cut off, repeated, late, broken or full."""

from __future__ import annotations

import json
import sqlite3

import numpy as np
import pytest
from kgrec_finance.articles.companies import graph_of
from kgrec_finance.articles.linking import Linker
from kgrec_finance.feeds.events import Event
from kgrec_finance.monitoring.monitor import Monitor
from kgrec_finance.monitoring.settings import Settings
from kgrec_finance.monitoring.spread import Reach
from kgrec_finance.monitoring.state import State

from kgrec_core import DAY, KgrecError

HOUR = DAY // 24
BEGIN = 1_400_000 * HOUR // HOUR * 1_000_000_000 // HOUR * HOUR  # the start of some hour
QUICK = Settings(window=HOUR, lateness=HOUR // 4, cooldown=3 * HOUR, warmup=48 * HOUR, learn=120 * HOUR, rate=2.0, leap=6 * HOUR)
COMPANIES = ("AAA", "BBB", "CCC", "DDD")
WORDS = np.array([
    "profit", "loss", "order", "plant", "court", "union", "merger", "bond", "price", "export",
    "market", "share", "chief", "strike", "recall", "growth", "debt", "yield",
])  # fmt: skip


def stream(hours: int = 192, burst: tuple[int, int] = (180, 30), seed: int = 0) -> list[tuple[Event, str]]:
    """About one scored event an hour and company; in hour burst[0] another burst[1] about AAA, three quarters of them negative."""
    draw, events = np.random.default_rng(seed), []
    for hour in range(hours):
        for company in COMPANIES:
            more = burst[1] if hour == burst[0] and company == "AAA" else 0
            for n in range(draw.poisson(1.0) + more):
                negative = bool(draw.random() < (0.75 if more else 0.25))
                scores = [0.9, 0.05, 0.05] if negative else [0.05, 0.05, 0.9]
                text = f"{company} {' '.join(draw.choice(WORDS, 9))} {hour} {n}"
                raw = {"scores": {"article": scores, "companies": {company: scores}}}
                events.append((int(BEGIN + (hour + draw.random()) * HOUR), text, raw))
    events.sort(key=lambda e: e[0])
    return [(Event(str(i), time, text, None, raw), json.dumps({"at": i + 1})) for i, (time, text, raw) in enumerate(events)]


@pytest.fixture(scope="module")
def events():
    return stream()


@pytest.fixture(scope="module")
def undisturbed(events, tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed") / "s", events)


@pytest.fixture
def companies(write):
    from kgrec_finance.articles.companies import open_companies

    return open_companies(
        write("companies.csv", "id,name,sector,suppliers", "AAA,Aa,Metal,BBB", "BBB,Bb,Metal,", "CCC,Cc,Food,", "DDD,Dd,Food,")
    )


def run(path, events, sizes=(256,), settings=QUICK, **more) -> list[dict]:
    """What was alarmed; sizes: of batches, in turn, each by a monitor that opens the state anew, where there are several."""
    at, turn = 0, 0
    while at < len(events):
        with State(path, write=True) as state:
            monitor = Monitor(state, settings, **more)
            assert monitor.offset("feed") == (events[at - 1][1] if at else None)
            while at < len(events):
                size = sizes[turn % len(sizes)]
                monitor.take("feed", events[at : at + size])
                at, turn = at + size, turn + 1
                if len(sizes) > 1:
                    break
    return alarmed(path)


def alarmed(path) -> list[dict]:
    with State(path, write=False) as state:
        return [alert.body for alert in state.alerts()]


def counts(path) -> dict[str, int]:
    with State(path, write=False) as state:
        return state.kept("now")["counts"]


# --- what is told -----------------------------------------------------------------------------------------------------
def test_a_burst_opens_one_episode_and_calm_closes_it(undisturbed):
    told = [body for body in undisturbed if body["series"] == "company:AAA" and body["opened"] > BEGIN + 180 * HOUR]
    assert told[0]["what"] == "open" and told[-1]["what"] == "close"
    assert len({body["episode"] for body in told}) == 1 and len({body["key"] for body in told}) == len(told)
    assert told[0]["opened"] == BEGIN + 181 * HOUR and told[0]["window"]["count"] > 25
    assert "negative share" in told[0]["sentence"] and len(told[0]["articles"]) == 5


def test_nothing_is_told_before_the_threshold_is_known(tmp_path):
    assert run(tmp_path / "s", stream(hours=160, burst=(100, 50))) == []
    with State(tmp_path / "s", write=False) as state:
        assert state.kept("calibration") is None


def test_a_history_of_its_own_decides_at_its_end(tmp_path, events):
    history, live = events[:560], events[560:]
    with State(tmp_path / "s", write=True) as state:
        monitor = Monitor(state, QUICK, history=True)
        monitor.take("history", history)
        assert monitor.learning and monitor.ensemble.calibration is None
        monitor.learned()
        assert not monitor.learning
        monitor.take("feed", live)
    assert any(body["series"] == "company:AAA" for body in alarmed(tmp_path / "s"))


def test_a_short_history_is_refused(tmp_path, events):
    with State(tmp_path / "s", write=True) as state:
        monitor = Monitor(state, QUICK, history=True)
        monitor.take("history", events[:200])
        with pytest.raises(KgrecError, match=r"history has \d+ windows of 1h after a warm-up of 2d; a threshold needs 30"):
            monitor.learned()
    with State(tmp_path / "s", write=True) as state, pytest.raises(KgrecError, match="has not read its history to the end"):
        Monitor(state, QUICK)


def test_copies_of_a_story_count_once(tmp_path, events):
    copied = [
        (Event(f"c{i}", BEGIN + 185 * HOUR + i, "RT @x: " * (i % 2) + "AAA is on fire, says the chief of the plant in the north", None,
               {"scores": {"companies": {"AAA": [1, 0, 0]}}}), "{}") for i in range(200)
    ]  # fmt: skip
    calm = stream(burst=(0, 0))
    at = next(i for i, (e, _) in enumerate(calm) if e.time > BEGIN + 185 * HOUR)
    told = run(tmp_path / "s", [*calm[:at], *copied, *[(e, o) for e, o in calm[at:]]])
    assert not [body for body in told if body["opened"] == BEGIN + 186 * HOUR]
    assert counts(tmp_path / "s")["copies"] >= 195


# --- exactly once -----------------------------------------------------------------------------------------------------
def test_batches_and_restarts_change_nothing(tmp_path, events, undisturbed):
    assert undisturbed and run(tmp_path / "parts", events, sizes=(97, 1, 350, 20)) == undisturbed


@pytest.mark.parametrize("step", ["add", "alarm", "checkpoint", "prove", "move"])
def test_whatever_fails_within_a_batch_leaves_the_state_as_it_was(tmp_path, events, undisturbed, step, monkeypatch):
    run(tmp_path / "s", events[:640])
    with State(tmp_path / "s", write=True) as state:
        monitor, before = Monitor(state, QUICK), list(state._db.iterdump())

        def failing(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(State, step, failing)
        with pytest.raises(KeyboardInterrupt):
            monitor.take("feed", events[640:])
        monkeypatch.undo()
        assert list(state._db.iterdump()) == before
    with State(tmp_path / "s", write=True) as state:
        Monitor(state, QUICK).take("feed", events[640:])
    assert alarmed(tmp_path / "s") == undisturbed


def test_a_full_disk_stops_it_with_the_state_whole(tmp_path, events, undisturbed):
    with State(tmp_path / "s", write=True) as state:
        monitor = Monitor(state, QUICK)
        monitor.take("feed", events[:300])
        pages = state._db.execute("PRAGMA page_count").fetchone()[0]
        state._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(KgrecError, match=r"nothing of the last batch was kept .*full"):
            monitor.take("feed", events[300:700])
    assert counts(tmp_path / "s")["read"] == 300
    with State(tmp_path / "s", write=True) as state:
        assert sqlite3.connect(tmp_path / "s").execute("PRAGMA integrity_check").fetchone() == ("ok",)
        Monitor(state, QUICK).take("feed", events[300:])
    assert alarmed(tmp_path / "s") == undisturbed


# --- bad input --------------------------------------------------------------------------------------------------------
def bad(events, at, *more):
    return [*events[:at], *((event, "{}") for event in more), *events[at:]]


def test_bad_events_are_counted_told_and_change_no_alert(tmp_path, events, undisturbed):
    time = events[600][0].time
    odd = bad(
        events,
        600,
        Event("future", time + 10**15, "AAA up", None, {}),
        Event("past", time - 30 * HOUR, "AAA down", None, {}),
        Event("scores", time, "AAA odd", None, {"scores": {"article": [2, 0]}}),
        Event("json", time, "AAA odd", None, {"scores": "{"}),
        events[10][0],
        events[599][0],
    )
    assert run(tmp_path / "odd", odd, dead_letters=tmp_path / "dead.jsonl") == undisturbed
    letters = [json.loads(row)["reason"] for row in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert len(letters) == 4 and sum("ahead of its time" in r for r in letters) == 1 and sum("late" in r for r in letters) == 1
    found = counts(tmp_path / "odd")
    assert (found["ahead"], found["late"], found["unscored"], found["repeated"]) == (1, 1, 2, 2)


def test_events_out_of_order_within_the_lateness_change_nothing(tmp_path, events, undisturbed):
    draw = np.random.default_rng(1)
    order = np.argsort([e.time + draw.random() * QUICK.lateness * 0.9 for e, _ in events], kind="stable")
    shuffled = [events[i] for i in order]
    other = run(tmp_path / "b", shuffled)
    assert [(b["key"], b["level"]) for b in undisturbed] == [(b["key"], b["level"]) for b in other]


def test_an_event_of_nobody_only_moves_time(tmp_path, events):
    with State(tmp_path / "s", write=True) as state:
        monitor = Monitor(state, QUICK)
        monitor.take("feed", [(Event(str(i), BEGIN + i, f"Rain {i}", None, {}), "{}") for i in range(3)])
        assert monitor.counts["of nobody"] == 3 and monitor.windows.latest == BEGIN + 2


# --- spread ---------------------------------------------------------------------------------------------------------
def test_an_event_spreads_with_decreasing_weight(companies):
    graph = graph_of(companies)
    assert Reach(graph, 0.5, 1).of("AAA", 0) == {"company:AAA": 1.0, "sector:Metal": 0.5, "company:BBB": 0.5}
    assert Reach(graph, 0.5, 0).of("AAA", 0) == {"company:AAA": 1.0, "sector:Metal": 1.0}
    assert Reach(None, 0.5, 1).of("AAA", 0) == {"company:AAA": 1.0}
    reach = Reach(graph, 0.5, 1)
    assert reach.path("AAA", "company:BBB", 0) == ["BBB supplies AAA"] and reach.path("AAA", "company:AAA", 0) == []
    assert reach.path("AAA", "sector:Metal", 0) == ["AAA is in the sector Metal"] and reach.path("CCC", "company:AAA", 0) is None


def test_a_burst_reaches_the_supplier_where_it_spreads(tmp_path, events, companies):
    graph = graph_of(companies)
    told = {hops: run(tmp_path / str(hops), events, settings=Settings.of(QUICK.state() | {"hops": hops}), graph=graph) for hops in (0, 1)}
    opened = {hops: {b["series"] for b in of if b["opened"] == BEGIN + 181 * HOUR} for hops, of in told.items()}
    assert "company:BBB" in opened[1] and "company:BBB" not in opened[0] and "company:AAA" in opened[0] & opened[1]


def test_companies_are_linked_where_scores_are_of_the_article_alone(tmp_path, companies):
    with State(tmp_path / "s", write=True) as state:
        monitor = Monitor(state, QUICK, linker=Linker(companies))
        raw = {"scores": {"article": [0.7, 0.2, 0.1], "topics": {"orders": 0.5}}}
        monitor.take("feed", [(Event(str(i), BEGIN + i, f"Cc and Dd up {i}", ("Aa",), raw), "{}") for i in range(2)])
        (found, _) = state.articles(0, 2**62)
    assert {(t.series, t.weight) for t in found.touches} == {
        ("company:CCC", 0.333333), ("company:DDD", 0.333333), ("company:AAA", 0.333333), ("topic:orders", 0.5)
    }  # fmt: skip
    assert all(t.moods == (0.7, 0.2, 0.1) for t in found.touches)


# --- a feed that changes ------------------------------------------------------------------------------------------------
def by(events, outlet):
    return [(event._replace(outlet=outlet), offset) for event, offset in events]


def test_an_outlet_that_comes_later_makes_no_alarm_and_no_copies(tmp_path, events, undisturbed):
    """A wire that begins after the warm-up and tells everything of the others a second before them."""
    wire = [
        (event._replace(id=f"w{event.id}", time=event.time - 1, outlet="wire"), offset)
        for event, offset in events
        if event.time > BEGIN + 170 * HOUR
    ]
    both = sorted([*by(events, "old"), *wire], key=lambda pair: pair[0].time)
    told = run(tmp_path / "s", both)
    burst = [body for body in told if body["what"] == "open" and body["opened"] == BEGIN + 181 * HOUR and body["series"] == "company:AAA"]
    assert len(burst) == 1 and burst[0]["window"]["count"] == pytest.approx(32, abs=4), "told by the old one, though the wire was first"
    more, before = ({body["episode"] for body in of} for of in (told, undisturbed))
    assert len(more) <= len(before) + 2
    with State(tmp_path / "s", write=False) as state:
        assert state.last_checkpoint()["outlets"]["known"]["wire"]["counts"] is False
        closed = state.last_checkpoint()["outlets"]["count"]
        wired = [article for article in state.articles(0, BEGIN + (closed - 1) * HOUR) if article.outlet == "wire"]
        assert wired and not any(article.touches for article in wired), "nothing explains an alert that did not count"


def test_batches_and_restarts_change_nothing_where_an_outlet_is_new(tmp_path, events):
    wire = [(e._replace(id=f"w{e.id}", time=e.time - 1, outlet="wire"), o) for e, o in events if e.time > BEGIN + 100 * HOUR]
    both = sorted([*by(events, "old"), *wire], key=lambda pair: pair[0].time)
    assert run(tmp_path / "one", both) == run(tmp_path / "two", both, sizes=(97, 1, 350, 20))


def test_an_alert_has_a_minimum_of_stories(tmp_path, events):
    told = run(tmp_path / "s", events, settings=Settings.of(QUICK.state() | {"stories": 45}))
    assert told == [] or min(body["window"]["count"] for body in told if body["what"] == "open") >= 20
    with pytest.raises(KgrecError, match="stories = 0 make no alert"):
        Settings(stories=0)
