"""`verbalize`: around an encoder of texts; what the graph says of an entity is put into its text before it is tokenised.

[encoder]
use = "verbalize"
[encoder.text]
use = "text"
model = "sentence-transformers/all-MiniLM-L6-v2"
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from kgrec_core.encoder.facts import facts, knowledge
from kgrec_core.encoder.fusion import Fusion, named
from kgrec_core.encoder.spoken import Spoken
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Relation, Task
from kgrec_core.interfaces import Encoder
from kgrec_core.recipe.ranges import Count

LAST = 64  # edges of a relation among which the most telling are sought


class Verbalize(Fusion):
    """A text goes on with its facts, "brand: Ajax; colour: red", the most telling first: a rare value of a relation that most entities have
    (coverage times inverse document frequency, both of the training view). A language model reads them as it reads all else, so a new
    value is understood by its words. (Facts as text: Agarwal et al. 2021, "Knowledge Graph Based Synthetic Corpus Generation".)

    Only facts whose other end has a text are told; where the graph says nothing, the text stays as it is.

    text: the encoder that it stands around; every `text` and `tfidf` in it reads the facts. facts: at most so many an entity.
    tokens: at most so many of them in all; what would not be read for the model's own limit is left out before.
    relations: names of those that are told; none = all of the graph's knowledge.
    """

    def __init__(self, *, text: Encoder, facts: Count = 6, tokens: Count = 32, relations: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.text, self.facts, self.tokens, self.relations = text, facts, tokens, relations
        self.lengths_: dict[tuple[int, str], int] = {}  # tokens of what was told, by who reads it

    reads_knowledge = True

    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        """The facts first: the encoder inside learns its words with them."""
        if not any(isinstance(part, Spoken) for part in self.text.modules()):
            raise KgrecError("encoder 'verbalize': what it stands around reads no texts; put `text` or `tfidf` in it")
        self.settings_ = self.learn(graph, tasks)
        self.assemble(self.settings_)
        with torch.no_grad():
            for number, relation in enumerate(self.relations_):
                self.state_dict(keep_vars=True)[f"degree_{number}"].copy_(torch.from_numpy(_degrees(graph, relation)))
        self.text.prepare(graph, tasks)

    def learn(self, graph: Graph, tasks: Sequence[Task]) -> dict[str, Any]:
        every = [r for r in knowledge(graph, tasks) if "text" in graph.columns(r.target)]
        if absent := set(self.relations) - {r.name for r in every}:
            known = ", ".join(sorted({r.name for r in every})) or "none"
            raise KgrecError(f"encoder 'verbalize': relations = {sorted(absent)} lead to no texts in the graph; those that do: {known}")
        told = [r for r in every if not self.relations or r.name in self.relations]
        covered = [graph.relations[r]["source"].drop_nulls().n_unique() for r in told]
        return {
            "relations": named(told),
            "coverage": [n / max(1, graph.size(r.source)) for n, r in zip(covered, told, strict=True)],
            "sizes": [graph.size(r.target) for r in told],
        }

    def assemble(self, settings: dict[str, Any]) -> None:
        self.relations_ = [Relation(*map(str, names)) for names in settings["relations"]]
        self.coverage_ = np.array([float(share) for share in settings["coverage"]])
        for number, size in enumerate(settings["sizes"]):
            self.register_buffer(f"degree_{number}", torch.zeros(int(size)))
        if not len(self.relations_) == len(self.coverage_) == len(settings["sizes"]):
            raise ValueError("its relations, their coverage and their sizes are not as many")
        for part in self.text.modules():
            if isinstance(part, Spoken):
                part.through = self._told

    def forward(self, nodes: Nodes) -> torch.Tensor:
        return self.text(nodes)

    # --- how --------------------------------------------------------------------------------------------------------
    def _told(self, nodes: Nodes, texts: list[str], reader: Spoken) -> list[str]:
        """The texts with their facts; "" stays "": an entity without a text is no entity of texts."""
        met = facts(nodes, self.relations_, LAST, inverse=False)
        if not len(met.owner):
            return texts
        words = self._words(nodes.graph, met.relation, met.rows)
        order = np.lexsort((np.arange(len(met.owner)), -self._worth(met.relation, met.rows) * met.weight, met.owner))
        indptr = np.searchsorted(met.owner[order], np.arange(len(nodes) + 1))
        some = np.flatnonzero((np.diff(indptr) > 0) & np.array([bool(text) for text in texts], bool))
        room = self._room(reader, [texts[i] for i in some])
        out = list(texts)
        for node, left in zip(some.tolist(), room.tolist(), strict=True):
            kept: list[str] = []
            for place in order[indptr[node] : indptr[node + 1]].tolist():
                fact = words[place]
                if not fact or fact in kept or (length := self._length(reader, fact)) > left:
                    continue
                kept.append(fact)
                left -= length
                if len(kept) == self.facts:
                    break
            if kept:
                out[node] = f"{texts[node]}; {'; '.join(kept)}"
        return out

    def _worth(self, relation: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(m,) how much a fact tells; of a value that came later as of the rarest."""
        worth = np.zeros(len(rows))
        for number in np.unique(relation):
            degree, of = getattr(self, f"degree_{number}").cpu().numpy(), relation == number
            seen = np.where(rows[of] < len(degree), degree[np.minimum(rows[of], max(0, len(degree) - 1))] if len(degree) else 0, 0)
            worth[of] = self.coverage_[number] * np.log((degree.sum() + 2) / (seen + 1))
        return worth

    def _words(self, graph: Graph, relation: np.ndarray, rows: np.ndarray) -> list[str]:
        words = np.full(len(rows), "", object)
        for number in np.unique(relation):
            of, name = np.flatnonzero(relation == number), self.relations_[number]
            called = name.name.rpartition(".")[2].replace("_", " ")
            if "text" in graph.columns(name.target):
                texts = graph.gather(name.target, rows[of], "text")["text"].to_list()
                words[of] = [f"{called}: {text}" if text else "" for text in texts]
        return words.tolist()

    def _room(self, reader: Spoken, texts: list[str]) -> np.ndarray:
        """(n,) tokens that facts may take: two stay for what a model puts around a text."""
        if reader.longest is None or not texts:
            return np.full(len(texts), self.tokens)
        return np.minimum(self.tokens, reader.longest - 2 - reader.tokens(texts))

    def _length(self, reader: Spoken, fact: str) -> int:
        """With what parts it from the others."""
        key = (id(reader), fact)
        if key not in self.lengths_:
            self.lengths_[key] = 1 + int(reader.tokens([fact])[0])
        return self.lengths_[key]


def _degrees(graph: Graph, relation: Relation) -> np.ndarray:
    targets = graph.relations[relation]["target"].drop_nulls().to_numpy()
    return np.bincount(targets, minlength=graph.size(relation.target)).astype(np.float32)
