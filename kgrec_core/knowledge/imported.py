"""`triples` and `recbole-kg`: knowledge that exists already, from a file.

    [knowledge.facts]
    use = "triples"              # as `kgrec graph export` writes it: source_kind, source, relation, target_kind, target, weight
    file = "facts.tsv"

    [knowledge.freebase]
    use = "recbole-kg"
    folder = "ml-100k"           # ml-100k.kg and ml-100k.link
    name = "ml-100k"

Read when the graph is built. What they say of entities that are not there yet is kept in the run: a product that comes later has its triples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_core.data.files import text_file
from kgrec_core.data.ids import identifiers
from kgrec_core.data.reading import column_names, read
from kgrec_core.data.table import Table
from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Graph, Relation
from kgrec_core.knowledge.delta import delta
from kgrec_core.knowledge.source import Rows, Source
from kgrec_core.stored import parquet

ENDS = ("source_kind", "source", "relation", "target_kind", "target")
STRINGS = dict.fromkeys(ENDS, pl.String)
WAITING = "waiting.parquet"
NEW, NEARLY, FEW = "entity", 0.9, 20  # kind of ends that are of none; share of ends that are a kind's; numbers that say nothing are fewer


class Imported(Source):
    """What sources from files share: `triples` gives a table of `ENDS` and perhaps `weight`, and names of entities.

    of: kind whose ids the file names; triples of ids that it does not have wait for them.
    """

    of: str

    def triples(self, graph: Graph) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
        """The triples, and kind -> `id`, `text` of named entities."""
        raise NotImplementedError

    def read(self, graph: Graph, rows: Rows | None = None) -> Graph:
        if rows is not None:
            return self._awaited(graph, rows)
        found, names = self.triples(graph)
        ids = pl.DataFrame({"id": graph.entities[self.of]["id"]}) if self.of in graph.entities else pl.DataFrame(schema={"id": pl.String})
        strange = pl.lit(False)
        for end in ("source", "target"):
            known = pl.col(end).is_in(ids["id"].implode())
            strange = strange | ((pl.col(f"{end}_kind") == self.of) & ~known)
        waits = found.select(strange.alias("waits"))["waits"]
        self.waiting_ = found.filter(waits).with_columns(pl.lit(None, pl.String).alias("text")) if waits.any() else _nothing()
        found = found.filter(~waits) if waits.any() else found
        self.notes = tuple(_notes(found, graph, names, self.waiting_, self.of))
        return _graph(found, names, graph, lambda done: self.progress(len(found) + done, 3 * len(found)))

    def _read(self, file: Path, columns: Mapping[str, str], **how: Any) -> Table:
        """The columns of a file; how far it is counts for a third, as what is read has to become edges then."""
        return read(file, columns, "knowledge.*", progress=lambda done, total: self.progress(done, 3 * total), **how)

    def _awaited(self, graph: Graph, rows: Rows) -> Graph:
        """What the file said of products that came now."""
        if self.of not in rows or not len(self.waiting_):
            return Graph({})
        ids = graph.gather(self.of, rows[self.of], "id")["id"].implode()
        mine = [(pl.col(f"{end}_kind") == self.of) & pl.col(end).is_in(ids) for end in ("source", "target")]
        found = self.waiting_.filter(mine[0] | mine[1])
        for end in ("source", "target"):  # an end that still is not there
            there = graph.rows(self.of, found[end].to_list()) >= 0
            found = found.filter((pl.col(f"{end}_kind") != self.of) | pl.Series(there))
        return _graph(found.drop("text"), {}, graph)

    def save(self, folder: Path) -> None:
        self.waiting_.write_parquet(folder / WAITING)

    def load(self, folder: Path) -> None:
        try:
            self.waiting_ = parquet(folder / WAITING, {**STRINGS, "text": pl.String})
        except (OSError, ValueError) as error:
            raise KgrecError(f"{folder / WAITING} is damaged ({error}); restore the run from a copy or fit again") from error


class Triples(Imported):
    """Triples of a CSV, TSV, Parquet or JSONL file: source, relation, target.

    file: where they are. of: kind of source ends where the file has no column source_kind. kind: the same of target ends; "none" = of each
        relation the kind whose ids nearly all of its ends are, `of` before others, else "entity".
    source, relation, target: the file's columns. weight: one with the confidence; "none" = weight, where there is one.
    where: a condition in SQL that rows have to meet; "none" = all.
    kinds: which kinds a file may name; "none" = the data's, and new ones that are not spelled nearly as one of these.
    """

    def __init__(
        self,
        *,
        file: Path,
        of: str = "item",
        kind: str | None = None,
        source: str = "source",
        relation: str = "relation",
        target: str = "target",
        weight: str | None = None,
        where: str | None = None,
        kinds: tuple[str, ...] | None = None,
    ) -> None:
        self.file, self.of, self.kind, self.weight, self.kinds = file, of, kind, weight, kinds
        self.source, self.relation, self.target, self.where = source, relation, target, where

    def triples(self, graph: Graph) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
        setting, there = "knowledge.*", column_names(self.file, "knowledge.*")
        wanted = {"source": self.source, "relation": self.relation, "target": self.target}
        wanted |= {name: name for name in ("source_kind", "target_kind", "target_text") if name in there}
        weight = self.weight or ("weight" if "weight" in there else None)
        table = self._read(self.file, wanted | ({"weight": weight} if weight else {}), where=self.where)
        for key in ("source", "relation", "target"):
            table.refuse_empty(table.frame[wanted[key]], wanted[key], setting)
        kinds = {"source_kind": self.of, "target_kind": self.kind or NEW}
        found = pl.DataFrame(
            [
                identifiers(table.frame[wanted[end]]).alias(end) if end in wanted and not end.endswith("kind")
                else table.frame[end].cast(pl.String) if end in wanted else pl.repeat(kinds[end], len(table.frame), dtype=pl.String, eager=True).alias(end)
                for end in ENDS
            ]
        )  # fmt: skip
        if "target_kind" not in wanted and self.kind is None:
            found = self._recognised(found, graph)
        for end in ("source_kind", "target_kind"):
            self._refuse_kinds(found[end], graph)
        if weight:
            weights = table.weights(weight, setting)
            found = found.with_columns(weights)
        names = {}
        if "target_text" in wanted:
            told = pl.DataFrame({"kind": found["target_kind"], "id": found["target"], "text": table.frame["target_text"]}).drop_nulls()
            names = {
                kind: of.select("id", "text").unique("id", keep="first") for (kind,), of in told.partition_by("kind", as_dict=True).items()
            }
        return found, names

    def _recognised(self, found: pl.DataFrame, graph: Graph) -> pl.DataFrame:
        """The triples, their targets of the kinds whose ids they are: what leads to products must not end at others of the same name."""
        kinds: dict[str, str] = {}
        distinct = found.select("relation", "target").unique()
        for (relation,), of in distinct.partition_by("relation", as_dict=True).items():
            ends = of["target"]
            if len(ends) < FEW and ends.str.contains(r"^\d+$").all():
                continue  # "1" to "5" are ids of many things
            for kind in dict.fromkeys([self.of, *graph.entities]):
                if kind in graph.entities and ends.is_in(graph.entities[kind]["id"].implode()).mean() >= NEARLY:
                    kinds[relation] = kind
                    break
        return found.with_columns(target_kind=pl.col("relation").replace_strict(kinds, default=NEW, return_dtype=pl.String))

    def _refuse_kinds(self, named: pl.Series, graph: Graph) -> None:
        for kind in named.unique().sort():
            near = get_close_matches(kind or "", graph.entities, n=1, cutoff=0.75)
            if (
                kind is None
                or (self.kinds is not None and kind not in self.kinds)
                or (self.kinds is None and kind not in graph.entities and near)
            ):
                row = named.eq_missing(kind).arg_max() + 2
                raise choices(
                    f"kind of entity ({self.file.name} row {row})",
                    str(kind),
                    self.kinds or graph.entities,
                    "correct it, or list it in knowledge.*.kinds",
                )


class RecboleKg(Imported):
    """The knowledge graph of a RecBole data set, for a recipe whose data come from elsewhere (`recbole` reads its own).

    folder, name: where NAME.kg and NAME.link are. of: kind that .link's items are. kind: of all else.
    """

    def __init__(self, *, folder: Path, name: str, of: str = "item", kind: str = "entity") -> None:
        self.folder, self.name, self.of, self.kind = folder, name, of, kind

    def triples(self, graph: Graph) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
        link = self._atomic(self.folder / f"{self.name}.link", ("item_id", "entity_id"))
        kg = self._atomic(self.folder / f"{self.name}.kg", ("head_id", "relation_id", "tail_id"))
        items = link.select(id="entity_id", item="item_id").unique("id", keep="first")
        for end, column in (("source", "head_id"), ("target", "tail_id")):
            kg = kg.join(items, left_on=column, right_on="id", how="left", maintain_order="left")
            mine = pl.col("item").is_not_null()
            kg = kg.with_columns(
                pl.when(mine).then(pl.lit(self.of)).otherwise(pl.lit(self.kind)).alias(f"{end}_kind"),
                pl.coalesce("item", column).alias(end),
            ).drop("item")
        return kg.rename({"relation_id": "relation"}).select(ENDS), {}

    def _atomic(self, path: Path, fields: tuple[str, ...]) -> pl.DataFrame:
        """The fields of a RecBole atomic file, tab-separated, with a header name:type."""
        if not path.is_file():
            raise KgrecError(f"there is no file {path}; correct knowledge.*.folder or name")
        with text_file(path) as file:
            header = file.readline().decode("utf-8-sig", "replace").strip("\r\n").split("\t")
        names = [column.partition(":")[0] for column in header]
        for field in fields:
            if field not in names:
                raise choices(f"field of {path.name}", field, names)
        table = self._read(path, {n: n for n in fields}, form="csv", separator="\t", quote=None, names=names)
        return table.frame.select(identifiers(table.frame[n]).alias(n) for n in fields).drop_nulls()


def _graph(found: pl.DataFrame, names: dict[str, pl.DataFrame], graph: Graph, progress: Callable[[int], None] | None = None) -> Graph:
    extra = [column for column in ("weight",) if column in found.columns]
    edges = {
        Relation(source, name, target): of.select("source", "target", *extra)
        for (source, name, target), of in found.partition_by(
            "source_kind", "relation", "target_kind", as_dict=True, maintain_order=True
        ).items()
    }
    return delta(edges, names, graph, progress)


def _nothing() -> pl.DataFrame:
    return pl.DataFrame(schema={**STRINGS, "text": pl.String})


def _notes(found: pl.DataFrame, graph: Graph, names: dict[str, pl.DataFrame], waiting: pl.DataFrame, of: str) -> Iterable[str]:
    if len(waiting):
        yield f"{len(waiting):,} triples name a {of} that is not there; they wait for it"
    for kind in pl.concat([found["source_kind"], found["target_kind"]]).unique().sort():
        if kind not in graph.entities:
            ids = pl.concat([found.filter(pl.col(f"{end}_kind") == kind)[end] for end in ("source", "target")]).n_unique()
            named = names[kind]["id"].n_unique() if kind in names else 0
            yield f"{kind} is new: {ids:,} entities, {max(0, ids - named):,} of them without a name"
