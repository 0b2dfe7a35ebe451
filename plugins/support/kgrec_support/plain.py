"""What people paste into an FAQ, as plain text: no HTML, no control characters, no stray white space; emoji stay.

Only real elements count as HTML, so "a < b", the placeholder <PHONE> and the slot {order_id} stay as they are written.
"""

from __future__ import annotations

import html
import re

LONGEST = 2_000  # characters of a question that are searched with
_NAMES = (
    "a abbr address article aside b big blockquote body br button caption center cite code col colgroup dd del details div dl dt em "
    "fieldset figcaption figure font footer form h1 h2 h3 h4 h5 h6 head header hr html i iframe img input ins kbd label legend li link "
    "main mark meta nav object ol option p pre q s script section select small span strike strong style sub summary sup svg table tbody td "
    "textarea tfoot th thead title tr u ul video"
)
_BREAKS = "address article blockquote br dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p pre section table td th tr ul"
_ATTRIBUTES = r"""(?:\s+[\w:@-]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'>]+))?)*\s*/?"""
_HIDDEN = re.compile(r"<!--.*?-->|<!doctype[^>]*>|<(script|style)\b[^>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BREAK = re.compile(rf"</?(?:{_BREAKS.replace(' ', '|')}){_ATTRIBUTES}>", re.IGNORECASE)
_TAG = re.compile(rf"</?(?:{_NAMES.replace(' ', '|')}){_ATTRIBUTES}>", re.IGNORECASE)
# C0 and C1 controls but tab and line ends, marks that turn the direction of writing, and what is never seen; U+200D joins emoji.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
_GAP = re.compile(r"[^\S\n]*\n\s*")


def plain(text: str, lines: bool = False) -> str:
    """The text without HTML and control characters, white space collapsed; lines: keep line breaks, of paragraphs and lists too.

    >>> plain("<p>Is 3 < 5?</p> Call&nbsp;<b>us</b>: <PHONE> 👍")
    'Is 3 < 5? Call us: <PHONE> 👍'
    """
    if "<" in text:
        text = _TAG.sub("", _BREAK.sub("\n", _HIDDEN.sub(" ", text)))
    if "&" in text:
        text = html.unescape(text)
    text = _CONTROL.sub("", text)
    if not lines:
        return " ".join(text.split())
    text = "\n".join(text.splitlines())
    return re.sub(r"[^\S\n]+", " ", _GAP.sub("\n", text)).strip()


def cut(question: str) -> str:
    """The question in plain text, at most LONGEST characters, cut at a word."""
    text = plain(question.encode("utf-8", "replace").decode())
    if len(text) <= LONGEST:
        return text
    return text[:LONGEST].rpartition(" ")[0] or text[:LONGEST]
