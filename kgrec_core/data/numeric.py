"""Numbers as people write them -> Float64: "1,234.50", "5,90", "£3", "1 200 EUR", "n/a". What has two readings is not guessed."""

from __future__ import annotations

import re
from typing import NamedTuple

import polars as pl

NOTHING = {"", "nan", "null", "none", "n/a", "na", "n.a.", "#n/a", "<na>", "-", "--", "–", "—", "?"}
LARGEST = 1e30  # beyond, single precision has no number
_GAPS = re.compile(r"[\s\u00a0\u202f'’]")
_MONEY = "[$£€¥￥₹₽₩₺₴元円]|[A-Z]{1,2}\\$|(?i:usd|eur|gbp|cny|rmb|jpy|chf|inr|cad|aud|nzd|sek|nok|dkk|pln|czk|huf|krw|brl|mxn|hkd|sgd|zar|rub|kr|zł|kč|rs)\\.?"
_WRITTEN = re.compile(
    rf"(?P<sign>[+-]?)(?P<before>{_MONEY})?[\s\u00a0]*(?P<minus>-?)(?P<number>\d[\d.,\s\u00a0\u202f'’]*?|[.,]\d+)[\s\u00a0]*(?P<after>{_MONEY})?$"
)
_CODE = re.compile(r"[+-]?0\d")
_GROUPED = {mark: re.compile(rf"\d{{1,3}}(?:{re.escape(mark)}\d{{2,3}})*{re.escape(mark)}\d{{3}}$") for mark in ",."}


class Numbers(NamedTuple):
    """values: Float64 or as they were, null for what is empty; None = the column is no number. doubt: what must be said, of row `at`."""

    values: pl.Series | None
    doubt: str = ""
    at: int = 0


def numbers(values: pl.Series, decimal: str | None = None) -> Numbers:
    """What a column says in numbers. decimal: the decimal mark, "." or ","; None = told by the column itself, or not at all.

    Text stays text without a doubt where less than half of it looks like numbers, and where one has a leading zero, as codes have.
    """
    if values.dtype.is_numeric():
        return _finite(values)
    if values.dtype != pl.String:
        return Numbers(None)
    whole = values.cast(pl.Float64, strict=False) if decimal != "," else None
    if whole is not None and whole.null_count() == values.null_count() < len(values):
        return Numbers(None) if values.str.contains(rf"^{_CODE.pattern}").any() else _finite(whole)
    found = {text: _WRITTEN.match(text.strip()) for text in values.unique().drop_nulls() if text.strip().lower() not in NOTHING}
    shaped = {text: match for text, match in found.items() if match}
    if len(shaped) * 2 < len(found) or not shaped or any(_CODE.match(match["number"]) for match in shaped.values()):
        return Numbers(None)
    if len(shaped) < len(found):
        odd = values.is_in([text for text in found if text not in shaped]).fill_null(False)
        return _text(odd, f"is no number ({odd.sum():,} such rows); the column is kept as text; correct them")
    money = {(match["before"] or match["after"] or "").upper() for match in shaped.values()} - {""}
    if len(money) > 1:
        odd = values.is_in([t for t, match in shaped.items() if (match["before"] or match["after"] or "").upper() == sorted(money)[-1]])
        return _text(odd, f"is in another currency than others ({', '.join(sorted(money))}); the column is kept as text")
    mark = decimal or _mark([_GAPS.sub("", match["number"]) for match in shaped.values()])
    if mark is None:
        odd = values.is_in([text for text in shaped if "," in text or "." in text])
        return _text(odd, 'can be read with a decimal comma or with a decimal point; the column is kept as text; set decimal = "," or "."')
    read = {text: _read(match, mark) for text, match in shaped.items()}
    if wrong := [text for text, number in read.items() if number is None]:
        odd = values.is_in(wrong)
        return _text(odd, f'is no number with the decimal mark "{mark}"; the column is kept as text; correct it or set decimal')
    out = values.replace_strict(read, default=None, return_dtype=pl.Float64)
    if mark == "," and decimal is None and (odd := values.str.contains(",", literal=True).fill_null(False)).any():
        told = f'is read with a decimal comma, as {out[odd.arg_max()]:g}; set decimal = "," if so'
        return Numbers(_finite(out).values, told, odd.arg_max())
    return _finite(out)


def _finite(read: pl.Series) -> Numbers:
    """What is not finite or beyond single precision is nothing."""
    if not read.dtype.is_float():
        return Numbers(read)
    far = ((read.abs() > LARGEST) & ~read.is_nan()).fill_null(False)
    read = read.set(far | read.is_nan().fill_null(False), None)
    if not far.any():
        return Numbers(read)
    return Numbers(read, f"is left empty ({far.sum():,} such rows): it is too large or infinite", far.arg_max())


def _text(odd: pl.Series, why: str) -> Numbers:
    return Numbers(None, why, int(odd.fill_null(False).arg_max()))


def _mark(written: list[str]) -> str | None:
    """The decimal mark that all agree on; None where they do not, or none of them tells."""
    marks = {_told(number) for number in written} - {""}
    if marks <= {"?"}:
        return None if marks and any("," in number for number in written) else "."
    marks -= {"?"}
    return marks.pop() if len(marks) == 1 else None


def _told(number: str) -> str:
    """Which decimal mark a number shows by itself: "." or ","; "" = it has no mark, "?" = it can be either."""
    if "." in number and "," in number:
        return max(".,", key=number.rindex)
    for mark, other in (",.", ".,"):
        if mark in number:
            if number.count(mark) > 1:
                return other
            head, tail = number.split(mark)
            return "?" if len(tail) == 3 and 0 < len(head) <= 3 and head != "0" else mark
    return ""


def _read(match: re.Match[str], mark: str) -> float | None:
    number, group = _GAPS.sub("", match["number"]), "." if mark == "," else ","
    head, _, tail = number.partition(mark)
    if group in tail or mark in tail or (group in head and not _GROUPED[group].match(head)):
        return None
    value = float(f"{head.replace(group, '') or '0'}.{tail or '0'}")
    return -value if "-" in (match["sign"] + match["minus"]) else value
