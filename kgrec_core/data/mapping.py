"""How files map to entities, relations and tasks: the recipe tables below `[data]` of `tables`, as it spells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kgrec_core.data.links import Link

PROFILE = "profile"


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A kind of entity: one row of the file is one of them.

    file: CSV, TSV, Parquet or JSONL. id: its column; read as written. text: columns whose contents are joined, empty ones left out.
    joiner: what stands between them.
    attributes: columns that are kept; text that holds only numbers ("1,234.50", "5,90", "£3") becomes numbers, unless one has a leading
        zero as codes have. decimal: the decimal mark of numbers, "." or ","; "none" = told by the column, where it tells.
    since, until: times between which the entity exists.
    time_zone: what times without a zone are in, e.g. "Europe/London"; "none" = UTC.
    time_format: "s", "ms", "us" or a strftime format such as "%d/%m/%Y %H:%M"; "none" = ISO text, or unix times told by their size.
    where: only the rows for which this SQL condition holds, e.g. "Quantity > 0 AND StockCode ~ '^[0-9]{5}'".
    duplicates: "first" or "last" lets an id stand in several rows (order lines name their product): the first or last value that is
        not empty is taken, in the order of `since` or else of the file; `since` is the earliest, `until` the latest. "first" knows
        nothing that was written later.
    links: name -> what its columns say about it, as relations.
    profile: a column that says who one of them is (a user's segment; an age band by `edges`), as a task of that name beside the others: told
        from what it met, by [head.profile] and [retrieval.profile].
    """

    file: Path
    id: str
    text: tuple[str, ...] = ()
    joiner: str = ". "
    attributes: tuple[str, ...] = ()
    decimal: Literal[".", ","] | None = None
    since: str | None = None
    until: str | None = None
    time_zone: str | None = None
    time_format: str | None = None
    where: str | None = None
    duplicates: Literal["reject", "first", "last"] = "reject"
    links: Mapping[str, Link] = field(default_factory=dict)
    profile: Link | None = None

    @property
    def columns(self) -> dict[str, tuple[str, Link]]:
        """name -> the recipe's words for it, and the link: every one of them."""
        found = {name: (f"links.{name}", link) for name, link in self.links.items()}
        return found | ({PROFILE: (PROFILE, self.profile)} if self.profile else {})


@dataclass(frozen=True, kw_only=True)
class End:
    """One end of a relation.

    kind: of entity. column: holds its ids. unknown: as the relation's, for this end alone; "none" = the relation's.
    """

    kind: str
    column: str
    unknown: Literal["reject", "add", "drop"] | None = None


@dataclass(frozen=True, kw_only=True)
class Edges:
    """A relation: one row of the file is one edge, rows of equal time stay in the file's order.

    file: CSV, TSV, Parquet or JSONL. part: its column that says train, validation or test of every edge, for split.by = "column".
    parts: in place of both, a file per part: a published split as it is, e.g. { train = "train.tsv", test = "test.tsv" }. source, target: kind and column of its ends. time: its column.
    time_zone: what times without a zone are in, e.g. "Europe/London"; "none" = UTC.
    time_format: "s", "ms", "us" or a strftime format such as "%d/%m/%Y %H:%M"; "none" = ISO text, or unix times told by their size.
    timeless: undated, and true at all times.
    weight: column of numbers >= 0. where: only the rows for which this SQL condition holds, e.g. "Quantity > 0".
    decimal: the decimal mark of weights, "." or ","; "none" = told by the column.
    unknown: an id that its kind's file does not have is an error ("reject"), becomes an entity without text ("add"), or its row is left
        out ("drop"); what was added and left out is counted and said.
    empty: an empty target is an error ("reject") or says that nothing is right for this source ("keep").
    """

    source: End
    target: End
    file: Path | None = None
    part: str | None = None
    parts: Mapping[str, Path] = field(default_factory=dict)
    time: str | None = None
    time_zone: str | None = None
    time_format: str | None = None
    timeless: bool = False
    weight: str | None = None
    where: str | None = None
    decimal: Literal[".", ","] | None = None
    unknown: Literal["reject", "add", "drop"] = "reject"
    empty: Literal["reject", "keep"] = "reject"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A task: predict the targets of `relation`, which is a relation or a link. See `graph.Task`.

    relation: its name. history: further relations to read a source through. repeats: whether a source may get a target again.
    """

    relation: str
    history: tuple[str, ...] = ()
    repeats: bool = False
