"""`tfidf`: the words of the texts themselves, rare ones counting more; learns nothing, and knows what a language model blurs.

[encoder.words]
use = "tfidf"
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from kgrec_core import words
from kgrec_core.encoder import of_history
from kgrec_core.encoder.spoken import Spoken
from kgrec_core.errors import KgrecError, damage
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.recipe.ranges import Size
from kgrec_core.stored import arrays, document, numbers

FEW = 16  # texts that are asked together


class Tfidf(Spoken):
    """TF-IDF of the words, turned to a few hundred dimensions (latent semantic analysis, Deerwester et al. 1990).

    A candidate is no longer than one: what the width does not hold is no likeness. A query is of length one, or zero. Words are those
    of the target kinds' texts; what comes later is read by the same words. No gradients.

    width: dimensions. tokenizer: how a text becomes words, as in `lexical`.
    """

    def __init__(self, *, width: Size = 384, tokenizer: str = "auto") -> None:
        super().__init__()
        self.dim, self.tokenizer = width, tokenizer
        self.register_buffer("place_", torch.empty(0), persistent=False)  # where its vectors go, as it has no weights

    @classmethod
    def moved(cls, key: str, place: str) -> str | None:
        """What to write instead of a key that this part had."""
        return of_history(key, place) if key in ("decay", "last") else None

    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        kinds = [k for k in dict.fromkeys(task.relation.target for task in tasks) if "text" in graph.columns(k)]
        cut = words.resolve(self.tokenizer, [t for kind in kinds for t in graph.entities[kind]["text"].fill_null("").to_list()])
        self.cut_ = cut
        texts = [t for kind in kinds for t in self._texts(Nodes(graph, kind, np.arange(graph.size(kind)), "candidate"))]
        if not any(map(words.cutter(cut), texts)):
            raise KgrecError("encoder 'tfidf': no candidate has a word in its text; name text columns in data.entities, or leave it out")
        counter = TfidfVectorizer(analyzer=words.cutter(cut), sublinear_tf=True).fit(texts)
        weighed = counter.transform(texts)
        found = TruncatedSVD(min(self.dim, *(n - 1 for n in weighed.shape)) or 1, random_state=0).fit(weighed).components_
        axes = np.zeros((len(counter.vocabulary_), self.dim), np.float32)
        axes[:, : len(found)] = found.T
        self._assemble(cut, {w: int(i) for w, i in counter.vocabulary_.items()}, axes, counter.idf_.astype(np.float32))

    def forward(self, nodes: Nodes) -> torch.Tensor:
        if "text" not in nodes.graph.columns(nodes.kind):
            return torch.zeros(len(nodes), self.dim, device=self.place_.device)
        if self.through is None:
            different, place = np.unique(nodes.rows, return_inverse=True)
            texts = self._texts(nodes if len(different) == len(nodes) == 1 else replace(nodes, rows=different, before=None, hide=None))
        else:  # what is put into a text may depend on more than its row
            texts = self._texts(nodes)
            place = np.arange(len(texts))
        counted = self._counted(texts)
        vectors = torch.from_numpy(counted[place]).to(self.place_.device)
        return vectors if nodes.side == "candidate" else torch.nn.functional.normalize(vectors, dim=1)

    def _counted(self, texts: list[str]) -> NDArray[np.float32]:
        """(n, width) what the words come to; of few texts by hand, to the bit as sklearn has it, whose looks cost more than the sums."""
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        weighed = self.counter_.transform(texts) if len(texts) > FEW else self._weighed(texts)
        used = np.unique(weighed.indices)  # the product makes all it is given as precise as the weights
        weighed = sp.csr_matrix((weighed.data, np.searchsorted(used, weighed.indices), weighed.indptr), (len(texts), len(used)))
        return np.asarray(weighed @ self.axes_[used], np.float32)

    def _weighed(self, texts: list[str]) -> sp.csr_matrix:
        """(n, words) as `counter_` weighs them."""
        from sklearn.utils.sparsefuncs_fast import inplace_csr_row_normalize_l2

        cut, places, counts, indptr = words.cutter(self.cut_), [], [], [0]
        for text in texts:
            found = Counter(place for word in cut(text) if (place := self.words_.get(word)) is not None)
            places += sorted(found)
            counts += [found[place] for place in sorted(found)]
            indptr.append(len(places))
        data = (np.log(np.array(counts, np.float64)) + 1.0) * self.counter_.idf_[places] if places else np.zeros(0)
        found = sp.csr_matrix((data, np.array(places, np.int32), np.array(indptr, np.int32)), (len(texts), len(self.words_)))
        inplace_csr_row_normalize_l2(found)
        return found

    def tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        cut = words.cutter(self.cut_)
        return np.array([len(cut(text)) for text in texts], np.int64)

    def _texts(self, nodes: Nodes) -> list[str]:
        return self.spoken(nodes, nodes.texts)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"axes": self.axes_, "idf": self.idf_}, folder / "tfidf.safetensors")
        (folder / "words.json").write_text(json.dumps({"cut": self.cut_, "words": self.words_}, ensure_ascii=False))

    def load(self, folder: Path) -> None:
        with damage(f"{folder} is no saved tfidf encoder or is damaged"):
            kept, state = document(folder / "words.json"), arrays(folder / "tfidf.safetensors")
            known = dict(kept["words"])
            if sorted(known.values()) != [*range(len(known))]:
                raise ValueError("its words are not numbered")
            self._assemble(kept["cut"], known, numbers(state["axes"], (len(known), None)), numbers(state["idf"], (len(known),)))

    def _assemble(self, cut: str, known: dict[str, int], axes: NDArray[np.float32], idf: NDArray[np.float32]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.cut_, self.words_, self.axes_, self.idf_ = cut, known, axes, idf
        self.counter_ = TfidfVectorizer(analyzer=words.cutter(cut), vocabulary=known, sublinear_tf=True)
        self.counter_.idf_ = idf.astype(np.float64)
