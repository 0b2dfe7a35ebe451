"""Words in common (BM25): finds the exact name, number or brand that a language model blurs, and needs no training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError, damage
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.recipe.ranges import Amount, Share, Size
from kgrec_core.retrieval.blockwise import Blockwise, came
from kgrec_core.stored import csr, numbers, rows
from kgrec_core.words import cutter, resolve


@dataclass(kw_only=True, eq=False)
class Lexical(Blockwise):
    """BM25 of a query's words over the candidates' column `text`; only candidates that share a word are found.

    A query with a text of its own asks with it; any other asks with the texts of its last few targets.
    tokenizer: how a text becomes words, see `kgrec_core.words`; what "auto" meant is kept with the index.
    k1, b: how soon repeated words stop counting, how much long texts are discounted.
    history: how many of the last targets speak for a query without a text.
    asked: the texts of the sources that lead to a candidate are its words too: an FAQ entry is found by the questions known for it, and
        a known question by all but itself in the entries that are hidden from it.
    Candidates that come later are weighted by word counts of base and newcomers together, so that their scores compare.
    (Robertson & Zaragoza 2009, in Lucene's form, by bm25s: Lù 2024, arXiv:2407.03618.)
    """

    tokenizer: Literal["auto", "words", "bigrams", "rjieba"] = "auto"
    k1: Amount = 1.5
    b: Share = 0.75
    history: Size = 5
    asked: bool = False

    says = "has words in common"
    evidence = "text"
    newcomers = True
    scales = "adds up the lists of the query's few words; ranking a million candidates is one pass over a row of scores"
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
        self.words_, self.fresh_, self.told_, self.holding_, self.delta_ = self.bm25_.vocab_dict, {}, {}, 0, None
        if sorted(self.words_.values()) != [*range(len(self.words_))] or not numbers(self.mean_, (1,)) > 0:
            raise ValueError("the words are not numbered, or the mean length is none")
        n, size = len(rows(self.rows_, len(self.mask_))), int(self.rows_.max(initial=-1)) + 1
        each = csr(s["data"], s["indices"], s["indptr"], (len(self.words_), n))
        self.base_ = sp.csr_matrix((each.data, self.rows_[each.indices].astype(np.int32), each.indptr), shape=(len(self.words_), size))
        rows(self.added_, len(self.mask_))
        if len(self.added_):
            self._tell(self.added_)

    def extended(self, graph: Graph, new: Nodes, encode: Encode) -> Self:
        other, rows = super().extended(graph, new, encode), new.rows
        if self.asked:  # a known candidate with a new question is weighed again, with all its words
            led = came(self.graph_, graph, self.task_.relation)["target"].unique().to_numpy()
            rows = np.union1d(rows, led[other.mask_[led]]).astype(np.int64)
        if len(rows):
            other._tell(rows)
        return other

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        asked = self._counts(map(self._told, self._questions(queries)))
        out = (asked[:, : self.base_.shape[0]] @ self.base_).toarray()
        if self.delta_ is not None:
            out = np.pad(out, ((0, 0), (0, len(self.mask_) - out.shape[1])))
            out[:, self.added_] = (asked @ self.delta_).toarray()
        hidden = (queries.hide or {}).get(self.task_.relation) if self.asked else None
        if hidden is not None and len(hidden.rows):
            hidden = hidden.keep(hidden.rows < out.shape[1])
            others = self._shown(hidden.rows, without=queries.rows[hidden.owner])
            counts = self._counts(self._told(self.cutter_(text)) for text in others)
            out[hidden.owner, hidden.rows] = asked[hidden.owner].multiply(self._weighed(counts)).sum(1).A1
        return out

    def save(self, folder: Path) -> None:
        """bm25s' own files, in `bm25s/`, and which row each text belongs to."""
        super().save(folder)
        self.bm25_.save(folder / "bm25s", show_progress=False)

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        import bm25s

        with damage(f"{folder}: the word index is missing or damaged", "fit again"):
            self.bm25_ = bm25s.BM25.load(folder / "bm25s", show_progress=False)
            super().load(folder, graph, task)

    def _tell(self, rows: NDArray[np.int64]) -> None:
        """Read these candidates, then set `delta_` (words, added): Lucene's BM25 over base and added texts, by counts of both."""
        texts = list(map(self.cutter_, self._shown(rows)))
        fresh = dict.fromkeys(word for text in texts for word in text if word not in self.words_ and word not in self.fresh_)
        self.fresh_ = {**self.fresh_, **{word: len(self.words_) + len(self.fresh_) + i for i, word in enumerate(fresh)}}
        self.told_ = {**self.told_, **dict(zip(rows.tolist(), map(self._told, texts), strict=True))}
        self.added_ = np.array(sorted(self.told_), np.int64)
        counts = self._counts(self.told_[row] for row in self.added_.tolist())
        self.holding_ = np.bincount(counts.indices, minlength=counts.shape[1])
        self.delta_ = self._weighed(counts).T.tocsr()

    def _weighed(self, counts: sp.csr_matrix) -> sp.csr_matrix:
        """Lucene's BM25 of texts (n, words), by how many of base and added ones hold a word."""
        holding = np.pad(np.diff(self.base_.indptr), (0, len(self.fresh_))) + self.holding_
        idf = np.log(1 + (len(self.rows_) + len(self.added_) - holding + 0.5) / (holding + 0.5))
        length = np.repeat(counts.sum(1).A1, np.diff(counts.indptr))
        share = counts.data / (counts.data + self.k1 * (1 - self.b + self.b * length / self.mean_[0]))
        return sp.csr_matrix(((share * idf[counts.indices]).astype(np.float32), counts.indices, counts.indptr), shape=counts.shape)

    def _questions(self, queries: Nodes) -> list[list[str]]:
        graph, relation = queries.graph, self.task_.relation
        own = list(map(self.cutter_, queries.texts))
        silent = np.flatnonzero([not text for text in own])
        if len(silent):
            met = queries.take(silent).read(relation, last=self.history)
            rows, where = np.unique(met.rows, return_inverse=True)
            texts = self._read(graph, relation.target, rows)
            for query, text in zip(silent[met.owner].tolist(), where.tolist(), strict=True):
                own[query] = own[query] + texts[text]
        return own

    def _shown(self, rows: NDArray[np.int64], without: NDArray[np.int64] | None = None) -> list[str]:
        """The candidates' texts, with `asked` those of their sources below. without: a source for each that is left out."""
        graph, relation = self.graph_, self.task_.relation
        own = self._texts(graph, relation.target, rows)
        if not self.asked:
            return own
        met = graph.adjacent(relation, rows, inverse=True)
        met = met if without is None else met.keep(met.rows != without[met.owner])
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

    def _told(self, text: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Numbers of a text's known words, and how often each is in it."""
        place = {word: self.words_.get(word, self.fresh_.get(word)) for word in text}
        counts = Counter(place[word] for word in text if place[word] is not None)
        return np.fromiter(counts, np.int64, len(counts)), np.fromiter(counts.values(), np.float32, len(counts))

    def _counts(self, texts: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> sp.csr_matrix:
        """(n, words) of what `_told` gives."""
        places, counts = zip(*texts, strict=True) if (texts := list(texts)) else ((), ())
        indptr = np.concatenate([[0], np.cumsum([len(place) for place in places])]).astype(np.int64)
        none, shape = np.zeros(0), (len(places), len(self.words_) + len(self.fresh_))
        return sp.csr_matrix(
            (np.concatenate([none, *counts], dtype=np.float32), np.concatenate([none, *places], dtype=np.int64, casting="unsafe"), indptr),
            shape=shape,
        )
