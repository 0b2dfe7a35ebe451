"""The page is whole, loads nothing, and what stands in data stays text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from kgrec_core import open_run
from kgrec_core.domain import render


class Page(HTMLParser):
    """Tags, attributes and text of a page; refuses tags that are not closed in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def page(shop):
    return Page(render(open_run(shop.run)))


def test_sections(page):
    headings = " | ".join(page.texts)
    for words in ("Task buys", "all targets, ndcg@10", "new only", "Training", "Coverage against popularity", "Examples", "Model card"):
        assert words in headings
    assert page.tags.count("svg") >= 6
    for words in ("floor: popularity", "before", "after", "without knowledge", "gain: after-floor", "training loss", "semantic"):
        assert words in page.texts, words


def test_nothing_is_loaded_from_anywhere(page):
    assert not {"script", "img", "link", "iframe", "object", "image"} & set(page.tags)
    assert not {name for name, _ in page.attributes} & {"src", "href", "xlink:href", "onerror", "onload", "style"}
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_names_stay_text(page, shop):
    assert any(text.endswith(shop.HOSTILE) for text in page.texts), "hostile products are among histories and answers, as text"


def test_plots_stay_inside(page):
    numbers = [float(v) for name, v in page.attributes if name in ("x", "x1", "x2", "cx", "y", "cy", "width", "height")]
    assert numbers and min(numbers) >= 0 and max(numbers) <= 720
