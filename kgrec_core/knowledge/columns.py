"""`columns`: what stands in an entity's columns, as relations: values, lists, hierarchies, buckets of numbers and of dates.

[knowledge.columns]
use = "columns"
[knowledge.columns.links.category]
column = "categories"       # "Home > Kitchen > Mugs": linked to Mugs, which has the parent Kitchen, which has the parent Home
levels = ">"
[knowledge.columns.links.price]
column = "price"
buckets = 5
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from kgrec_core.data.links import Link, targets
from kgrec_core.data.moments import microseconds
from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Graph, Relation
from kgrec_core.knowledge.delta import delta
from kgrec_core.knowledge.linking import link, plain_form, read_review
from kgrec_core.knowledge.source import Rows, Source
from kgrec_core.recipe.ranges import Several, Share, Size
from kgrec_core.stored import document

PARTS = {"year": "%Y", "quarter": None, "month": "%Y-%m", "weekday": "%A", "season": None}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A relation from an entity to what stands in one of its columns.

    column: one that the entities have in the graph (`data.entities.item.attributes` names it). kind: of the targets; "none" = named as the link.
    separator: splits a value into several ("red|blue" with "|"). levels: splits it into levels, each a node with its parent
        ("a > b > c" with ">"); a node is known by its whole path. With both, each of several is a path.
    buckets: quantile buckets of numbers, their borders learned once. edges: or the borders. dates: buckets of dates.
    spellings: join values that are spelled otherwise, see `review`. min_count, max_share: values with fewer entities or a larger share are left out.
    """

    column: str
    kind: str | None = None
    separator: str | None = None
    levels: str | None = None
    buckets: Several | None = None
    edges: tuple[float, ...] = ()
    dates: Literal["year", "quarter", "month", "weekday", "season"] | None = None
    spellings: bool = False
    min_count: Size = 1
    max_share: Share = 1.0


class Columns(Source):
    """Timeless relations from what stands in the entities' columns.

    of: kind of entity. links: relation -> column and how it is read. review: CSV file in which a person decides which spellings are the same.
    """

    def __init__(self, *, of: str = "item", links: Mapping[str, Column], review: Path | None = None) -> None:
        self.of, self.links, self.review = of, links, review

    def learn(self, graph: Graph) -> None:
        """Borders of buckets, which spellings are one, and which values are frequent enough."""
        decided = read_review(self.review) if self.review else {}
        self.borders_: dict[str, list[float]] = {}
        self.spelling_: dict[str, dict[str, str]] = {}
        self.kept_: dict[str, list[str] | None] = {}
        self.doubtful = []
        table = self._table(graph, None)
        for name, how in self.links.items():
            if how.buckets:
                self.borders_[name] = _quantiles(table[how.column], how, name)
            pairs, kind = self._pairs(table, name, how), how.kind or name
            if how.spellings:
                linked = link(kind, Counter(pairs["target"].to_list()), decided.get(kind))
                forms = {plain_form(one): other for one, other in reversed(linked.spelling.items())}
                self.spelling_[name] = forms | {one: other for one, other in linked.spelling.items() if other != forms[plain_form(one)]}
                self.doubtful += linked.doubtful
                pairs = self._pairs(table, name, how)
            often = pairs.group_by("target", maintain_order=True).len()
            kept = often.filter((pl.col("len") >= how.min_count) & (pl.col("len") <= how.max_share * len(table)))
            self.kept_[name] = kept["target"].to_list() if len(kept) < len(often) else None
        self.notes = (f"{len(self.doubtful):,} pairs of spellings are doubtful",) if self.doubtful else ()

    def read(self, graph: Graph, rows: Rows | None = None) -> Graph:
        if rows is not None and self.of not in rows:
            return Graph({})
        table, edges, texts = self._table(graph, rows), {}, {}
        for name, how in self.links.items():
            pairs, kind = self._pairs(table, name, how), how.kind or name
            if (kept := self.kept_[name]) is not None:
                pairs = pairs.filter(pl.col("target").is_in(kept))
            if not len(pairs):
                continue
            edges[Relation(self.of, name, kind)] = pairs
            nodes = {value: value for value in pairs["target"].unique(maintain_order=True)}
            if how.levels:
                nodes, parents = _hierarchy(list(nodes))
                if parents:
                    ends = {"source": pl.String, "target": pl.String}
                    edges[Relation(kind, "parent", kind)] = pl.DataFrame(parents, ends, orient="row")
            texts[kind] = {**nodes, **texts.get(kind, {})}
        named = {kind: pl.DataFrame({"id": list(of), "text": list(of.values())}) for kind, of in texts.items()}
        return delta(edges, named, graph)

    def save(self, folder: Path) -> None:
        told = {"borders": self.borders_, "spelling": self.spelling_, "kept": self.kept_}
        (folder / "columns.json").write_text(json.dumps(told, ensure_ascii=False), "utf-8")

    def load(self, folder: Path) -> None:
        try:
            told = document(folder / "columns.json")
            self.borders_ = {n: [float(b) for b in told["borders"][n]] for n, how in self.links.items() if how.buckets}
            self.spelling_ = {n: {str(a): str(b) for a, b in of.items()} for n, of in told["spelling"].items()}
            self.kept_ = {n: None if told["kept"][n] is None else list(map(str, told["kept"][n])) for n in self.links}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise KgrecError(f"{folder / 'columns.json'} is damaged ({error}); restore the run from a copy or fit again") from error

    def _table(self, graph: Graph, rows: Rows | None) -> pl.DataFrame:
        if self.of not in graph.entities:
            raise choices("kind of entity", self.of, graph.entities, "correct knowledge.*.of")
        for name, how in self.links.items():
            if how.column not in graph.columns(self.of):
                remedy = f"name it in data.entities.{self.of}.attributes, or correct links.{name}.column"
                raise choices(f"column of {self.of}", how.column, graph.columns(self.of), remedy)
        which = np.arange(graph.size(self.of)) if rows is None else rows[self.of]
        return graph.gather(self.of, which, *dict.fromkeys(["id", *(how.column for how in self.links.values())]))

    def _pairs(self, table: pl.DataFrame, name: str, how: Column) -> pl.DataFrame:
        """`source` and `target`: ids of entities, and the values of a link."""
        values, setting = table[how.column], f"knowledge.*.links.{name}"
        if how.dates:
            values = _dates(values, how.dates, setting)
        border = tuple(self.borders_.get(name, how.edges))
        found = targets(values, Link(column=how.column, separator=how.separator, edges=border), name, setting)
        ids = table["id"].gather(found["source"])
        pairs = pl.DataFrame({"source": ids, "target": found["id"]}, {"source": pl.String, "target": pl.String})
        if how.levels:
            path = pl.col("target").str.split(how.levels).list.eval(pl.element().str.strip_chars().replace("", None).drop_nulls())
            pairs = pairs.with_columns(path.list.join(" > ")).filter(pl.col("target") != "")
        if self.spelling_.get(name):
            known = self.spelling_[name]
            ways = {value: known.get(value, known.get(plain_form(value), value)) for value in pairs["target"].unique()}
            pairs = pairs.with_columns(pl.col("target").replace(ways))
        return pairs.unique(maintain_order=True)


def _quantiles(values: pl.Series, how: Column, name: str) -> list[float]:
    from kgrec_core.data.numeric import numbers

    read = numbers(values)
    if read.values is None:
        raise KgrecError(f'knowledge.*.links.{name}: column "{how.column}" is not numeric; buckets need numbers')
    known = read.values.cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy()
    return np.unique(np.quantile(known, np.arange(1, how.buckets) / how.buckets)).tolist() if len(known) else []


def _dates(values: pl.Series, part: str, setting: str) -> pl.Series:
    """Dates as the name of their bucket: "2024-03", "Monday", "winter"; a column of integers is microseconds."""
    if values.dtype == pl.Int64 or values.dtype.is_temporal():
        when = values.cast(pl.Datetime("us"))
    else:
        read = {value: _moment(value, setting) for value in values.drop_nulls().unique(maintain_order=True)}
        when = values.replace_strict(read, default=None, return_dtype=pl.Int64).cast(pl.Datetime("us"))
    if part == "quarter":
        return pl.select(pl.format("{}-Q{}", when.dt.year(), when.dt.quarter())).to_series()
    if part == "season":
        names = {0: "winter", 1: "spring", 2: "summer", 3: "autumn"}
        return (when.dt.month() % 12 // 3).replace_strict(names, return_dtype=pl.String)
    return when.dt.strftime(PARTS[part])


def _moment(value: object, setting: str) -> int:
    try:
        return microseconds(str(value), UTC)
    except ValueError as error:
        raise KgrecError(f'{setting}: "{value}" {error}; buckets of dates need dates') from None


def _hierarchy(paths: list[str]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Every level of the paths: id -> its own name, and (level, its parent)."""
    nodes, parents = {}, {}
    for path in paths:
        levels = path.split(" > ")
        for depth in range(len(levels), 0, -1):
            node = " > ".join(levels[:depth])
            nodes[node] = levels[depth - 1]
            if depth > 1:
                parents[node] = " > ".join(levels[: depth - 1])
    return nodes, list(parents.items())
