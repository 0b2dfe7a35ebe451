"""RSS and Atom: every entry once, whatever the feed shows again."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from kgrec_finance.feeds import rss
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


BOMB = b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><rss><channel><title>&b;</title></channel></rss>'
OUTSIDE = b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><rss><channel/></rss>'


@pytest.mark.parametrize("data", [BOMB, OUTSIDE, BOMB.decode().replace("1.0", "1.1").encode("utf-16")])
def test_entities_that_expand_or_stand_elsewhere_are_refused(tmp_path, data):
    (tmp_path / "feed.xml").write_bytes(data)
    with pytest.raises(KgrecError, match="declares entities that expand"):
        list(follow(str(tmp_path / "feed.xml"), wait=False))


def test_a_harmless_entity_is_none_of_these(tmp_path):
    text = feed(("a", "One", dated(1))).replace("<rss", '<!DOCTYPE rss [<!ENTITY nbsp "&#160;">]><rss')
    (tmp_path / "feed.xml").write_text(text)
    assert [e.id for e, _ in follow(str(tmp_path / "feed.xml"), wait=False)] == ["a"]


def test_a_feed_larger_than_any_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(rss, "LARGEST", 100)
    (tmp_path / "feed.xml").write_text(feed(("a", "One", dated(1))))
    with pytest.raises(KgrecError, match="more than 100 bytes"):
        list(follow(str(tmp_path / "feed.xml"), wait=False))


class Pages(BaseHTTPRequestHandler):
    """By path: a feed, packed and known by its tag; a bomb of zeros; ways elsewhere; one that drips."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("If-None-Match")))
        self.server.logins.append(self.headers.get("Authorization"))
        port = self.server.server_address[1]
        there = {
            "/moved": "/feed",
            "/moved-in-full": f"http://127.0.0.1:{port}/feed",
            "/away": f"http://localhost:{port}/feed",
            "/round": "/round",
            "/file": "file:///etc/passwd",
        }
        if self.path in there:
            self.send_response(302)
            self.send_header("Location", there[self.path])
            self.end_headers()
        elif self.headers.get("If-None-Match") == "one":
            self.send_response(304)
            self.end_headers()
        elif self.path == "/drips":
            with contextlib.suppress(OSError):
                for _ in range(400):
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n"[:1])
                    time.sleep(0.02)
        else:
            body = gzip.compress(b"0" * 2_000_000 if self.path == "/zeros" else feed(("u:a", "One", dated(1))).encode())
            self.send_response(200)
            for name, value in (("Content-Encoding", "gzip"), ("Content-Type", "application/rss+xml"), ("ETag", "one")):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def pages():
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        server.asked, server.logins = [], []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def at(pages, path: str) -> str:
    return f"http://127.0.0.1:{pages.server_address[1]}{path}"


def test_an_address_is_asked_again_only_for_what_is_new(pages):
    looks = iter([False, False, True])
    found = list(follow(at(pages, "/moved"), form="rss", poll=0.01, stop=lambda: next(looks)))
    assert [e.id for e, _ in found] == ["u:a"]
    assert [tag for path, tag in pages.asked if path == "/feed"] == [None, "one"]


@pytest.mark.parametrize("path", ["/feed", "/moved", "/moved-in-full"])
def test_a_password_in_the_address_is_given(pages, path):
    address = at(pages, path).replace("://", "://me:w%40rd%3A@")
    assert [e.id for e, _ in follow(address, form="rss", wait=False)] == ["u:a"]
    assert set(pages.logins) == {"Basic " + base64.b64encode(b"me:w@rd:").decode()}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/away", "sends us elsewhere, to http://localhost"),
        ("/file", "sends us elsewhere"),
        ("/round", "sends us around"),
        ("/zeros", "more than 100,000 bytes"),
        ("/drips", r"no answer within 0\.2 s"),
    ],
)
def test_an_address_that_misbehaves(pages, monkeypatch, path, said):
    monkeypatch.setattr(rss, "LARGEST", 100_000)
    monkeypatch.setattr(rss, "SECONDS", 0.2 if path == "/drips" else 30.0)
    with pytest.raises(KgrecError, match=said):
        list(follow(at(pages, path), form="rss", wait=False))
