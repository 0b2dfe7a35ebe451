"""What a run's queries look like: a sample kept in the run when it is published, and the same of what it is asked later, to compare.

A sample holds numbers, scripts, labels and vectors: no text and no id of whoever asked. Queries are compared with those that were put in
the same way: in words, as somebody known, or by a history; scores of one are not those of another.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.calibration.confidence import of_table
from kgrec_core.errors import damage
from kgrec_core.graph import Graph, Nodes, Task, histories
from kgrec_core.interfaces import Hits, Retrieval, Vectors
from kgrec_core.model import Model
from kgrec_core.retrieval.delta import Layered
from kgrec_core.run.asked import met_by, with_queries
from kgrec_core.stored import document, numbers

MOST = 300  # queries of a sample, put in one way
FEW = 50  # candidates up to which the first answer is a label
LETTERS = 200  # of a text, of which its script is told
KINDS: dict[str, Any] = {"how": object, "met": float, "letters": float, "script": object, "near": float, "score": float, "label": object}


@dataclass(frozen=True, eq=False)
class Sample:
    """Queries of a task. columns: how each was put ("words", "known", "history"); met, how many edges it brings; letters and script of its
    text; near, the dot product with the nearest candidate; score and label of the first answer. NaN or None = there is no such thing.
    vectors: (n, d) float32."""

    columns: Mapping[str, NDArray[Any]]
    vectors: Vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def of(self, how: str) -> Sample:
        """The queries that were put so."""
        mask = self.columns["how"] == how
        return Sample({name: values[mask] for name, values in self.columns.items()}, self.vectors[mask])

    def given(self, name: str) -> NDArray[Any]:
        """A column's values without those that are none."""
        values = self.columns[name]
        return values[[value is not None for value in values] if values.dtype == object else ~np.isnan(values)]


_TELL: ContextVar[Callable[[Task, Sample], None] | None] = ContextVar("who is told of queries", default=None)


@contextmanager
def watched(tell: Callable[[Task, Sample], None] | None) -> Iterator[None]:
    """Meanwhile, in this thread or asyncio task, tell(task, sample) gets every query that a snapshot answers."""
    token = _TELL.set(tell)
    try:
        yield
    finally:
        _TELL.reset(token)


def told(graph: Graph, tasks: Iterable[Task], task: Task, nodes: Nodes, vectors: Vectors, hits: Hits) -> None:
    """To whoever watches; nothing is done where nobody does."""
    if (tell := _TELL.get()) is not None and len(nodes):
        tell(task, sample(graph, tasks, task, nodes, vectors, hits))


def sample(graph: Graph, tasks: Iterable[Task], task: Task, nodes: Nodes, vectors: Vectors, hits: Hits) -> Sample:
    """Of queries and what was found for them; `near` is left to `nearest`, which many share. graph: without what queries brought."""
    met = sum(nodes.read(relation).counts for relation in histories(tasks, nodes.kind))
    has = "text" in nodes.graph.columns(nodes.kind)
    texts = nodes.graph.gather(nodes.kind, nodes.rows, "text")["text"].to_list() if has else [None] * len(nodes)
    first, target = hits.rows[:, 0], task.relation.target
    labels: list[str | None] = [None] * len(nodes)
    if graph.size(target) <= FEW:
        ids = graph.gather(target, np.maximum(first, 0), "id")["id"].to_list()
        labels = [id if row >= 0 else None for id, row in zip(ids, first, strict=True)]
    known = nodes.rows < graph.size(nodes.kind)
    columns = {
        "how": ["words" if text else "known" if here else "history" for text, here in zip(texts, known, strict=True)],
        "met": np.broadcast_to(np.asarray(met, np.float64), len(nodes)),
        "letters": [len(text) if text else np.nan for text in texts],
        "script": [script(text) if text else None for text in texts],
        "near": np.full(len(nodes), np.nan),
        "score": np.where(first >= 0, hits.scores[:, 0], np.nan),
        "label": labels,
    }
    return _made(columns, vectors)


def _made(columns: Mapping[str, Any], vectors: Vectors) -> Sample:
    return Sample({name: np.asarray(columns[name], of) for name, of in KINDS.items()}, np.asarray(vectors, np.float32))


def nearest(found: Sample, retrieval: Retrieval, nodes: Nodes) -> Sample:
    """The sample with `near`, by the index of the retrieval's dense channel; as it is where it has none. nodes: any as many queries."""
    channel = next((part for part in retrieval.inside() if isinstance(part, Layered)), None)
    if channel is None or not len(found):
        return found
    near = channel.search(nodes, found.vectors, 1).scores[:, 0].astype(np.float64)
    return replace(found, columns={**found.columns, "near": np.where(np.isfinite(near), near, np.nan)})


def script(text: str) -> str:
    """Of most letters of a text, as Unicode calls it: LATIN, CJK, CYRILLIC; "" where it has no letter."""
    letters = (letter for letter in text[:LETTERS] if letter.isalpha())
    return max(Counter(unicodedata.name(letter, "?").partition(" ")[0] for letter in letters).items(), key=lambda x: x[1], default=("", 0))[
        0
    ]


def joined(samples: Sequence[Sample]) -> Sample:
    """Several samples as one, one after the other."""
    columns = {name: np.concatenate([sample.columns[name] for sample in samples]) for name in KINDS}
    return Sample(columns, np.concatenate([sample.vectors for sample in samples]))


def save(
    folder: Path, graph: Graph, model: Model, retrievals: Mapping[str, Retrieval], asked: Mapping[str, pl.DataFrame], seed: int = 0
) -> None:
    """TASK.json and TASK.npy of each task: of a sample of its queries, asked of what is published as if they were new. asked: the
    queries, see `confidence.as_table`."""
    folder.mkdir(exist_ok=True)
    for task in model.tasks:
        if task.name in retrievals and len(asked.get(task.name, ())):
            drawn = np.sort(np.random.default_rng(seed).permutation(len(asked[task.name]))[:MOST])
            found = _of_run(graph, model, retrievals[task.name], task, asked[task.name][drawn], seed)
            columns = {name: [None if v != v else v for v in values.tolist()] for name, values in found.columns.items()}
            (folder / f"{task.name}.json").write_text(json.dumps(columns), encoding="utf-8")
            np.save(folder / f"{task.name}.npy", found.vectors, allow_pickle=False)


def _of_run(graph: Graph, model: Model, retrieval: Retrieval, task: Task, asked: pl.DataFrame, seed: int) -> Sample:
    """Of sources with a text as if they were new; of others as they are asked today, by name and by history."""
    queries, kind, target = of_table(asked, graph, task, model.tasks).nodes, task.relation.source, task.relation.target

    def found(of: Nodes) -> Sample:
        vectors = model.vectors(task, of)
        hits = retrieval.search(of, vectors, 1, None, None if task.repeats else of.read(task.relation))
        return nearest(sample(graph, model.tasks, task, of, vectors, hits), retrieval, of)

    if "text" in graph.columns(kind):
        return found(queries)
    today = Nodes(graph, kind, queries.rows, "query")
    met, ids = today.read(met_by(task)), graph.entities[met_by(task).target]["id"]
    histories = [met.rows[a:b].tolist() for a, b in zip(met.indptr, met.indptr[1:], strict=False)]
    joined_to, rows = with_queries(graph, task, [{"history": [ids[row] for row in history]} for history in histories if history])
    every = [found(today), *([found(Nodes(joined_to, kind, rows, "query"))] if len(rows) else [])]
    return joined([*every, _scripts(graph, target, every[0].vectors.shape[1], seed)])


def _scripts(graph: Graph, kind: str, width: int, seed: int) -> Sample:
    """In which scripts candidates are written, for words that are asked where no query of the run has any."""
    texts = graph.entities[kind]["text"].drop_nulls().to_list() if "text" in graph.columns(kind) else []
    drawn = [script(texts[i]) for i in np.random.default_rng(seed).permutation(len(texts))[:MOST]]
    none = {name: np.full(len(drawn), None if of is object else np.nan) for name, of in KINDS.items()}
    return _made({**none, "how": ["words"] * len(drawn), "script": drawn}, np.zeros((len(drawn), width)))


def load(folder: Path, files: Mapping[str, bytes], task: str) -> Sample | None:
    """What `save` wrote. files: name in the run -> bytes. None where there is none; raises KgrecError where it is damaged."""
    table, vectors = (files.get(f"seen/{task}.{end}") for end in ("json", "npy"))
    if table is None or vectors is None:
        return None
    with damage(f"{folder}: seen/{task} is damaged", "restore the run from a copy or fit again"):
        found = document(table)
        columns = {name: [np.nan if v is None and of is not object else v for v in found[name]] for name, of in KINDS.items()}
        sample = _made(columns, numbers(np.load(BytesIO(vectors), allow_pickle=False), (len(found["how"]), None)))
        if any(values.shape != (len(sample),) for values in sample.columns.values()):
            raise ValueError("its columns differ in length")
        return sample
