"""What a column says about an entity, as edges: its values, numeric buckets of it, or the words in it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from kgrec_core.data.ids import in_lists, nobody
from kgrec_core.data.numeric import numbers as in_numbers
from kgrec_core.data.plain import plain_texts
from kgrec_core.data.table import written
from kgrec_core.errors import KgrecError


@dataclass(frozen=True, kw_only=True)
class Link:
    """A timeless relation from an entity to what stands in one of its columns (item -brand-> brand).

    column: of the entity's file. kind: of the targets; "none" = named as the link. Targets that the kind does not have are made, with
        the value as id and text.
    separator: splits a value into several targets ("red|blue" with "|"); a JSON list is split anyway.
    buckets: how many quantile buckets of a numeric column; edges: or their explicit borders, [1, 5, 20] = 4 buckets.
    words: the words of the text are the targets, lower-cased; pattern: what is a word. So a shop without any attribute gets a graph
        from its product names; use min_count and max_share with it.
    min_count, max_share: targets with fewer entities, or with a larger share of them, are left out.
    """

    column: str
    kind: str | None = None
    separator: str | None = None
    buckets: int | None = None
    edges: tuple[float, ...] = ()
    words: bool = False
    pattern: str = r"[^\W\d_]{3,}"
    min_count: int = 1
    max_share: float = 1.0


def targets(values: pl.Series, link: Link, name: str, setting: str, decimal: str | None = None) -> pl.DataFrame:
    """Distinct (source: UInt32 position in `values`, id: String) pairs, by position; empty values have none.

    Raises KgrecError when a bucketed column is not numeric or the pattern is no regular expression.
    """
    if bool(link.separator) + bool(link.buckets or link.edges) + link.words > 1:
        raise KgrecError(f"{setting}: separator, buckets or edges, and words exclude each other; keep one")
    if link.buckets or link.edges:
        ids = _buckets(values, link, name, setting, decimal)
    elif link.words:
        try:
            ids = written(values).str.to_lowercase().str.extract_all(link.pattern)
        except pl.exceptions.PolarsError as error:
            raise KgrecError(f"{setting}.pattern = {link.pattern!r} is no regular expression: {str(error).splitlines()[0]}") from error
    elif values.dtype == pl.List:
        ids = values.list.eval(pl.element().cast(pl.String))
    elif link.separator:
        ids = written(values).str.split(link.separator)
    else:
        ids = in_lists(written(values))
    pairs = pl.DataFrame({"source": np.arange(len(values), dtype=np.uint32), "id": ids})
    pairs = pairs.explode("id") if pairs.schema["id"] == pl.List else pairs
    clean = plain_texts(pairs["id"])
    pairs = pairs.with_columns(clean.set(nobody(clean), None).alias("id")).drop_nulls().unique(maintain_order=True)
    often = pl.len().over("id")
    return pairs.filter((often >= link.min_count) & (often <= link.max_share * len(values))) if len(pairs) else pairs


def _buckets(values: pl.Series, link: Link, name: str, setting: str, decimal: str | None) -> pl.Series:
    read = in_numbers(values, decimal)
    if read.values is None:
        example = f'"{values[read.at]}" {read.doubt}' if read.doubt else f"e.g. {values.drop_nulls().head(1).to_list()}"
        raise KgrecError(f'{setting}: column "{link.column}" is not numeric, {example}; buckets need numbers')
    numbers = read.values
    numbers = numbers.cast(pl.Float64).fill_nan(None)
    borders = list(link.edges) or np.unique(np.nanquantile(numbers.to_numpy(), np.arange(1, link.buckets) / link.buckets)).tolist()
    if borders != sorted(set(borders)):
        raise KgrecError(f"{setting}.edges = {borders} must rise")
    label, text = name.replace("_", " "), [f"{b:.10g}" for b in borders]
    between = [f"{label} {low} to {high}" for low, high in pairwise(text)]
    labels = [f"{label} under {text[0]}", *between, f"{label} from {text[-1]}"] if borders else [label]
    return numbers.cut(borders, labels=labels, left_closed=True).cast(pl.String)
