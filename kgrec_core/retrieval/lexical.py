"""Words in common (BM25): finds the exact name, number or brand that a language model blurs, and needs no training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.retrieval.blockwise import Blockwise, came
from kgrec_core.words import cutter, resolve


@dataclass(kw_only=True, eq=False)
class Lexical(Blockwise):
    """BM25 of a query's words over the candidates' column `text`; only candidates that share a word are found.

    A query with a text of its own asks with it; any other asks with the texts of its last few targets.
    tokenizer: how a text becomes words, see `kgrec_core.words`; what "auto" meant is kept with the index.
    k1, b: how soon repeated words stop counting, how much long texts are discounted.
    history: how many of the last targets speak for a query without a text.
    asked: the texts of the sources that lead to a candidate are its words too: an FAQ entry is found by the questions known for it.
    Candidates that come later are weighted by word counts of base and newcomers together, so that their scores compare.
    (Robertson & Zaragoza 2009, in Lucene's form, by bm25s: Lù 2024, arXiv:2407.03618.)
    """

    tokenizer: Literal["auto", "words", "bigrams", "rjieba"] = "auto"
    k1: float = 1.5
    b: float = 0.75
    history: int = 5
    asked: bool = False

    newcomers = True
    scales = "multiplies the query's few words with their lists; a million candidates take 3 ms a query to rank"
    state = ("rows_", "added_", "mean_", "cut_")

    def learn(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        import bm25s

        self.rows_, self.added_ = np.flatnonzero(self.mask_), np.zeros(0, np.int64)
        plain = self._shown(self.rows_)
        self.cut_ = np.frombuffer(resolve(self.tokenizer, plain).encode(), np.uint8)
        self.cutter_ = cutter(self.cut_.tobytes().decode())
        texts = list(map(self.cutter_, plain))
        self.mean_ = np.array([sum(map(len, texts)) / max(len(texts), 1)])
        if not self.mean_[0]:
            kind = self.task_.relation.target
            raise KgrecError(
                f"lexical: none of the {len(texts):,} {kind} candidates has a word in its text; give {kind} a text, or leave lexical out"
            )
        self.bm25_ = bm25s.BM25(k1=self.k1, b=self.b, method="lucene")
        self.bm25_.index(texts, create_empty_token=False, show_progress=False)

    def attach(self) -> None:
        self.cutter_ = cutter(self.cut_.tobytes().decode())
        s = self.bm25_.scores
        self.words_, self.delta_ = self.bm25_.vocab_dict, None
        self.base_ = sp.csr_matrix((s["data"], s["indices"], s["indptr"]), shape=(len(self.words_), len(self.rows_)))
        if len(self.added_):
            self._weigh(list(map(self.cutter_, self._shown(self.added_))))

    def extended(self, graph: Graph, new: Nodes, encode: Encode) -> Self:
        other = super().extended(graph, new, encode)
        other.added_ = np.union1d(self.added_, new.rows)
        if self.asked:  # a known candidate with a new question is weighed again, with all its words
            told = came(self.graph_, graph, self.task_.relation)["target"].unique().to_numpy()
            other.added_ = np.union1d(other.added_, told[other.mask_[told]]).astype(np.int64)
        other.attach()
        return other

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        asked = self._counts(self._questions(queries), self.words_)
        out = np.zeros((len(queries), len(self.mask_)), np.float32)
        out[:, self.rows_] = (asked[:, : self.base_.shape[0]] @ self.base_).toarray()
        if self.delta_ is not None:
            out[:, self.added_] = (asked @ self.delta_).toarray()
        return out

    def save(self, folder: Path) -> None:
        """bm25s' own files, in `bm25s/`, and which row each text belongs to."""
        super().save(folder)
        self.bm25_.save(folder / "bm25s", show_progress=False)

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        import bm25s

        try:
            self.bm25_ = bm25s.BM25.load(folder / "bm25s", show_progress=False)
            super().load(folder, graph, task)
        except (OSError, EOFError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise KgrecError(f"{folder}: the word index is missing or damaged ({str(error).partition(chr(10))[0]}); fit again") from None

    def _weigh(self, texts: list[list[str]]) -> None:
        """Set `delta_` (words, added), by Lucene's BM25 over base and added texts, and `words_` with the words new to the base."""
        fresh = dict.fromkeys(word for text in texts for word in text if word not in self.words_)
        self.words_ = {**self.words_, **{word: len(self.words_) + i for i, word in enumerate(fresh)}}
        counts = self._counts(texts, self.words_)
        known = np.diff(self.base_.indptr)
        holding = np.bincount(counts.indices, minlength=len(self.words_)) + np.pad(known, (0, len(fresh)))
        idf = np.log(1 + (len(self.rows_) + len(texts) - holding + 0.5) / (holding + 0.5))
        length = np.repeat(counts.sum(1).A1, np.diff(counts.indptr))
        share = counts.data / (counts.data + self.k1 * (1 - self.b + self.b * length / self.mean_[0]))
        counts.data = (share * idf[counts.indices]).astype(np.float32)
        self.delta_ = counts.T.tocsr()

    def _questions(self, queries: Nodes) -> list[list[str]]:
        graph, kind, relation = queries.graph, queries.kind, self.task_.relation
        own = self._read(graph, kind, queries.rows) if "text" in graph.columns(kind) else [[] for _ in queries.rows]
        silent = np.flatnonzero([not text for text in own])
        if len(silent):
            met = queries.take(silent).read(relation, last=self.history)
            rows, where = np.unique(met.rows, return_inverse=True)
            texts = self._read(graph, relation.target, rows)
            for query, text in zip(silent[met.owner].tolist(), where.tolist(), strict=True):
                own[query] = own[query] + texts[text]
        return own

    def _shown(self, rows: NDArray[np.int64]) -> list[str]:
        """The candidates' texts, with `asked` those of their sources below."""
        graph, relation = self.graph_, self.task_.relation
        own = self._texts(graph, relation.target, rows)
        if not self.asked:
            return own
        met = graph.adjacent(relation, rows, inverse=True)
        lines = [[text] for text in own]
        for candidate, text in zip(met.owner.tolist(), self._texts(graph, relation.source, met.rows), strict=True):
            lines[candidate].append(text)
        return list(map("\n".join, lines))

    def _read(self, graph: Graph, kind: str, rows: NDArray[np.int64]) -> list[list[str]]:
        return list(map(self.cutter_, self._texts(graph, kind, rows)))

    @staticmethod
    def _texts(graph: Graph, kind: str, rows: NDArray[np.int64]) -> list[str]:
        if "text" not in graph.columns(kind):
            raise KgrecError(
                f"lexical: {kind} has no column 'text' (it has {', '.join(graph.columns(kind))}); name its text, or leave lexical out"
            )
        return [text or "" for text in graph.gather(kind, rows, "text")["text"].cast(pl.String).to_list()]

    @staticmethod
    def _counts(texts: list[list[str]], known: Mapping[str, int]) -> sp.csr_matrix:
        """(n, words) how often each known word stands in each text."""
        counts = [Counter(known[word] for word in text if word in known) for text in texts]
        indptr = np.concatenate([[0], np.cumsum([len(c) for c in counts])]).astype(np.int64)
        indices = np.fromiter((i for c in counts for i in c), np.int64, indptr[-1])
        data = np.fromiter((v for c in counts for v in c.values()), np.float32, indptr[-1])
        return sp.csr_matrix((data, indices, indptr), shape=(len(texts), len(known)))
