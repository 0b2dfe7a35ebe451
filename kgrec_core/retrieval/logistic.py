"""Multinomial logistic regression on the known edges: the simple classifier that a fine-tuned model must beat, and may be joined with."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError, damage
from kgrec_core.graph import Graph, Memo, Nodes, Task
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.recipe.ranges import Amount
from kgrec_core.retrieval.blockwise import Blockwise
from kgrec_core.retrieval.delta import find
from kgrec_core.retrieval.histories import Met
from kgrec_core.retrieval.softmax import STRENGTHS, Choice, Features, Softmax, choose, folds, learned

log = logging.getLogger("kgrec")
NGRAMS: dict[str, dict[str, Any]] = {
    "characters": {"analyzer": "char", "ngram_range": (1, 3)},
    "words": {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
}
FEATURES = ("vectors", *NGRAMS, "history")
TERMS = 100_000  # n-grams that are kept, the most frequent: 4 bytes for every class each
LEAST = 1e-9  # what is less probable is no hit


@dataclass(kw_only=True, eq=False)
class Logistic(Blockwise):
    """Learns which target a source has from the task's known edges; for few targets with several examples each (intents, moods).

    by: "words", TF-IDF of the sources' texts (1 + log tf; Wang & Manning 2012), without any language model; "vectors", what the
        encoder makes of the sources, as it was pretrained or fine-tuned; or "history", what a source met by the task's `history`, rare things
        counting more (who buys these is a gardener).
    ngrams: of "words": 1 to 2 "words"; 1 to 3 "characters" (scripts without spaces, misspelt words); "auto": the better one.
    strength: inverse of the L2 penalty (scikit-learn's C); 0 = the best of 1, 10, 100.
    balanced: as if all targets were equally frequent, so that rare ones are found too (macro F1), at the price of accuracy.
    What is left open is chosen by cross-validated log loss on at most 3,000 examples; so is how sharp the probabilities are. Built again
    on more examples it learns from all of them, but what was chosen stays.

    A score is log(probability / 1e-9): softmax gives the probabilities back. A target without an example is never found. A source that was
    learned from is answered by a model that did not see it, nor any equal text.
    """

    by: Literal["words", "vectors", "history"] = "words"
    ngrams: Literal["auto", "words", "characters"] = "auto"
    strength: Amount = 0.0
    balanced: bool = False

    logits = True
    settled = ("how_",)
    how_ = None
    evidence = "examples"
    scales = "learns a weight for every feature and target: for thousands of targets take lexical, neighbours or faiss"

    @property
    def reads(self) -> Literal["vectors", "history"]:
        """vectors where by = "vectors", else history (what it met, or the query's own text)"""
        return "vectors" if self.by == "vectors" else "history"

    @property
    def state(self) -> tuple[str, ...]:
        """What is saved as arrays; `terms_` is saved as JSON."""
        own = {"vectors": ("vectors_",), "words": ("rarity_",), "history": ("rarity_", "widths_")}[self.by]
        return ("sources_", "labels_", "fold_", "how_", "classes_", "weights_", "bias_", *own)

    @property
    def chosen(self) -> dict[str, Any]:
        """What was chosen: "ngrams" (of words), "C", "sharper" (the logits' factor); "examples", how many were learned from."""
        features, strength, sharper = self.how_.tolist()
        ngrams = {"ngrams": FEATURES[int(features)]} if self.by == "words" else {}
        return {**ngrams, "C": strength, "sharper": sharper, "examples": len(self.labels_)}

    def learn(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        kind = task.relation.source
        if self.strength < 0:
            raise KgrecError(
                f"retrieval.{task.name}: logistic.strength = {self.strength} is no C; give a number above 0, or 0 to choose it"
            )
        if self.by == "history" and not task.history:
            raise KgrecError(
                f"retrieval.{task.name}: logistic reads what was met, but the task names no history; set data.tasks.{task.name}.history"
            )
        if self.by == "words" and "text" not in graph.columns(kind):
            raise KgrecError(
                f"retrieval.{task.name}: logistic reads words, but {kind} has no column 'text' (it has {', '.join(graph.columns(kind))}); "
                'name its text, or take by = "vectors"'
            )
        edges = (
            graph.relations[task.relation].select(pl.col("source", "target").cast(pl.Int64)).drop_nulls().unique().sort("source", "target")
        )
        open_ = self.mask_[edges["target"].to_numpy()]
        self.sources_, self.labels_ = (edges[end].to_numpy()[open_] for end in ("source", "target"))
        self.fold_ = folds(_groups(graph, kind, self.sources_), self.labels_)
        self._tell(graph, task)
        names, read = (self.by,), {}
        if self.by == "vectors":
            self.vectors_ = encode(Nodes(graph, kind, self.sources_, "query")).astype(np.float16)
        elif self.by == "history":
            met = Met.of(graph, task.history, self.now_)
            self.rarity_, self.widths_ = met.rarity, met.widths
            read["history"] = met, met(Nodes(graph, kind, self.sources_, "query"))
        else:
            names = (self.ngrams,) if self.ngrams != "auto" else tuple(NGRAMS)
            texts = _texts(graph, kind, self.sources_)

        def features(name: str) -> Features:
            if self.by == "vectors":
                return self.vectors_.astype(np.float32)
            if name not in read:
                terms = _Terms.of(name, texts)
                read[name] = terms, terms(texts)
            return read[name][1]

        if self.how_ is None:
            how = choose(names, (self.strength,) if self.strength else STRENGTHS, features, self.labels_, self.fold_)
            self.how_ = np.array([FEATURES.index(how.features), how.strength, how.sharper])
        how = Choice(FEATURES[int(self.how_[0])], *self.how_[1:].tolist())
        model = self._learned(features(how.features), slice(None), how.strength, how.sharper)
        self.classes_, self.weights_, self.bias_ = model
        self.terms_ = []
        if self.by == "words":
            self.terms_, self.rarity_ = read[how.features][0].terms, read[how.features][0].rarity

    def attach(self) -> None:
        """Raises ValueError where what was loaded does not fit together."""
        n, c, how = len(self.labels_), len(self.classes_), self.how_
        width = len(self.terms_) if self.by == "words" else self.vectors_.shape[1] if self.by == "vectors" else int(self.widths_.sum())
        shapes = [(self.sources_, (n,)), (self.fold_, (n,)), (how, (3,)), (self.weights_, (width, c)), (self.bias_, (c,))]
        shapes.append((self.vectors_, (n, width)) if self.by == "vectors" else (self.rarity_, (width,)))
        if self.by == "history":
            shapes.append((self.widths_, (len(self.task_.history),)))
        sizes = [
            (self.sources_, self.graph_.size(self.task_.relation.source)),
            *((rows, len(self.mask_)) for rows in (self.labels_, self.classes_)),
        ]
        sound = all(each.shape == shape and np.isfinite(each).all() for each, shape in shapes) and 0 <= how[0] < len(FEATURES)
        sound = (
            sound
            and (self.by != "history" or self.widths_.min() >= 0)
            and all(_within(rows, size) for rows, size in sizes)
            and np.array_equal(np.unique(self.labels_), self.classes_)
        )
        if not sound or (np.diff(self.sources_) < 0).any() or len(set(self.terms_)) < len(self.terms_):
            raise ValueError("examples, classes and weights do not belong together")
        self.taught_, self.without_ = self.graph_, Memo()
        self.read_ = _Terms(FEATURES[int(how[0])], self.terms_, self.rarity_) if self.by == "words" else None
        if self.by == "history":
            self.read_ = Met(self.task_.history, self.rarity_, self.widths_, self.now_)

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        out = np.zeros((len(queries), len(self.mask_)), np.float32)
        x = vectors if self.by == "vectors" else self._features(queries)
        at = find(self.sources_, queries.rows)
        fold = np.where(at < 0, -1, np.append(self.fold_, -1)[at])
        for number in np.unique(fold).tolist():
            model, asked = self._model(number), np.flatnonzero(fold == number)
            if len(model.classes):
                out[np.ix_(asked, model.classes)] = np.maximum(0, model.log_p(x[asked]) - np.float32(np.log(LEAST)))
        return out

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "terms.json").write_text(json.dumps(self.terms_, ensure_ascii=False), encoding="utf-8")

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        with damage(f"{folder}: what logistic learned is missing or damaged", "fit again"):
            self.terms_ = json.loads((folder / "terms.json").read_text(encoding="utf-8"))
            if not isinstance(self.terms_, list) or not all(isinstance(term, str) for term in self.terms_):
                raise ValueError("terms.json is no list of words")
            super().load(folder, graph, task)

    def _model(self, fold: int) -> Softmax:
        """What was learned; of a fold >= 0, without its examples (learned when first asked for)."""
        if fold < 0:
            return Softmax(self.classes_, self.weights_, self.bias_)

        def make() -> Softmax:
            sources = Nodes(self.taught_, self.task_.relation.source, self.sources_, "query")
            x = self.vectors_.astype(np.float32) if self.by == "vectors" else self._features(sources)
            return self._learned(x, self.fold_ != fold, *self.how_[1:])

        return self.without_.get((fold,), (), make)

    def _features(self, nodes: Nodes) -> sp.csr_matrix:
        return self.read_(nodes if self.by == "history" else _texts(nodes.graph, nodes.kind, nodes.rows))

    def _learned(self, x: Features, which: slice | NDArray[np.bool_], strength: float, sharper: float) -> Softmax:
        """Of some examples."""
        model = learned(x[which], self.labels_[which], strength).sharpened(sharper)
        if not self.balanced:
            return model
        counts = np.unique(self.labels_[which], return_counts=True)[1]
        return model._replace(bias=model.bias - np.log(counts / counts.sum()).astype(np.float32))

    def _tell(self, graph: Graph, task: Task) -> None:
        """Say once what there is to learn from, where it is little."""
        counts = np.bincount(self.labels_, minlength=len(self.mask_))[self.mask_]
        none, one = int((counts == 0).sum()), int((counts == 1).sum())
        if none or one or len(counts) < 2:
            told = "retrieval.%s: logistic learns from %d examples of %d %s; %d more have none and are never found by it, %d have one only"
            said = task.name, len(self.labels_), len(counts) - none, task.relation.target, none, one
            graph.memo.get((told, *said), (), lambda: log.info(told, *said))


@dataclass(frozen=True, eq=False)
class _Terms:
    """n-grams of texts as TF-IDF rows of length one. terms: in the order of the columns; rarity: (f,) their idf."""

    ngrams: str
    terms: list[str]
    rarity: NDArray[np.float32]

    @classmethod
    def of(cls, ngrams: str, texts: pl.Series) -> _Terms:
        vectors = _vectoriser(ngrams, max_features=TERMS)
        try:
            vectors.fit(texts)
        except ValueError:  # sklearn's word for texts without a single term
            return cls(ngrams, [], np.zeros(0, np.float32))
        return cls(ngrams, vectors.get_feature_names_out().tolist(), vectors.idf_.astype(np.float32))

    def __call__(self, texts: pl.Series) -> sp.csr_matrix:
        if not self.terms:
            return sp.csr_matrix((len(texts), 0), dtype=np.float32)
        return self._vectors.transform(texts)

    @cached_property
    def _vectors(self) -> Any:
        """Made once: sklearn looks through all terms for doubles when it is given them."""
        vectors = _vectoriser(self.ngrams, vocabulary=self.terms)
        vectors.idf_ = self.rarity
        return vectors


def _vectoriser(ngrams: str, **more: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **NGRAMS[ngrams], **more)


def _texts(graph: Graph, kind: str, rows: NDArray[np.int64]) -> pl.Series:
    texts = graph.gather(kind, rows, "text")["text"].cast(pl.String).to_list()
    return pl.Series([text or "" for text in texts], dtype=pl.String)


def _groups(graph: Graph, kind: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) one number for all rows with the same text; those without a text are known by their row."""
    if "text" not in graph.columns(kind):
        return rows
    texts = _texts(graph, kind, rows).to_list()
    known: dict[str | int, int] = {}
    return np.array([known.setdefault(text or row, len(known)) for text, row in zip(texts, rows.tolist(), strict=True)], np.int64)


def _within(rows: NDArray, size: int) -> bool:
    return rows.dtype.kind in "iu" and (not len(rows) or bool(rows.min() >= 0 and rows.max() < size))
