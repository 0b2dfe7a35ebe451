"""`kge`: where an entity stands in the graph of knowledge, as learned from its triples; reads no text of its own.

[encoder.entity]
use = "kge"
scorer = "complex"
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from kgrec_core.encoder.facts import Facts, behaviours, facts, knowledge
from kgrec_core.errors import KgrecError, damage
from kgrec_core.graph import Graph, Nodes, Relation, Task
from kgrec_core.interfaces import Encoder
from kgrec_core.knowledge.embedding.learning import How, learned
from kgrec_core.knowledge.embedding.scorers import SCORERS, Name
from kgrec_core.knowledge.embedding.triples import triples
from kgrec_core.recipe.ranges import Count, Size
from kgrec_core.stored import document, numbers

log = logging.getLogger("kgrec")
MOST = 32  # edges of a relation that place a newcomer
BLOCK = 1024  # texts of a pass


class Kge(Encoder):
    """Vectors of length one from entity embeddings of the training view's graph, learned before fine-tuning and kept as they are.

    An entity that was in no triple then is placed by its text, where `text` is there, and by its neighbours: each says where its
    scorer would look for it. Of one without either the vector is zero.

    scorer: how plausible a triple is, see kgrec_core.knowledge.embedding.scorers. width: of the vectors. epochs: passes over the triples. seed: of what is drawn.
    behaviours: the tasks' own edges are triples, too (a collaborative graph). They were learned from, so training sees them nearer
        than they are: for an encoder that is not trained on top of it.
    text: an encoder that gives entities a second, learned place by their texts. relations: names of those that are learned from; none = all.
    """

    def __init__(
        self,
        *,
        scorer: Name = "complex",
        width: Size = 64,
        epochs: Count = 20,
        behaviours: bool = False,
        text: Encoder | None = None,
        relations: tuple[str, ...] = (),
        seed: Count = 0,
    ) -> None:
        super().__init__()
        self.scorer, self.dim, self.epochs, self.behaviours, self.text = scorer, width, epochs, behaviours, text
        self.relations, self.seed = relations, seed
        self.starts_: dict[str, tuple[int, int]] = {}  # kind -> its first number, and how many there were
        self.relations_: list[Relation] = []

    reads_knowledge = True

    def without_language_model(self) -> Encoder | None:
        rest = None if self.text is None else self.text.without_language_model()
        if rest is self.text:
            return self
        return Kge(
            scorer=self.scorer, width=self.dim, epochs=self.epochs, behaviours=self.behaviours, text=rest, relations=self.relations, seed=self.seed
        )  # fmt: skip

    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        if self.dim < 2 or self.dim % 2:
            raise KgrecError(f"encoder 'kge': width = {self.dim} must be even and 2 or more, since complex numbers have two halves")
        every = knowledge(graph, tasks)
        if absent := set(self.relations) - {r.name for r in every}:
            known = ", ".join(sorted({r.name for r in every})) or "none"
            raise KgrecError(f"encoder 'kge': relations = {sorted(absent)} are not in the graph's knowledge, which has {known}")
        chosen = [r for r in every if not self.relations or r.name in self.relations]
        found = triples(graph, [*chosen, *(behaviours(tasks) if self.behaviours else ())])
        how = How(self.scorer, self.dim, self.epochs, seed=self.seed)
        embedding = learned(found, how, self._texts(graph, tasks, found.starts), _told)
        seen = torch.from_numpy(found.seen)[:, None]
        vectors = torch.nn.functional.normalize(embedding.entities, dim=1) * seen
        length = float(embedding.entities[seen[:, 0]].norm(dim=1).mean()) if seen.any() else 1.0
        starts = {kind: (start, graph.size(kind)) for kind, start in found.starts.items()}
        self._assemble(vectors, embedding.relations, embedding.text, length, starts, list(found.relations))

    def forward(self, nodes: Nodes) -> torch.Tensor:
        start, size = self.starts_.get(nodes.kind, (0, 0))
        rows = torch.from_numpy(nodes.rows).to(self.vectors_.device)
        vectors = self.vectors_.new_zeros(len(nodes), self.dim)
        inside = (rows >= 0) & (rows < size)
        vectors[inside] = self.vectors_[start + rows[inside]]
        strange = np.flatnonzero(~vectors.any(1).cpu().numpy())
        if len(strange) and self.starts_:
            vectors[torch.from_numpy(strange).to(vectors.device)] = self._placed(nodes.take(strange))
        return vectors

    def refresh(self, graph: Graph, new: Mapping[str, NDArray[np.int64]] | None = None) -> None:
        if self.text is not None:
            self.text.refresh(graph, new)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self.text is not None:
            self.text.save(folder / "text")
        state = {"vectors": self.vectors_, "relations": self.relation_vectors_} | ({} if self.map_ is None else {"map": self.map_})
        save_file({name: value.cpu().contiguous() for name, value in state.items()}, folder / "kge.safetensors")
        kept = {"starts": self.starts_, "relations": [list(r) for r in self.relations_], "length": self.length_}
        (folder / "kge.json").write_text(json.dumps(kept))

    def load(self, folder: Path) -> None:
        if self.text is not None:
            self.text.load(folder / "text")
        with damage(f"{folder} is no saved kge encoder or is damaged"):
            kept, state = document(folder / "kge.json"), load_file(folder / "kge.safetensors")
            starts = {str(kind): (int(start), int(size)) for kind, (start, size) in kept["starts"].items()}
            relations, end = [Relation(*map(str, r)) for r in kept["relations"]], max((a + n for a, n in starts.values()), default=0)
            numbers(state["vectors"].numpy(), (end, self.dim))
            numbers(state["relations"].numpy(), (len(relations), SCORERS[self.scorer].relation_width(self.dim)))
            if min((x for pair in starts.values() for x in pair), default=0) < 0:
                raise ValueError("its kinds begin before the first row")
            if (found := state.get("map")) is not None:
                numbers(found.numpy(), (None if self.text is None else self.text.dim, self.dim))
            self._assemble(state["vectors"], state["relations"], found, float(kept["length"]), starts, relations)
        self.eval()

    # --- how --------------------------------------------------------------------------------------------------------
    def _assemble(
        self,
        vectors: torch.Tensor,
        relation_vectors: torch.Tensor,
        text: torch.Tensor | None,
        length: float,
        starts: dict[str, tuple[int, int]],
        relations: list[Relation],
    ) -> None:
        """Neither learns in fine-tuning, nor belongs into its checkpoints: the same seed gives it again."""
        for name, value in (("vectors_", vectors), ("relation_vectors_", relation_vectors), ("map_", text)):
            self.register_buffer(name, value, persistent=False)
        self.length_, self.starts_, self.relations_ = length, starts, relations

    def _texts(self, graph: Graph, tasks: Sequence[Task], starts: Mapping[str, int]) -> NDArray[np.float32] | None:
        """(size, d) of every entity, zero where it has no text."""
        if self.text is None:
            return None
        self.text.prepare(graph, tasks)
        self.text.refresh(graph)
        self.text.eval().requires_grad_(False)
        blocks = [np.zeros((0, self.text.dim), np.float32)]
        with torch.no_grad():
            for kind in starts:
                every = Nodes(graph, kind, np.arange(graph.size(kind)), "candidate")
                blocks += [self.text(block).cpu().numpy() for block in every.blocks(BLOCK)]
        return np.concatenate(blocks)

    @torch.no_grad()
    def _placed(self, nodes: Nodes) -> torch.Tensor:
        """(n, dim) of nodes that were in no triple: the mean of what their text and their neighbours say, zero where that is nothing."""
        total = self.vectors_.new_zeros(len(nodes), self.dim)
        if self.map_ is not None and self.text is not None:
            total += torch.nn.functional.normalize(self.text(nodes).to(total.device) @ self.map_, dim=1)
        met = facts(nodes, self.relations_, MOST)
        other = self._others(met)
        known = np.flatnonzero((other >= 0) & (met.rows >= 0))
        if len(known):
            owner, relation, onward = (torch.from_numpy(c[known]).to(total.device) for c in (met.owner, met.relation, met.onward))
            neighbour = self.vectors_[torch.from_numpy(other[known]).to(total.device)] * self.length_
            through, how = self.relation_vectors_[relation], SCORERS[self.scorer]
            place = torch.where(onward[:, None], how.back(neighbour, through), how.onward(neighbour, through))
            total.index_add_(0, owner, torch.nn.functional.normalize(place, dim=1) * neighbour.any(1, keepdim=True))
        return torch.nn.functional.normalize(total, dim=1)

    def _others(self, met: Facts) -> NDArray[np.int64]:
        """(m,) number of each fact's other end, -1 for who came later."""
        kinds = [[r.source, r.target] for r in self.relations_]
        starts, sizes = (np.array([[self.starts_[k][i] for k in pair] for pair in kinds]).reshape(-1, 2) for i in (0, 1))
        end = met.onward.astype(np.int64)
        return np.where(met.rows < sizes[met.relation, end], starts[met.relation, end] + met.rows, -1)


def _told(done: int, total: int) -> None:
    if done == total or done % 500 == 0:
        log.info("entity embeddings: %d of %d updates", done, total)
