"""`attention`: around an encoder of texts; an entity looks at its neighbours in the graph, at each through the relation between them.

[encoder]
use = "attention"
hops = 2
[encoder.text]
use = "text"
model = "sentence-transformers/all-MiniLM-L6-v2"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kgrec_core.encoder.facts import Facts, facts, knowledge
from kgrec_core.encoder.fusion import Fusion, named
from kgrec_core.encoder.kept import NEVER, Kept
from kgrec_core.errors import KgrecError, damage
from kgrec_core.graph import Graph, Nodes, Relation, Task
from kgrec_core.interfaces import Encoder
from kgrec_core.recipe.ranges import Size


class Attention(Fusion):
    """text + opening * sum of the neighbours' vectors, weighted by how the text's fits the neighbour's and the relation's (a graph attention
    network, Velickovic et al. 2018, with relations as in KGAT, Wang et al. 2019). The opening starts at zero.

    An edge's weight, a confidence or a cosine, counts in it. Neighbours are read from tables without gradients, refreshed once per weight version.

    text: the encoder that it stands around. entity: whose vectors neighbours have, e.g. `kge`; none: those of their texts.
    relations: names of those that are read; none = all of the graph's knowledge. sample: most neighbours of a node, the rarest: those with the
    fewest edges of their relation. hops: with 2 a neighbour has looked at its own neighbours first, through undated relations.
    """

    def __init__(
        self,
        *,
        text: Encoder,
        entity: Encoder | None = None,
        hops: Literal[1, 2] = 1,
        sample: Size = 16,
        relations: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.text, self.entity, self.hops, self.sample, self.relations = text, entity, hops, sample, relations
        self.kept_ = Kept()

    reads_knowledge = True

    def without_language_model(self) -> Encoder | None:
        text = self.text.without_language_model()
        entity = None if self.entity is None else self.entity.without_language_model()
        if text is None:
            return None
        return self if text is self.text and entity is self.entity else self.around(text=text, entity=entity)

    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        if self.entity is not None:
            self.entity.prepare(graph, tasks)
        super().prepare(graph, tasks)

    def learn(self, graph: Graph, tasks: Sequence[Task]) -> dict[str, Any]:
        every = knowledge(graph, tasks)
        if absent := set(self.relations) - {r.name for r in every}:
            known = ", ".join(sorted({r.name for r in every})) or "none"
            raise KgrecError(f"encoder 'attention': relations = {sorted(absent)} are not in the graph's knowledge, which has {known}")
        read = [r for r in every if not self.relations or r.name in self.relations]
        return {"relations": named(read), "text": self.text.dim, "neighbour": self._told.dim}

    def assemble(self, settings: dict[str, Any]) -> None:
        self.relations_ = [Relation(*map(str, names)) for names in settings["relations"]]
        wide, narrow = int(settings["text"]), int(settings["neighbour"])
        random = torch.Generator().manual_seed(0)

        def matrix(rows: int, columns: int) -> nn.Parameter:
            start = torch.eye(rows) if rows == columns else torch.randn(rows, columns, generator=random) / columns**0.5
            return nn.Parameter(start)

        self.value_, self.query_ = matrix(narrow, wide), matrix(wide, wide)
        self.relation_ = nn.Parameter(torch.randn(2 * len(self.relations_), wide, generator=random) * 0.1)
        self.opening_ = nn.Parameter(torch.zeros(wide))
        self.deeper_ = nn.Parameter(torch.zeros(wide), requires_grad=self.hops == 2)

    def forward(self, nodes: Nodes) -> torch.Tensor:
        text = self.text(nodes)
        met = self._sampled(nodes, self.relations_)
        if not len(met.owner):
            return text
        vectors, place = self._neighbours(nodes.graph, met, self.hops)
        looked = self._attended(text, met, vectors[place])
        return self.as_long(text + self.opening_ * looked, text)

    def refresh(self, graph: Graph, new: Mapping[str, NDArray[np.int64]] | None = None) -> None:
        super().refresh(graph, new)
        if self.entity is not None:
            self.entity.refresh(graph, new)
        kinds = dict.fromkeys(kind for r in self.relations_ if r in graph.relations for kind in (r.source, r.target))
        self.kept_ = self.kept_.refreshed(self._told, graph, kinds, new)

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.kept_.save(folder / "neighbours.safetensors")

    def load(self, folder: Path) -> None:
        super().load(folder)
        with damage(f"{folder} is no saved fusion 'attention' or is damaged"):
            self.kept_ = Kept.load(folder / "neighbours.safetensors", self._told.dim)

    def _apply(self, fn, recurse: bool = True):
        """As of any module: the tables go where the weights go."""
        super()._apply(fn, recurse)
        self.kept_ = self.kept_.moved(fn)
        return self

    # --- how --------------------------------------------------------------------------------------------------------
    @property
    def _told(self) -> Encoder:
        """Whose vectors neighbours have."""
        return self.text if self.entity is None else self.entity

    def _sampled(self, nodes: Nodes, relations: Sequence[Relation]) -> Facts:
        """At most `sample` facts a node, those whose other end has the fewest edges of the relation."""
        met = facts(nodes, relations, 4 * self.sample)
        degree = np.zeros(len(met.owner), np.int64)
        for number in np.unique(met.relation):
            for onward in (True, False):
                of = np.flatnonzero((met.relation == number) & (met.onward == onward))
                degree[of] = nodes.graph.degree(relations[number], met.rows[of], NEVER, inverse=onward) if len(of) else 0
        order = np.lexsort((np.arange(len(degree)), degree, met.owner))
        first = np.searchsorted(met.owner[order], met.owner[order])
        return met.take(order[np.arange(len(order)) - first < self.sample])

    def _neighbours(self, graph: Graph, met: Facts, hops: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(u, dim) vectors of the distinct other ends, and (m,) which of them each fact leads to."""
        kinds = np.array([[r.source, r.target] for r in self.relations_])[met.relation, met.onward.astype(int)]
        place, found, start = np.zeros(len(met.rows), np.int64), [], 0
        for kind in dict.fromkeys(kinds.tolist()):
            of = np.flatnonzero(kinds == kind)
            rows, at = np.unique(met.rows[of], return_inverse=True)
            place[of] = start + at
            start += len(rows)
            found.append(self._vectors(graph, kind, rows, hops))
        return torch.cat(found), torch.from_numpy(place).to(self.opening_.device)

    def _vectors(self, graph: Graph, kind: str, rows: NDArray[np.int64], hops: int) -> torch.Tensor:
        plain = self.kept_.take(self._told, graph, kind, rows).to(self.opening_.device) @ self.value_
        if hops == 1:
            return plain
        undated = [r for r in self.relations_ if r in graph.relations and not graph.dated(r)]
        met = self._sampled(Nodes(graph, kind, rows, "candidate"), undated)
        if not len(met.owner):
            return plain
        met = met._replace(relation=np.array([self.relations_.index(r) for r in undated])[met.relation])
        vectors, place = self._neighbours(graph, met, 1)
        return plain + self.deeper_ * self._attended(plain, met, vectors[place])

    def _attended(self, asking: torch.Tensor, met: Facts, vectors: torch.Tensor) -> torch.Tensor:
        """(n, dim): for each asking vector the mean of its facts' vectors, weighted by a softmax; who has no vector is not looked at."""
        owner, through = (torch.from_numpy(x).to(asking.device) for x in (met.owner, 2 * met.relation + met.onward))
        there = vectors.detach().any(1)
        owner, vectors, through = owner[there], vectors[there], through[there]
        fit = ((asking @ self.query_)[owner] * (vectors + self.relation_[through])).sum(1) / asking.shape[1] ** 0.25
        # An edge of half the confidence gets half the share of an equal one.
        fit = fit + torch.from_numpy(np.log(np.maximum(met.weight, 1e-6))).to(fit)[there]
        top = fit.new_full((len(asking),), -torch.inf).scatter_reduce(0, owner, fit.detach(), "amax")
        weight = (fit - top[owner]).exp()
        total = weight.new_zeros(len(asking)).index_add(0, owner, weight)
        return torch.zeros_like(asking).index_add(0, owner, vectors * (weight / total[owner])[:, None])
