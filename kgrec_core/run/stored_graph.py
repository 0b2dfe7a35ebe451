"""A run's knowledge on disk: the graph as Parquet files with an index, its fingerprint, and the tasks it can have."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_core.errors import KgrecError, damage
from kgrec_core.graph import Graph, Relation, Task
from kgrec_core.knowledge.source import Source
from kgrec_core.stored import document, inside, parquet

ENTITY, EDGE = {"id": pl.String}, {"source": pl.UInt32, "target": pl.UInt32}


def fingerprint(graph: Graph) -> str:
    """A hash of all that a graph holds, however its strings lie in memory, which is not the same in every process."""
    digest = hashlib.sha256()
    for name, table in [*graph.entities.items(), *((str(r), t) for r, t in graph.relations.items())]:
        digest.update(name.encode() + ipc(table.rechunk(), oldest=True))
    return digest.hexdigest()


def save_graph(graph: Graph, folder: Path, sources: Mapping[str, Source] | None = None) -> None:
    """Parquet files and graph.json, which says which is which; beside it what the sources of knowledge have learned, a folder each."""
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {"entities": {}, "relations": []}
    for number, (kind, table) in enumerate(graph.entities.items()):
        index["entities"][kind] = f"entities-{number}.parquet"
        table.write_parquet(folder / index["entities"][kind])
    for number, (relation, table) in enumerate(graph.relations.items()):
        file = f"relations-{number}.parquet"
        index["relations"].append({"relation": list(relation), "file": file, "timeless": relation in graph.timeless})
        table.write_parquet(folder / file)
    (folder / "graph.json").write_text(json.dumps(index, indent=1))
    for name, source in (sources or {}).items():
        (folder / "sources" / name).mkdir(parents=True)
        source.save(folder / "sources" / name)


def load_graph(folder: Path) -> Graph:
    """What `save_graph` wrote. Raises KgrecError that names the file which is damaged."""
    name = "graph.json"
    try:
        index = document(folder / name)
        kinds, pairs = dict(index["entities"]), list(index["relations"])
        entities, relations, timeless = {}, {}, set()
        for kind, name in kinds.items():
            entities[kind] = parquet(inside(folder, name), ENTITY)
        for told in pairs:
            name, relation = told["file"], Relation(*map(str, told["relation"]))
            relations[relation] = parquet(inside(folder, name), EDGE)
            timeless |= {relation} if told["timeless"] else set()
        return Graph(entities, relations, frozenset(timeless))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise KgrecError(f"{folder / str(name)} is damaged ({error}); restore the run from a copy or fit again") from error


def load_tasks(folder: Path, manifest: dict[str, Any], graph: Graph) -> tuple[Task, ...]:
    """The tasks that a manifest tells of. Raises KgrecError where this graph cannot have them."""
    with damage(f"{folder}: the tasks in manifest.json are damaged", "restore the run from a copy or fit again"):
        said = [
            (str(t["name"]), *(Relation(*map(str, r)) for r in (t["relation"], *t["history"])), bool(t["repeats"]))
            for t in manifest["tasks"]
        ]
        tasks = tuple(Task(name, relation, tuple(history), repeats) for name, relation, *history, repeats in said)
        if not tasks or {r for task in tasks for r in (task.relation, *task.history)} - set(graph.relations):
            raise ValueError("they read relations that the run does not hold")
        return tasks


def ipc(table: pl.DataFrame, oldest: bool = False) -> bytes:
    """A table as Arrow IPC bytes, a stream, which polars writes and reads without threads of its own: after a fork there are none.
    oldest: strings one behind the other, not as views into buffers in any order."""
    buffer = BytesIO()
    table.write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest() if oldest else None)
    return buffer.getvalue()
