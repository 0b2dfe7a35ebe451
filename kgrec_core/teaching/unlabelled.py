"""Texts without labels: read from a file, and put beside the queries of a view, where an encoder reads them like any other query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.data.faults import refuse_bytes
from kgrec_core.data.files import readable, text_file
from kgrec_core.data.plain import plain
from kgrec_core.data.reading import form_of
from kgrec_core.data.rows import header, rows
from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Graph, Nodes, Ragged, Task

ALWAYS = 2**62  # a time before which everything is


def texts_of(file: Path, setting: str, column: str = "text") -> list[str]:
    """The distinct texts of a file, in its order: .txt has one a line, every other table has them in a column.

    Raises KgrecError where the file has no such column, or no text.
    """
    if form_of(file, setting) == "txt" and file.suffix != ".gz":
        with readable(file), text_file(file) as lines:
            told = lines.read()
        try:
            found = told.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            refuse_bytes(file)
    else:
        if column not in (names := header(file, setting)):
            raise choices(f"column of {file.name}", column, names, f"{setting} reads the texts from it; name another column")
        found = [str(row.get(column) or "") for row in _sound(file, setting)]
    found = [text for text in dict.fromkeys(plain(text) for text in found) if text]
    if not found:
        raise KgrecError(f"{setting}: {file} has no text; give a file with one text a line, or with a column {column!r}")
    return found


def _sound(file: Path, setting: str):
    for row in rows(file, setting):
        if isinstance(row, KgrecError):
            raise row
        yield row


def joined(graph: Graph, kind: str, texts: Sequence[str]) -> tuple[Graph, NDArray[np.int64]]:
    """The graph with further entities of a kind that have nothing but a text, and their rows. A text that the kind has already is left out."""
    known = set(graph.entities[kind]["text"].drop_nulls().to_list())
    new = [text for text in texts if text not in known]
    ids = [f"unlabelled {number}" for number in range(len(new))]
    graph = graph.join(Graph({kind: pl.DataFrame({"id": ids, "text": new}, schema={"id": pl.String, "text": pl.String})}))
    return graph, graph.rows(kind, ids)


def asked(nodes: Nodes, graph: Graph, rows: NDArray[np.int64]) -> Nodes:
    """Queries on a graph that grew, and behind them further rows of their kind, which know all that there is of themselves."""
    n, m = len(nodes), len(rows)
    before = None if nodes.before is None else np.concatenate([nodes.before, np.full(m, ALWAYS)])
    hide = None if nodes.hide is None else {relation: Ragged.of(of.owner, of.rows, n + m) for relation, of in nodes.hide.items()}
    return replace(nodes, graph=graph, rows=np.concatenate([nodes.rows, rows]), before=before, hide=hide)


def texted(graph: Graph, tasks: Sequence[Task]) -> list[str]:
    """The kinds whose texts are asked: sources of the tasks that have a text of their own."""
    return [kind for kind in dict.fromkeys(task.relation.source for task in tasks) if "text" in graph.columns(kind)]
