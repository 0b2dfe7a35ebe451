"""`tfidf`: the words of the texts themselves, rare ones counting more; learns nothing, and knows what a language model blurs.

[encoder.words]
use = "tfidf"
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from kgrec_core import words
from kgrec_core.encoder.history import History
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Relation, Task, histories
from kgrec_core.interfaces import Encoder


class Tfidf(Encoder):
    """TF-IDF of the words, turned to a few hundred dimensions (latent semantic analysis, Deerwester et al. 1990).

    A candidate is its text; a query its own text and the mean of its earlier targets, of length one together (zero where there is
    nothing to read). Words are those of the target kinds' texts; what comes later is read by the same words. No gradients.

    width: dimensions. decay: weight of each step back in a history. last: how many earlier targets are read.
    tokenizer: how a text becomes words, as in `lexical`.
    """

    def __init__(self, *, width: int = 384, decay: float = 1.0, last: int = 500, tokenizer: str = "auto") -> None:
        super().__init__()
        self.dim, self.decay, self.last, self.tokenizer = width, decay, last, tokenizer
        self.history_ = History("recency", width, decay, last)

    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        kinds = [k for k in dict.fromkeys(task.relation.target for task in tasks) if "text" in graph.columns(k)]
        texts = [t for kind in kinds for t in graph.entities[kind]["text"].fill_null("").to_list()]
        cut = words.resolve(self.tokenizer, texts)
        if not any(map(words.cutter(cut), texts)):
            raise KgrecError("encoder 'tfidf': no candidate has a word in its text; name text columns in data.entities, or leave it out")
        counter = TfidfVectorizer(analyzer=words.cutter(cut), sublinear_tf=True).fit(texts)
        weighed = counter.transform(texts)
        found = TruncatedSVD(min(self.dim, *(n - 1 for n in weighed.shape)) or 1, random_state=0).fit(weighed).components_
        axes = np.zeros((len(counter.vocabulary_), self.dim), np.float32)
        axes[:, : len(found)] = found.T
        read = {t.relation.source: [r for r in histories(tasks, t.relation.source) if r.target in kinds] for t in tasks}
        self._assemble(
            kinds,
            cut,
            {w: int(i) for w, i in counter.vocabulary_.items()},
            torch.from_numpy(axes),
            torch.from_numpy(counter.idf_.astype(np.float32)),
            read,
        )

    def forward(self, nodes: Nodes) -> torch.Tensor:
        vectors = self._vectors(nodes.graph, nodes.kind, nodes.rows)
        if nodes.side == "candidate":
            return vectors  # no longer than one: what the width does not hold is no likeness
        for relation in self.read_.get(nodes.kind, ()):
            met = nodes.read(relation, self.last)
            vectors = vectors + self.history_(self._vectors(nodes.graph, relation.target, met.rows), torch.from_numpy(met.counts))
        return torch.nn.functional.normalize(vectors, dim=1)

    def refresh(self, graph: Graph, only_new: bool = False) -> None:
        known = self.table_ if only_new else {}
        shown = {t for kind in self.kinds_ for t in graph.entities[kind]["text"].to_list() if t and t not in known}
        self.table_ = {**known, **dict(zip(shown, self._counted(list(shown)), strict=True))}

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"axes": self.axes_, "idf": self.idf_}, folder / "tfidf.safetensors")
        (folder / "words.json").write_text(
            json.dumps({"kinds": self.kinds_, "cut": self.cut_, "read": self.read_, "words": self.words_}, ensure_ascii=False)
        )

    def load(self, folder: Path) -> None:
        try:
            kept, state = json.loads((folder / "words.json").read_text()), load_file(folder / "tfidf.safetensors")
            read = {kind: [Relation(*r) for r in relations] for kind, relations in kept["read"].items()}
            self._assemble(kept["kinds"], kept["cut"], kept["words"], state["axes"], state["idf"], read)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise KgrecError(f"{folder} is no saved tfidf encoder or is damaged ({error}); fit again or restore the folder") from error

    def _assemble(
        self, kinds: list[str], cut: str, known: dict[str, int], axes: torch.Tensor, idf: torch.Tensor, read: dict[str, list[Relation]]
    ) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.kinds_, self.cut_, self.words_, self.axes_, self.idf_, self.read_ = kinds, cut, known, axes, idf, read
        self.counter_ = TfidfVectorizer(analyzer=words.cutter(cut), vocabulary=known, sublinear_tf=True)
        self.counter_.idf_ = idf.double().numpy()
        self.table_: dict[str, np.ndarray] = {}

    def _vectors(self, graph: Graph, kind: str, rows: np.ndarray) -> torch.Tensor:
        """(n, width) of the rows' texts, each no longer than one."""
        if "text" not in graph.columns(kind):
            return torch.zeros(len(rows), self.dim)
        different, place = np.unique(rows, return_inverse=True)
        texts = graph.gather(kind, different, "text")["text"].fill_null("").to_list()
        new = [t for t in texts if t not in self.table_]
        fresh = dict(zip(new, self._counted(new), strict=True))
        found = np.stack([fresh[t] if t in fresh else self.table_[t] for t in texts]) if texts else np.zeros((0, self.dim), np.float32)
        return torch.from_numpy(found)[torch.from_numpy(place)]

    def _counted(self, texts: list[str]) -> np.ndarray:
        return np.asarray(self.counter_.transform(texts) @ self.axes_.numpy(), np.float32) if texts else np.zeros((0, self.dim), np.float32)
