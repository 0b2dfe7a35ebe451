"""How an id is read, at every door: without blanks around it, in NFC, whole numbers without ".0"; words for nothing are no ids."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import polars as pl

from kgrec_core.data.table import written

NOBODY = ("nan", "null", "none", "n/a", "#n/a", "<na>", "(null)", "undefined")
_AROUND = r"^[\s\u{a0}\u{200b}\u{feff}]+|[\s\u{a0}\u{200b}\u{feff}]+$"
_WHOLE = r"^(-?\d+)\.0+$"


def identifiers(values: pl.Series) -> pl.Series:
    """String ids of a column; null where empty."""
    ids = written(values)
    odd = ids.str.contains(rf"{_AROUND}|[^\x00-\x7f]").fill_null(False)
    if odd.any():
        every = ids.filter(odd).unique()
        ids = ids.replace(every, pl.Series([identifier(text) for text in every], dtype=pl.String))
    return ids.set(ids == "", None)


def identifier(value: Any) -> str:
    """One id as it is asked for: 12, 12.0, numpy's 12 and " 12" are "12"."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return unicodedata.normalize("NFC", re.sub(r"^[\s\u200b\ufeff]+|[\s\u200b\ufeff]+$", "", str(value)))


def without_fractions(ids: pl.Series) -> pl.Series:
    """ "100.0" as "100", as a program writes numbers of a column with gaps; other ids as they are."""
    return ids.str.replace(_WHOLE, "$1")


def nobody(ids: pl.Series) -> pl.Series:
    """Which ids are words for nothing: nan, NULL, None, ..."""
    return ids.str.to_lowercase().is_in(NOBODY).fill_null(False)


def listed(text: str) -> list[str]:
    """What stands in a cell with several values: a list as JSON or Python write it, one a line, or parted by "|"; "\\|" is a bar in a value.

    >>> listed('["a", "b|c"]'), listed("['a', 'b']"), listed("a|b"), listed("TCP\\\\|IP"), listed("a\\nb")
    (['a', 'b|c'], ['a', 'b'], ['a', 'b'], ['TCP|IP'], ['a', 'b'])
    """
    if (found := _list(text)) is not None:
        return found
    return _filled(part.replace("\\|", "|") for line in text.splitlines() for part in re.split(r"(?<!\\)\|", line))


def in_lists(values: pl.Series) -> pl.Series:
    """Values, of which each that is written as a list is one; List(String) where there is any."""
    lists = values.str.contains(r"^\s*\[.*\]\s*$").fill_null(False)
    if not lists.any():
        return values
    split = {text: found for text in values.filter(lists).unique() if (found := _list(text)) is not None}
    return pl.Series(values.name, [split.get(text, [text]) if text is not None else None for text in values], pl.List(pl.String))


def _list(text: str) -> list[str] | None:
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        quoted = r"""'[^']*'|"[^"]*\""""
        if not re.fullmatch(rf"\[\s*(?:{quoted})(?:\s*,\s*(?:{quoted}))*\s*\]", text):
            return None
        found = [part[1:-1] for part in re.findall(quoted, text)]
    return _filled(map(identifier, found)) if all(type(part) in (str, int, float) for part in found) else None


def _filled(parts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, (part.strip() for part in parts))))
