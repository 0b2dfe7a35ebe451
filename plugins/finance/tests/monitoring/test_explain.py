"""An alert's explanation is put to the test: without what it names there is no alert, and with any of it back there is one."""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from kgrec_finance.articles.companies import graph_of
from kgrec_finance.feeds.events import Event
from kgrec_finance.monitoring.acknowledged import Acknowledge, acknowledge, alerts, series
from kgrec_finance.monitoring.counterfactual import smallest
from kgrec_finance.monitoring.explain import explained, told
from kgrec_finance.monitoring.monitor import Monitor
from kgrec_finance.monitoring.page import render
from kgrec_finance.monitoring.settings import Settings
from kgrec_finance.monitoring.state import State

from kgrec_core import DAY, KgrecError

HOUR = DAY // 24
BEGIN = 388_889 * HOUR
QUICK = Settings(window=HOUR, lateness=0, cooldown=3 * HOUR, warmup=24 * HOUR, learn=80 * HOUR, rate=2.0, leap=6 * HOUR)
BAD, GOOD = [0.95, 0.03, 0.02], [0.05, 0.05, 0.9]


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Two companies, AAA supplied by BBB; in hour 110 eight bad stories about AAA, one of them told thrice."""
    from kgrec_finance.articles.companies import open_companies

    folder = tmp_path_factory.mktemp("explained")
    (folder / "companies.csv").write_text("id,name,sector,suppliers\nAAA,<b>Aa</b>,Metal,BBB\nBBB,Bb,,\n")
    draw, rows = np.random.default_rng(0), []
    words = ["profit", "loss", "order", "plant", "court", "union", "merger", "bond", "price", "export", "market", "share", "chief", "strike"]  # fmt: skip
    for hour in range(116):
        for company in ("AAA", "BBB"):
            for n in range(draw.poisson(1.0)):
                moment = BEGIN + hour * HOUR + int(draw.integers(HOUR))
                rows.append((moment, f"{company} {' '.join(draw.choice(words, 8))} {hour} {n}", company, GOOD))
    for n in range(8):
        said = f"Fire <script> number {n} halts the {words[n]} {words[n + 1]} of the plant in region {n}"
        rows.append((BEGIN + 110 * HOUR + n, said, "AAA", BAD))
        rows += [(BEGIN + 110 * HOUR + 100 + i, said, "AAA", BAD) for i in range(2 if n == 3 else 0)]
    rows.sort()
    events = [
        (Event(str(i), t, text, None, {"link": "https://example.org/?a=1&b=2", "scores": {"companies": {c: s}}}), "{}")
        for i, (t, text, c, s) in enumerate(rows)
    ]
    with State(folder / "s", write=True) as state:
        Monitor(state, QUICK, graph=graph_of(open_companies(folder / "companies.csv"))).take("feed", events)
    with State(folder / "s", write=False) as state:
        yield state


def opened(state, series):
    return next(a.body for a in state.alerts() if a.body["series"] == series and a.body["opened"] == BEGIN + 111 * HOUR)


def test_the_level_is_the_one_that_was_alarmed_and_without_the_stories_it_is_below(state):
    alert = opened(state, "company:AAA")
    found = explained(state, alert["episode"][:6])
    assert found["level_again"] == pytest.approx(alert["level"], abs=1e-12)
    assert found["level_without"] < alert["threshold"] <= alert["level"]
    assert 0 < len(found["stories"]) <= 8 and all("Fire" in story["text"] for story in found["stories"])
    assert found["sentence"].count("stories carry it") == 1 and "negative" in found["sentence"]
    assert {len(story["articles"]) for story in found["stories"]} <= {1, 3}
    assert found["neighbours"] and all(n["time"] < BEGIN + 110 * HOUR for n in found["neighbours"])
    assert found["mix"]["negative"][0] > found["mix"]["negative"][1] + 0.3
    assert "without these" in told(found) and json.dumps(found)


def test_the_way_to_a_supplier_is_told(state):
    found = explained(state, opened(state, "company:BBB")["episode"])
    assert all(story["path"] == ["BBB supplies AAA"] for story in found["stories"] if story["via"] == "AAA")
    assert "about another company (BBB supplies AAA)" in found["sentence"]


def test_unknown_alerts_are_refused(state):
    with pytest.raises(KgrecError, match='no alerts of s begin with "zz"; the latest: '):
        explained(state, "zz")


@pytest.mark.parametrize("seed", range(25))
def test_no_smaller_set_where_that_is_claimed(seed):
    """Against a search through all sets, for sums of effects with an interaction."""
    draw = np.random.default_rng(seed)
    effects, extra = draw.random(8), draw.random((8, 8)) * 0.3

    def level(removed):
        gone = list(removed)
        return 4 - sum(effects[i] for i in gone) - sum(extra[i, j] for i in gone for j in gone if i < j)

    threshold = float(draw.uniform(0.0, 3.9))
    found, proved = smallest(list(range(8)), level, threshold)
    sizes = [n for n in range(9) for part in combinations(range(8), n) if level(part) < threshold]
    if not sizes:
        assert found == []
        return
    assert level(found) < threshold and all(level([o for o in found if o != one]) >= threshold for one in found)
    assert len(found) == min(sizes) if proved else len(found) >= min(sizes)


def test_the_page_holds_itself_and_escapes_what_came_from_the_feed(state):
    page = render(state, 1.4e9, "Monitor <x>")
    assert "<script" not in page and "&lt;script&gt;" in page and "default-src 'none'" in page and "Monitor &lt;x&gt;" in page
    assert "https://example.org/?a=1&amp;b=2" in page and "src=" not in page.replace("default-src", "")
    plots = [part.partition("</svg>")[0] + "</svg>" for part in page.split("<svg")[1:]]
    for one in plots:
        ElementTree.fromstring(f"<svg{one}")
    ids = {part.partition('"')[0] for part in page.split('id="')[1:]}
    links = {part.partition('"')[0] for part in page.split('href="#')[1:]}
    assert links and links == ids


def test_an_alert_is_acknowledged_once_for_all_and_shown_so(state, tmp_path):
    shutil.copy(state.file, tmp_path / "news.monitor.sqlite")
    run = SimpleNamespace(folder=tmp_path / "news")
    rows = alerts(run.folder)
    assert (
        rows
        and not any(row["acknowledged"] for row in rows)
        and [row["open"] for row in rows] == sorted((row["open"] for row in rows), reverse=True)
    )
    (done,) = acknowledge(run, [Acknowledge(rows[0]["id"][:12], "a rumour")])
    assert done["episode"] == rows[0]["id"] and alerts(run.folder)[0]["acknowledged"] == "a rumour"
    faults = acknowledge(run, [Acknowledge("zz"), Acknowledge("")])
    assert all(isinstance(fault, KgrecError) and "no alert is called" in str(fault) for fault in faults)
    assert "<svg" in series(run.folder) and alerts(tmp_path / "other") == [] and series(tmp_path / "other") is None
