"""RSS and Atom: every entry once, whatever the feed shows again."""

from __future__ import annotations

import json

import pytest
from kgrec_finance.feeds.follow import follow

from kgrec_core import KgrecError

feedparser = pytest.importorskip("feedparser", reason="the extra rss is not installed")


def feed(*items: tuple[str, str, str]) -> str:
    rows = (
        f"<item><guid>{g}</guid><title>{t}</title><description>&lt;b&gt;Now&lt;/b&gt; &amp;amp; then</description>{d}</item>"
        for g, t, d in items
    )
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>{"".join(rows)}</channel></rss>'


def dated(day: int) -> str:
    return f"<pubDate>Wed, 0{day} May 2024 12:00:00 +0200</pubDate>"


def test_entries(tmp_path):
    path, dead = tmp_path / "feed.xml", tmp_path / "dead.jsonl"
    path.write_text(feed(("b", "Two", dated(2)), ("a", "One", dated(1)), ("c", "Undated", "")))
    found = list(follow(str(path), wait=False, dead_letters=dead))
    assert [(e.id, e.text, e.time) for e, _ in found] == [
        ("a", "One. Now & then", 1_714_557_600_000_000),
        ("b", "Two. Now & then", 1_714_644_000_000_000),
    ]
    assert json.loads(dead.read_text())["reason"] == "it has no time"
    path.write_text(feed(("d", "New", dated(3)), ("b", "Two, edited", dated(2))))
    assert [e.id for e, _ in follow(str(path), found[-1][1], wait=False)] == ["d"]
    assert [e.id for e, _ in follow(str(path), found[0][1], wait=False)] == ["b", "d"]


def test_what_is_no_feed(tmp_path):
    (tmp_path / "feed.xml").write_text("<rss")
    with pytest.raises(KgrecError, match="cannot be read as a feed"):
        list(follow(str(tmp_path / "feed.xml"), wait=False))
    with pytest.raises(KgrecError, match="is none of a feed"):
        list(follow(str(tmp_path / "feed.xml"), '{"at": 3}', wait=False))
