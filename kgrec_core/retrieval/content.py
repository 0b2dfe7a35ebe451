"""What is like the query's history, or its own text, in its words or in what the graph always says of it; nothing is learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Nodes, Relation, Task
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.retrieval.blockwise import Blockwise
from kgrec_core.retrieval.profile import profile
from kgrec_core.stored import numbers

# Words of the Latin alphabet; scripts without spaces by the character.
TOKEN = r"[a-z0-9]+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"


@dataclass(kw_only=True, eq=False)
class Content(Blockwise):
    """Cosines of the candidates with what the query met, summed, each step back in the history counting `decay` as much.

    by: "text", TF-IDF of the target kind's texts (1 + log tf, smoothed idf; Salton & Buckley 1988), of a query with a text of its own
        also with that; "relations", the ends of the target kind's timeless relations (brand, category), rare ones counting more.
    What the candidates have no words, or no such relations, for finds nothing; what comes later is found by its words. (Lops et al. 2011,
    content-based recommendation.)
    """

    by: Literal["text", "relations"] = "text"
    decay: float = 0.7

    says = "has words or attributes in common"
    scales = "a sparse product with the features of all candidates for every query: for a million put an index before it"
    state = ("features_", "rarity_", "words_")

    @property
    def evidence(self) -> str:
        """the graph, or the words"""
        return "graph" if self.by == "relations" else "text"

    def holds(self, graph: Graph, task: Task) -> tuple[object, ...]:
        said = _timeless(graph, task.relation.target) if self.by == "relations" else ()
        return (*super().holds(graph, task), *(graph.relations[relation] for relation in said))

    def learn(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        """features_: (size, words or ends) CSR of rows of length one; words_: the vocabulary, one a line."""
        kind, words = task.relation.target, []
        counts = sp.csr_matrix((graph.size(kind), 1), dtype=np.float32)
        if self.by == "relations":
            counts = sp.hstack([counts, *(_ends(graph, relation) for relation in _timeless(graph, kind))]).tocsr()
        else:
            texts = _texts(graph, kind, np.arange(graph.size(kind)))
            if texts.str.to_lowercase().str.contains(TOKEN).any():
                counter = _counter()
                counts = counter.fit_transform(texts)
                words = counter.get_feature_names_out().tolist()
        self.words_ = np.frombuffer("\n".join(words).encode(), np.uint8)
        have = np.bincount(counts.indices, minlength=counts.shape[1])
        self.rarity_ = (np.log((1 + counts.shape[0]) / (1 + have)) + 1).astype(np.float32)
        self.features_ = self._weighed(counts)

    def attach(self) -> None:
        words = self.words_.tobytes().decode().split("\n")
        known, width = self.features_.shape
        if known > len(self.mask_) or len(numbers(self.rarity_, (width,))) != (len(words) if len(self.words_) else width):
            raise ValueError(f"features of {known:,} candidates with {width:,} words do not belong to this graph")
        self._counter = _counter(words) if len(self.words_) else None

    def extended(self, graph: Graph, new: Nodes, encode: Encode) -> Self:
        other, came = super().extended(graph, new, encode), np.arange(self.features_.shape[0], graph.size(self.task_.relation.target))
        if self._counter is not None and len(came):
            added = self._weighed(self._counter.transform(_texts(graph, self.task_.relation.target, came)))
            other.features_ = sp.vstack([self.features_, added]).tocsr()
        return other

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        asked = profile(queries, self.task_.relation, self.features_.shape[0], self.now_, self.decay) @ self.features_
        if self._counter is not None and "text" in queries.graph.columns(queries.kind):  # a question is its own history
            asked = asked + self._weighed(self._counter.transform(_texts(queries.graph, queries.kind, queries.rows)))
        # Sparse by dense is several times faster here than sparse by sparse.
        return np.ascontiguousarray((self.features_ @ asked.T.toarray()).T)

    def _cells(self) -> int:
        return max(self.features_.shape)

    def _weighed(self, counts: sp.csr_matrix) -> sp.csr_matrix:
        counts = counts.astype(np.float32)
        counts.data = 1 + np.log(counts.data)
        weighed = counts @ sp.diags(self.rarity_)
        length = np.sqrt(np.asarray(weighed.multiply(weighed).sum(1)).ravel())
        return (sp.diags(1 / np.where(length > 0, length, 1)) @ weighed).tocsr().astype(np.float32)


def _timeless(graph: Graph, kind: str) -> list[Relation]:
    return [r for r in sorted(graph.timeless) if r.source == kind and len(graph.relations[r])]


def _ends(graph: Graph, relation: Relation) -> sp.csr_matrix:
    """(sources, targets) 1 where the relation leads from one to the other."""
    pairs = graph.relations[relation].select("source", "target").drop_nulls().unique()
    ends = tuple(pairs[end].to_numpy().astype(np.int64) for end in pairs.columns)
    return sp.csr_matrix((np.ones(len(pairs), np.float32), ends), shape=(graph.size(relation.source), graph.size(relation.target)))


def _texts(graph: Graph, kind: str, rows: NDArray[np.int64]) -> pl.Series:
    if "text" not in graph.columns(kind):
        return pl.Series([""] * len(rows), dtype=pl.String)
    texts = graph.gather(kind, rows, "text")["text"].to_list()  # `fill_null` would use threads, which are not there after a fork
    return pl.Series([text or "" for text in texts], dtype=pl.String)


def _counter(words: list[str] | None = None) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(token_pattern=TOKEN, vocabulary=words)
