"""What is like the query's history, or its own text, in its words or in what the graph always says of it; nothing is learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.recipe.ranges import Fraction
from kgrec_core.retrieval.blockwise import Blockwise
from kgrec_core.retrieval.profile import profile
from kgrec_core.retrieval.relation_weights import relation_weights, stored_weights
from kgrec_core.retrieval.ties import Ends
from kgrec_core.stored import numbers

# Words of the Latin alphabet; scripts without spaces by the character.
TOKEN = r"[a-z0-9]+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"


@dataclass(kw_only=True, eq=False)
class Content(Blockwise):
    """Cosines of the candidates with what the query met, summed, each step back in the history counting `decay` as much.

    by: "text", TF-IDF of the target kind's texts (1 + log tf, smoothed idf; Salton & Buckley 1988), of a query with a text of its own
        also with that; "relations", the ends of the target kind's timeless relations (brand, category), rare ones counting more, each
        relation as much as what was chosen together says (`relation_weights`).
    What the candidates have no words, or no such relations, for finds nothing; what comes later is found by its words. (Lops et al. 2011,
    content-based recommendation.)

    decay: what a step back in the history counts of the step before it.
    """

    by: Literal["text", "relations"] = "text"
    decay: Fraction = 0.7

    says = "has words or attributes in common"
    scales = "a sparse product with the features of all candidates for every query: for a million put an index before it"
    state = ("features_", "rarity_", "words_", "weights_")

    @property
    def evidence(self) -> str:
        """the graph, or the words"""
        return "graph" if self.by == "relations" else "text"

    def holds(self, graph: Graph, task: Task) -> tuple[object, ...]:
        said = sorted(graph.timeless) if self.by == "relations" else ()
        return (*super().holds(graph, task), *(graph.relations[relation] for relation in said))

    def learn(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        """features_: (size, words or ends) CSR, of words rows of length one; words_: the vocabulary, or the relations by name, one a line;
        rarity_: of words; weights_: of relations."""
        kind, size, words = task.relation.target, graph.size(task.relation.target), []
        self.features_, self.rarity_, self.weights_ = sp.csr_matrix((size, 1), dtype=np.float32), np.ones(1, np.float32), np.zeros(0)
        if self.by == "relations":
            weights = relation_weights(graph, task.relation)
            words, self.weights_ = list(weights), np.array(list(weights.values()))
            if words:
                self.features_ = Ends(graph, kind, weights).whole
        else:
            texts = _texts(graph, kind, np.arange(size))
            if texts.str.to_lowercase().str.contains(TOKEN).any():
                counter = _counter()
                counts = counter.fit_transform(texts)
                words = counter.get_feature_names_out().tolist()
                have = np.bincount(counts.indices, minlength=counts.shape[1])
                self.rarity_ = (np.log((1 + size) / (1 + have)) + 1).astype(np.float32)
                self.features_ = self._weighed(counts)
        self.words_ = np.frombuffer("\n".join(words).encode(), np.uint8)

    def attach(self) -> None:
        words = self.words_.tobytes().decode().split("\n") if len(self.words_) else []
        known, width = self.features_.shape
        if self.by == "relations":
            self.relation_weights_ = stored_weights(zip(words, numbers(self.weights_, (len(words),)).tolist(), strict=True))
        if known > len(self.mask_) or (self.by == "text" and len(numbers(self.rarity_, (width,))) != max(1, len(words))):
            raise ValueError(f"features of {known:,} candidates with {width:,} words do not belong to this graph")
        self._counter = _counter(words) if words and self.by == "text" else None

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


def _texts(graph: Graph, kind: str, rows: NDArray[np.int64]) -> pl.Series:
    if "text" not in graph.columns(kind):
        return pl.Series([""] * len(rows), dtype=pl.String)
    texts = graph.gather(kind, rows, "text")["text"].to_list()  # `fill_null` would use threads, which are not there after a fork
    return pl.Series([text or "" for text in texts], dtype=pl.String)


def _counter(words: list[str] | None = None) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(token_pattern=TOKEN, vocabulary=words)
