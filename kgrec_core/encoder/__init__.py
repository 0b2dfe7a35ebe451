"""Encoders in three layers: items (text, tfidf) encode a node by what it is, fusions (concat) join encoders, `history` stands around
any of them and alone reads what a query met.
"""

from __future__ import annotations


def of_history(key: str, place: str) -> str:
    """What to write instead of a key with which an encoder of items, set in the table `place`, used to read histories itself."""
    now, below = {"history": "pooling"}.get(key, key), place.removeprefix("encoder").lstrip(".")
    return f'a history is read by the encoder around: [encoder] use = "history", {now} = ..., and this table as [encoder.items{"." * bool(below)}{below}]'
