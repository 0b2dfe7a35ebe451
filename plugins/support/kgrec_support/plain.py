"""A question as it is searched with: in plain text (`kgrec_core.data.plain`), and not longer than any question is."""

from __future__ import annotations

from kgrec_core.domain import plain

__all__ = ["LONGEST", "cut", "plain"]
LONGEST = 2_000  # characters of a question that are searched with


def cut(question: str) -> str:
    """The question in plain text, at most LONGEST characters, cut at a word."""
    text = plain(question)
    if len(text) <= LONGEST:
        return text
    return text[:LONGEST].rpartition(" ")[0] or text[:LONGEST]
