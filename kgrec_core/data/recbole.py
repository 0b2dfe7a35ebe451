"""`recbole`: the atomic files of RecBole (https://recbole.io/docs/user_guide/data/atomic_files.html) in one folder.

    [data]
    use = "recbole"
    folder = "ml-100k"
    name = "ml-100k"
    where = "rating >= 4"

NAME.inter is needed; NAME.item, NAME.user, and NAME.kg with NAME.link where they exist. Tab-separated, header `name:type`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from kgrec_core.data.files import text_file
from kgrec_core.data.ids import identifiers
from kgrec_core.data.links import Link, targets
from kgrec_core.data.numbering import Numbering
from kgrec_core.data.numeric import numbers
from kgrec_core.data.plain import plain_texts
from kgrec_core.data.reading import read
from kgrec_core.data.summary import Summary
from kgrec_core.data.table import Table
from kgrec_core.data.times import micros
from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Dataset, Graph, Relation, Task

_TYPES = ("token", "token_seq", "float", "float_seq")


class Recbole:
    """A RecBole data set as kinds user, item and entity (what the knowledge graph has beside items), and one task.

    folder, name: where NAME.inter is. user, item: its fields. time: another; without a field "timestamp" interactions are undated.
    time_format: "none" = unix times told by their size; "s" where a set counts from another day.
    parts: part -> its file's middle name, for split.by = "column": { train = "train", validation = "valid", test = "test" } reads
        NAME.train.inter, NAME.valid.inter, NAME.test.inter in place of NAME.inter.
    weight: field of interactions. where: SQL condition on the fields of interactions, e.g. "rating >= 4".
    text: fields of .item and .user that are text; () = the first token_seq of each. links: fields that become timeless relations, a
        target per token; "none" = the other token_seq fields. All other fields are attributes.
    relation: name of the task and of its relation (user, relation, item). repeats: see `graph.Task`.

    A triple of .kg is a timeless relation under its own name. Where .link names an end, that end is the item itself, so a film and its
    Freebase entity are one row.
    """

    def __init__(
        self,
        *,
        folder: Path,
        name: str,
        user: str = "user_id",
        item: str = "item_id",
        time: str = "timestamp",
        time_format: str | None = None,
        parts: Mapping[str, str] | None = None,
        weight: str | None = None,
        where: str | None = None,
        text: tuple[str, ...] = (),
        links: tuple[str, ...] | None = None,
        relation: str = "interacts",
        repeats: bool = False,
    ) -> None:
        self.folder, self.name, self.user, self.item, self.weight = folder, name, user, item, weight
        self.time, self.time_format, self.parts = time, time_format, parts or {}
        self.where, self.text, self.links, self.relation, self.repeats = where, text, links, relation, repeats

    def load(self) -> Dataset:
        """Read the files. Raises KgrecError that names file, row, field and remedy."""
        kinds, graph, numbering, seen = {}, {}, {}, set()
        self.summary_ = Summary()
        for kind, key in (("user", self.user), ("item", self.item)):
            numbering[kind] = Numbering(f"{self.name}.{kind}")
            path = Path(self.folder) / f"{self.name}.{kind}"
            if path.is_file():
                fields, table = self._read(path, {kind: key})
                seen |= fields.keys() - {key}
                kinds[kind], linked = self._entities(fields, table, key)
                numbering[kind] = Numbering(path.name, kinds[kind]["id"])
                for name in linked:
                    link = Link(column=name, separator=" " if fields[name].endswith("_seq") else None)
                    pairs = targets(table.frame[name], link, name, "data.links")
                    known = numbering.setdefault(name, Numbering(path.name))
                    known.add(pairs["id"], named=True)
                    graph[Relation(kind, name, name)] = pairs.select("source", target=known.rows(pairs["id"]))
        for setting, names in (("text", self.text), ("links", self.links or ())):
            for name in names:
                if name not in seen:
                    raise choices(f"field of {self.name}.item or {self.name}.user", name, seen, f"correct data.{setting}")
        if (Path(self.folder) / f"{self.name}.kg").is_file():
            graph |= self._triples(numbering)
        timeless = frozenset(graph)
        task = Task(self.relation, Relation("user", self.relation, "item"), repeats=self.repeats)
        if self.parts:
            files = {part: self._interactions(numbering, f"{self.name}.{middle}.inter") for part, middle in self.parts.items()}
            graph[task.relation] = pl.concat([table.with_columns(part=pl.lit(part)) for part, table in files.items()])
        else:
            graph[task.relation] = self._interactions(numbering, f"{self.name}.inter")
        return Dataset(Graph({k: n.extend(kinds.get(k)) for k, n in numbering.items()}, graph, timeless), (task,))

    def _entities(self, fields: Mapping[str, str], table: Table, key: str) -> tuple[pl.DataFrame, list[str]]:
        """The table of a kind, and the fields that are links."""
        table.refuse_empty(table.frame[key], key, None)
        table.refuse_duplicates(table.frame[key], key, "remove one of them")
        sequences = [n for n, t in fields.items() if t == "token_seq" and n != key]
        text = [n for n in self.text if n in fields] if self.text else sequences[:1]
        linked = [n for n in sequences if n not in text] if self.links is None else [n for n in self.links if n in fields]
        out = {"id": table.frame[key].alias("id")}
        if text:
            parts = [plain_texts(table.frame[name]).alias(name) for name in text]
            out["text"] = pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator=". ", ignore_nulls=True)).to_series()
        for name in fields:
            if name not in (key, *text, *linked):
                read = numbers(table.frame[name]).values if fields[name] == "float" else None
                out[name] = table.frame[name] if read is None else read
        return pl.DataFrame(out), linked

    def _interactions(self, numbering: Mapping[str, Numbering], file: str) -> pl.DataFrame:
        path = Path(self.folder) / file
        if not path.is_file():
            found = [p.stem for p in Path(self.folder).glob("*.inter")]
            raise choices(f"RecBole data set in {self.folder}", self.name, found, "correct data.folder or data.name")
        fields, table = self._read(path, {"user": self.user, "item": self.item, "weight": self.weight}, self.where)
        out = {}
        for end, kind, field in (("source", "user", self.user), ("target", "item", self.item)):
            table.refuse_empty(table.frame[field], field, "data")
            numbering[kind].add(table.frame[field], named=False)
            out[end] = numbering[kind].rows(table.frame[field]).alias(end)
        if self.time != "timestamp" or self.time in fields:
            if self.time not in fields:
                raise choices(f"field of {path.name}", self.time, fields, "correct data.time")
            table.refuse_empty(table.frame[self.time], self.time, "data")
            out["time"] = micros(table.frame[self.time], table.place, "data", form=self.time_format)
        if self.weight:
            out["weight"] = table.weights(self.weight, "data")
        return pl.DataFrame(out)

    def _triples(self, numbering: dict[str, Numbering]) -> dict[Relation, pl.DataFrame]:
        """One relation per name and kinds of its ends: (item, film.film.genre, entity)."""
        path = Path(self.folder) / f"{self.name}.link"
        if not path.is_file():
            raise KgrecError(f"{self.name}.kg needs {path.name}, which says which entity an item is; add it or remove {self.name}.kg")
        _, link = self._read(path, {"item": self.item, "entity": "entity_id"})
        _, triples = self._read(path.with_name(f"{self.name}.kg"), {"head": "head_id", "relation": "relation_id", "tail": "tail_id"})
        link.refuse_empty(link.frame[self.item], self.item, None)
        numbering["item"].add(link.frame[self.item], named=False)
        items = link.frame.select(id="entity_id", row=numbering["item"].rows(link.frame[self.item]))
        numbering["entity"] = known = Numbering(f"{self.name}.kg")
        edges = triples.frame.select(source="head_id", name="relation_id", target="tail_id")
        for end in ("source", "target"):
            edges = edges.join(items, left_on=end, right_on="id", how="left", maintain_order="left").rename({"row": f"{end}_item"})
            known.add(edges.filter(pl.col(f"{end}_item").is_null())[end], named=False)
            edges = edges.with_columns(known.rows(edges[end]).alias(f"{end}_entity"))
        out = {}
        for (name,), group in edges.partition_by("name", as_dict=True, maintain_order=True).items():
            for source in ("item", "entity"):
                for target in ("item", "entity"):
                    columns = {"source": f"source_{source}", "target": f"target_{target}"}
                    found = group.select(pl.col(c).alias(end) for end, c in columns.items()).drop_nulls()
                    if len(found):
                        out[Relation(source, name, target)] = found
        return out

    def _read(self, path: Path, needed: Mapping[str, str | None], where: str | None = None) -> tuple[dict[str, str], Table]:
        """Types by field, and the whole file with fields named without their types."""
        with text_file(path) as file:
            header = file.readline().decode("utf-8-sig", "replace").strip("\r\n").split("\t")
        fields = {}
        for column in header:
            name, _, kind = column.rpartition(":")
            if kind not in _TYPES:
                raise KgrecError(
                    f'{path.name} row 1: "{column}" is no field; write name:type, tab-separated, with a type of {", ".join(_TYPES)}'
                )
            fields[name] = kind
        for key, name in needed.items():
            if name is not None and name not in fields:
                raise choices(f"field of {path.name}", name, fields, f"the {key} is read from it")
        table = read(path, {n: n for n in fields}, "data", where, form="csv", separator="\t", quote=None, names=list(fields))
        self.summary_.read(table)
        ids = [identifiers(table.frame[name]).alias(name) for name, kind in fields.items() if kind == "token"]
        return fields, table._replace(frame=table.frame.with_columns(ids))
