"""What people write, as plain text: no HTML, no control characters, no stray white space; emoji stay. Every text that enters comes through here.

Only what proves to be HTML is taken for it: an element that is closed, has attributes or is a line break. So "a < b", the placeholder
<PHONE>, the key <q> and a question about <title> stay as they are written. Entities count with their semicolon only: "&copy=1" is of an address.
"""

from __future__ import annotations

import html
import re
import unicodedata

import polars as pl

_NAMES = (
    "a abbr address article aside b big blockquote body br button caption center cite code col colgroup dd del details div dl dt em "
    "fieldset figcaption figure font footer form h1 h2 h3 h4 h5 h6 head header hr html i iframe img input ins kbd label legend li link "
    "main mark meta nav object ol option p pre q s script section select small span strike strong style sub summary sup svg table tbody td "
    "textarea tfoot th thead title tr u ul video"
)
_BREAKS = {
    "address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p",
    "pre", "section", "table", "td", "th", "tr", "ul",
}  # fmt: skip
_NEVER_CLOSED = {"br", "hr"}
_OFTEN_OPEN = {"p", "li", "td", "th", "tr", "dd", "dt", "option"}  # HTML lets their ends be left out
_ATTRIBUTES = r"""(?:\s+[\w:@-]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'>]+))?)*\s*/?"""
_SPOKEN_OF = re.compile(r"[\"'`”’]?\s*(?:html[- ])?(?:tag|element|标签|標籤|标记|元素)", re.IGNORECASE)
_SPEAKS_OF = re.compile(r"(?:\b(?:tag|element)s?|标签|標籤|标记|元素)\s*[\"'`“‘]?$", re.IGNORECASE)
_HIDDEN = re.compile(r"<!--.*?-->|<!doctype[^>]*>|<(script|style)\b[^>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(rf"<(/?)({_NAMES.replace(' ', '|')})({_ATTRIBUTES})>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]\w{1,31});")
# C0 and C1 controls but tab and line ends, marks that turn the direction of writing, what is never seen, and halves of characters;
# U+200D joins emoji.
_CONTROL = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_GAP = re.compile(r"[^\S\n]*\n\s*")
_CLEAN = r"^[!-%'-;=-~]+(?: [!-%'-;=-~]+)*$"  # ASCII words with one blank between them, without < and &


def plain(text: str, lines: bool = False) -> str:
    """The text in NFC without HTML and control characters, white space collapsed; lines: keep line breaks, of paragraphs and lists too.

    >>> plain("<p>Is 3 < 5?</p> Call&nbsp;<b>us</b>: <PHONE> 👍")
    'Is 3 < 5? Call us: <PHONE> 👍'
    >>> plain("What does <title> do? See https://a.example/?id=7&copy=1")
    'What does <title> do? See https://a.example/?id=7&copy=1'
    """
    if "<" in text:
        text = _without_tags(_HIDDEN.sub(" ", text))
    if "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity.group()), text)
    text = unicodedata.normalize("NFC", _CONTROL.sub("", text))
    if not lines:
        return " ".join(text.split())
    text = "\n".join(text.splitlines())
    return re.sub(r"[^\S\n]+", " ", _GAP.sub("\n", text)).strip()


def plain_texts(values: pl.Series) -> pl.Series:
    """String in plain text on one line; null where nothing is left."""
    odd = (~values.str.contains(_CLEAN)).fill_null(False)
    if odd.any():
        every = values.filter(odd).unique()
        values = values.replace(every, pl.Series([plain(text) for text in every], dtype=pl.String))
    return values.set(values == "", None)


def _without_tags(text: str) -> str:
    tags = list(_TAG.finditer(text))
    if not tags:
        return text
    opened, proven = set(), set()
    spoken = {
        tag.start() for tag in tags if _SPOKEN_OF.match(text, tag.end()) or _SPEAKS_OF.search(text, max(0, tag.start() - 12), tag.start())
    }
    for tag in (tag for tag in tags if tag.start() not in spoken):
        end, name, rest = tag[1], tag[2].lower(), tag[3].strip(" /")
        if (end and name in opened) or rest or name in _NEVER_CLOSED:
            proven.add(name)
        if not end:
            opened.add(name)
    if proven or tags[0].start() == len(text) - len(text.lstrip()):
        proven |= _OFTEN_OPEN

    def left(tag: re.Match[str]) -> str:
        name = tag[2].lower()
        return tag.group() if name not in proven or tag.start() in spoken else "\n" if name in _BREAKS else ""

    return _TAG.sub(left, text)
