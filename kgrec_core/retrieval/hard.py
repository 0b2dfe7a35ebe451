"""Hard negatives: what the channels find for known queries and is not right, the texts a re-ranker has to tell from the right one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Ragged, Task
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.knowledge.duplicates import near_duplicates

BLOCK = 256  # queries that the channels are asked at once
ALIKE = 0.9  # Jaccard similarity from which a text counts as the right one told again, not as a wrong one


class Examples(NamedTuple):
    """n known queries: their texts, the text of one right candidate each, and n lists of wrong ones as places in `texts`."""

    queries: list[str]
    right: list[str]
    wrong: Ragged
    texts: list[str]

    def draw(self, numbers: NDArray[np.int64], negatives: int, rng: np.random.Generator) -> tuple[list[tuple[str, str]], list[int]]:
        """(query, candidate) pairs, of each example the right one first and then at most so many wrong ones, and how many each has."""
        pairs, sizes = [], []
        for i in numbers:
            wrong = self.wrong.rows[self.wrong.indptr[i] : self.wrong.indptr[i + 1]]
            drawn = rng.choice(wrong, min(negatives, len(wrong)), replace=False)
            pairs += [(self.queries[i], text) for text in (self.right[i], *(self.texts[row] for row in drawn))]
            sizes.append(1 + len(drawn))
        return pairs, sizes


def linked(graph: Graph, task: Task) -> tuple[Nodes, NDArray[np.int64]]:
    """Each source and target that are linked and have texts, once: the query as it was before it met the target, and the target.

    Dated: at the time of the first edge; undated: the target hidden from the query. Raises KgrecError where there is none.
    """
    relation, dated = task.relation, graph.dated(task.relation)
    table = graph.relations[relation].drop_nulls(["source", "target"])
    table = (table.sort("time", maintain_order=True) if dated else table).unique(["source", "target"], keep="first", maintain_order=True)
    ends = [(relation.source, table["source"].to_numpy().astype(np.int64)), (relation.target, table["target"].to_numpy().astype(np.int64))]
    told = np.array([bool(a and b) for a, b in zip(*(texts(graph, kind, rows) for kind, rows in ends), strict=True)], bool)
    if not told.any():
        raise KgrecError(
            f"retrieval.{task.name}: cross-encoder has nothing to learn from, no edge of {relation} has a text at both ends; "
            "set epochs = 0 for a ready re-ranker, or use merge"
        )
    source, target = ends[0][1][told], ends[1][1][told]
    before = table["time"].to_numpy()[told] if dated else None
    hide = None if dated else {relation: Ragged.of(np.arange(len(target)), target, len(target))}
    return Nodes(graph, relation.source, source, "query", before, hide), target


def examples(
    best: Callable[[Nodes, Vectors, Ragged], Ragged], nodes: Nodes, target: NDArray[np.int64], task: Task, encode: Encode, seed: int
) -> Examples:
    """The queries, each with one right candidate and the wrong ones among the best.

    best(queries, vectors, exclude): lists of candidates. Not wrong: whatever the query is linked to, now or later; a text nearly
    equal to one of those or to the query's own; no text.
    """
    graph, relation = nodes.graph, task.relation
    asked, told = texts(graph, nodes.kind, nodes.rows), texts(graph, relation.target, np.arange(graph.size(relation.target)))
    alike = near_duplicates([*told, *asked], ALIKE, seed=seed)
    silent, vectors, lists = np.array([not text for text in told], bool), encode(nodes), []
    for block in (np.arange(start, min(start + BLOCK, len(nodes))) for start in range(0, len(nodes), BLOCK)):
        right = graph.adjacent(relation, nodes.rows[block])
        found = best(nodes.take(block), vectors[block], right)
        group = found._replace(rows=alike[found.rows])
        copy = group.among(right._replace(rows=alike[right.rows])) | (group.rows == alike[len(told) + block][found.owner])
        lists.append(found.keep(~copy & ~silent[found.rows]))
    counts, rows = np.concatenate([w.counts for w in lists]), np.concatenate([w.rows for w in lists])
    wrong = Ragged.of(np.repeat(np.arange(len(nodes)), counts), rows, len(nodes))
    return Examples(asked, [told[row] for row in target], wrong, told)


def texts(graph: Graph, kind: str, rows: NDArray[np.int64]) -> list[str]:
    """The texts of rows, "" where there is none."""
    return [text or "" for text in graph.gather(kind, rows, "text")["text"].cast(pl.String).to_list()]
