"""An FAQ table -> questions and the entries that answer them. One row per question variant, or one per entry with variants in it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import polars as pl

from kgrec_core import DAY, KgrecError
from kgrec_core.domain import listed, written
from kgrec_support.columns import Columns, named, tag
from kgrec_support.plain import plain

_DAYS = re.compile(r"\d{4}([-/.]?)\d{1,2}\1\d{1,2}$|\d{1,2}([-/.])\d{1,2}\2\d{4}$")
_BULLET = re.compile(r"^\s*(?:[-*•·–]\s+|[0-9]{1,2}[.)]\s+)")
ANSWER = {"id": pl.String, "text": pl.String, "category": pl.String, "locale": pl.String, "since": pl.Int64, "until": pl.Int64}
ASKED = {"text": pl.String, "locale": pl.String, "split": pl.String, "session": pl.String, "target": pl.String}

DROP = ', or set data.empty = "drop": they are left out'


def filled(faq: Columns) -> pl.Series:
    """(rows,) whether a row asks something, and is answered in itself or in another one of its id."""
    answered = pl.DataFrame([faq.words("id"), faq.texts("answer", lines=True).is_not_null().alias("answered")])
    whole = answered.select(pl.col("answered") | (pl.col("id").is_not_null() & pl.col("answered").any().over("id"))).to_series()
    return whole & pl.Series([any(map(plain, texts)) for texts in _asked(faq)], dtype=pl.Boolean)


def entries(faq: Columns, keep_empty: bool = False) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(questions: ASKED with the id of the entry as target, entries: ANSWER), both in the file's order.

    An entry without an id is named by its text, so the same answer in several rows is one entry. An empty answer is that of another row
    with its id; keep_empty: or else says that nothing answers the question. Raises KgrecError with file and row.
    """
    table, answer = faq.table, faq.texts("answer", lines=True)
    frame = pl.DataFrame([faq.words("id"), answer, faq.words("category"), tag(faq.words("locale")), faq.parts(), *_times(faq)])
    frame = frame.with_columns(answer=pl.when(pl.col("id").is_null()).then("answer").otherwise(_first("answer")))
    if not keep_empty:
        table.refuse_empty(frame["answer"], faq.names.get("answer", "answer"), None, f'{DROP}, or "keep": nothing answers them')
    ids = pl.Series("id", named(frame["answer"], "a"), pl.String)
    frame = frame.with_columns(pl.col("id").fill_null(ids))
    if "answer" in faq.names:
        frame = frame.with_columns(id=pl.when(pl.col("answer").is_not_null()).then("id"))
    _refuse_two_answers(faq, frame.with_columns(mine=answer))
    odd = (frame["since"] >= frame["until"]).fill_null(False)
    if odd.any():
        raise KgrecError(f"{table.place(odd.arg_max())}: valid_from is not before valid_until; correct one of them")
    known = frame.filter(pl.col("id").is_not_null()).group_by("id", maintain_order=True)
    found = known.agg(pl.col(c).drop_nulls().first() for c in ("answer", "category", "locale", "since", "until"))
    asked = _questions(faq).join(frame.with_row_index("row"), on="row", how="left", maintain_order="left")
    asked = asked.select("text", "locale", "split", pl.lit(None).alias("session"), target="id").cast(ASKED)
    return asked, found.rename({"answer": "text"}).cast(ANSWER)


def _first(column: str) -> pl.Expr:
    return pl.col(column).fill_null(pl.col(column).drop_nulls().first().over("id"))


def _refuse_two_answers(faq: Columns, frame: pl.DataFrame) -> None:
    """mine: the answer as it stands in the row."""
    odd = (pl.col("mine") != pl.col("mine").drop_nulls().first().over("id")).fill_null(False)
    other = frame.select(odd).to_series()
    if other.any():
        second = other.arg_max()
        id, locales = frame["id"][second], frame.filter(pl.col("id") == frame["id"][second])["locale"]
        first = ((frame["id"] == id) & frame["mine"].is_not_null()).arg_max()
        choose = f', or choose one locale: data.locale = "{locales[0]}"' if locales.n_unique() > 1 else ""
        raise KgrecError(
            f'{faq.table.place(second)}: id "{id}" has another answer in row {faq.table.rows[first]}; '
            f"give each answer an id of its own or correct one of them{choose}"
        )


def _questions(faq: Columns) -> pl.DataFrame:
    """row (UInt32, position in the table) and text, question first, then its variants; none twice in a row."""
    texts = [list(dict.fromkeys(t for raw in asked if (t := plain(raw)))) for asked in _asked(faq)]
    empty = pl.Series([None if not t else "" for t in texts], dtype=pl.String)
    faq.table.refuse_empty(empty, faq.names.get("question", "question"), None, DROP)
    frame = pl.DataFrame({"row": range(len(texts)), "text": texts}, schema={"row": pl.UInt32, "text": pl.List(pl.String)})
    return frame.explode("text")


def _asked(faq: Columns) -> list[list[str]]:
    """Of each row its question and its variants, as they are written."""
    split = (_several(faq.get("question")), _several(faq.get("variants"), faq))
    every = zip(*(values or [()] * len(faq.table.frame) for values in split), strict=True)
    return [[raw or "" for part in parts for raw in part or ()] for parts in every]


def _several(values: pl.Series | None, faq: Columns | None = None) -> list[list[str] | None] | None:
    """The texts of every cell: one, or all that is listed in it."""
    if values is None:
        return None
    if values.dtype == pl.List:
        return values.cast(pl.List(pl.String)).to_list()
    cells = written(values)
    if faq is None:
        return [None if v is None else [v] for v in cells]
    found = [None if v is None else in_cell(v) for v in cells]
    odd = [i for i, (texts, v) in enumerate(zip(found, cells, strict=True)) if texts is None and v is not None]
    if odd:
        raise KgrecError(
            f'{faq.table.place(odd[0])}: {faq.names["variants"]} "{cells[odd[0]][:80]}" holds a ";" that may part variants or belong '
            'to one; put "|" or line breaks between variants, or write a JSON list: ["one; with more", "two"]'
        )
    return found


def in_cell(cell: str) -> list[str] | None:
    """What a cell lists, see `kgrec_core.domain.listed`; lines may have dashes or numbers, and semicolons part what they stand between
    without a blank, or questions. None where it cannot be told.

    >>> in_cell("a|b"), in_cell("- a\\n- b"), in_cell("a?; b?"), in_cell("I paid; where is it?")
    (['a', 'b'], ['a', 'b'], ['a?', 'b?'], None)
    """
    found = listed(cell)
    if len(found) > 1:
        return [_BULLET.sub("", text) for text in found] if all(map(_BULLET.match, found)) else found
    if cell.lstrip().startswith("["):
        return found
    text = plain(cell)
    parts = [part for part in re.split("[;；]", text) if part.strip()]
    if len(parts) > 1:
        return parts if not re.search(r"[;；]\s", text.strip()) or all(part.rstrip()[-1] in "?？" for part in parts) else None
    return found


def as_cell(texts: Sequence[str]) -> str:
    """Different texts as a cell from which `in_cell` gives them back."""
    joined = "|".join(texts)
    return joined if in_cell(joined) == list(texts) else json.dumps(list(texts), ensure_ascii=False)


def _times(faq: Columns) -> list[pl.Series]:
    """since and until, Int64 microseconds UTC; a day without an hour counts to its end in `valid_until`."""
    until, written_so = faq.times("valid_until"), faq.get("valid_until")
    if written_so is not None and written_so.dtype in (pl.Date, pl.String):
        days = _DAYS.match if written_so.dtype == pl.String else bool
        until = until + pl.Series([DAY if value is not None and days(value) else 0 for value in written_so], dtype=pl.Int64)
    return [faq.times("valid_from").alias("since"), until.alias("until")]
