"""What the four kinds of part are. A part's keyword-only, annotated constructor parameters are its recipe keys."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kgrec_core.graph import Dataset, Graph, Nodes, Queries, Ragged, Task
from kgrec_core.hits import Filter, Hits, Vectors
from kgrec_core.learned_once import learn_once, settings

Encode = Callable[[Nodes], Vectors]


@runtime_checkable
class Data(Protocol):
    """Loads a Dataset.

    Two more methods are optional. `follow(offset) -> Iterator[(Graph, offset)]` gives live deltas with the next offset.
    `labelled(relation: str, file: Path) -> pl.DataFrame` reads the rows of a file that has the columns of the relation's own
    events, as ids: `source`, `target` (String, null = none) and, where the relation is dated, `time` (Int64 microseconds UTC);
    with a column `text`, sources that a run does not know are asked by it.
    """

    def load(self) -> Dataset: ...


class Encoder(nn.Module):
    """Turns nodes into vectors, with gradients.

    An encoder of items encodes a node by what it is; one with encoders in it is a fusion; `history` around either reads what a query met.
    dim: width of the vectors, known once constructed or prepared. language_model: whether it is one itself.
    """

    dim: int
    language_model: ClassVar[bool] = False

    @property
    def pretrained(self) -> bool:
        """Whether its own weights came pretrained and learn at `train.lr`; others learn at `train.head_lr`. Encoders in it say so themselves."""
        return self.language_model

    @property
    def reads_knowledge(self) -> bool:
        """Whether it reads relations beyond the tasks' own and their histories; the comparison without knowledge then fine-tunes it again.

        What a class does not say, the encoders in it say; so with `reads_edges`.
        """
        return any(part.reads_knowledge for part in self.modules() if part is not self and isinstance(part, Encoder))

    @property
    def reads_edges(self) -> bool:
        """Whether a candidate's vector depends on its edges, of whatever relation."""
        return self.reads_knowledge or any(p.reads_edges for p in self.modules() if p is not self and isinstance(p, Encoder))

    def without_language_model(self) -> Encoder | None:
        """What is left of it, unprepared as it is, without any language model: itself or nothing; fusions give themselves with the rest."""
        return None if any(part.language_model for part in self.modules() if isinstance(part, Encoder)) else self

    @property
    def blocks(self) -> tuple[tuple[int, float], ...]:
        """(width, length) of the parts that a vector has, end to end: whoever pools vectors pools each part to its own length."""
        return ((self.dim, 1.0),)

    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        """Learn vocabularies and tables from the training view only. Called once, before training."""

    def forward(self, nodes: Nodes) -> torch.Tensor:
        """(n, dim) float vectors with gradients. Always called through `__call__`: DDP synchronises only then."""
        raise NotImplementedError

    def refresh(self, graph: Graph, new: Mapping[str, NDArray[np.int64]] | None = None) -> None:
        """Recompute gradient-free tables for the current weights and graph: once per weight version, and after a join.

        new: rows by kind that came or changed since, under the same weights: only these are looked at ({}, of another view of the
        graph or of a run that was opened: none). None = anything may have changed.
        """

    def save(self, folder: Path) -> None:
        """Write everything `load` needs; no pickle."""
        raise NotImplementedError

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote; raises KgrecError on a damaged folder."""
        raise NotImplementedError


class Batch(NamedTuple):
    """One task's training batch over n queries and m candidate vectors; made by the core.

    positive: (n,) int64, the column of each query's target.
    mask: (n, m) bool, columns that are no negatives for that query (known or equal candidates); False at `positive`.
    logq: (m,) float32, log probability that a candidate gets into a batch, estimated from train targets.
    weight: (n,) float32.
    """

    positive: torch.Tensor
    mask: torch.Tensor
    logq: torch.Tensor
    weight: torch.Tensor


class Head(nn.Module):
    """Turns encoder vectors into what is scored: a score is always the dot product of two projections.

    encodes_candidates: False for heads that own their candidates' vectors (classify): `project` then gets x = None, and an optional
        `start(vectors: (size, dim))` is told what the encoder makes of the candidates, zero rows where it knows nothing.
    metric: what early stopping and selection watch, e.g. "ndcg@10".
    """

    encodes_candidates: ClassVar[bool] = True
    metric: ClassVar[str] = "ndcg@10"

    def prepare(self, graph: Graph, task: Task, dim: int) -> None:
        """Size the parameters; called once, before training."""

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        """(n, d): what the index stores and a query is compared by."""
        raise NotImplementedError

    def logits(self, q: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """(n, m) scores on the scale whose softmax the loss is of."""
        return q @ c.T

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Scalar. A pure function of tensors, without parameters: gradient caching and gathering equal one big batch."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    def load(self, folder: Path) -> None:
        raise NotImplementedError


class Retrieval:
    """A channel that finds candidates, or a re-ranker around channels. Rows are always rows of the task's target kind.

    reads: what of a query it looks at: the encoder's "vectors"; only its "history", what the graph says of it (edges, text); or
        "nothing", so that all queries of one moment are answered alike. What reads no vectors is given None and is not asked again
        when the encoder has changed.
    logits: whether scores are logarithms of probabilities, up to a constant of the query: their softmax says how probable each candidate
        is. Of other scores that is their share of the sum.
    scales: a sentence on what it costs at a million candidates. says: a few words on why it finds a candidate, "" for nothing.
    evidence: what of the world speaks when it does: "behaviour", "text", "graph",
    "examples" (known queries), "habit" or "popularity"; "" = it is not told. learns: whether `fit` learns something. anchored: what it
        learns stays near where it began while queries are few; the referee drops it for what is better by two standard errors only.
    newcomers: whether `extended` finds candidates that came after `build`; others find them when they are built again.

    relation_weights_: how much each relation of the graph counts, by name and 1 in the mean, where it speaks by all of them together;
        empty = alike.
    placed: attributes that `learn` finds set, and does not set itself. settled: arrays, None by class, that it chooses once and finds set
        when it is built again: whoever has learned how far to believe the scores is not told of another choice. key_, holds_: by what the
        graph's memo knows this build, where it does; for who keeps there what follows from it.

    A subclass gives `learn`, `search`, `save` and `load`, and keeps what it learned in attributes that end in an underscore.
    """

    reads: Literal["vectors", "history", "nothing"] = "vectors"
    logits: ClassVar[bool] = False
    scales: str = ""
    says: str = ""
    evidence: str = ""
    learns: bool = False
    anchored: bool = False
    newcomers: bool = False
    language_model: ClassVar[bool] = False
    relation_weights_: Mapping[str, float] = {}
    placed: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    key_: tuple[Hashable, ...] | None = None
    holds_: tuple[object, ...] = ()

    def build(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        """Index the candidates on this graph; keeps what `fit` learned. `encode(nodes) -> (n, d)` is memoised.

        What reads no vectors learns once from the same tables, whatever the encoder: the graph keeps what was learned.
        """
        how = settings(self)
        if self.reads == "vectors" or self.learns or how is None:
            self.key_, self.holds_ = None, ()
            self.learn(graph, task, candidates, encode)
        else:
            learn_once(self, how, graph, task, candidates, encode)

    def learn(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        """What `build` has to find out: set attributes that end in an underscore, keep neither queries nor `encode`."""

    def holds(self, graph: Graph, task: Task) -> tuple[object, ...]:
        """What `learn` reads, as objects: the same ones with the same settings give the same. All of the graph, or single tables."""
        return (graph,)

    def fit(self, queries: Queries, vectors: Vectors | None) -> Hits:
        """Where it `learns`: learn from the `adjust` queries, replacing an earlier fit; gives out-of-fold hits of them."""
        raise NotImplementedError

    def search(self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> Hits:
        """The best k for every query.

        vectors: (n, d) of the queries; None only for parts that do not read them. exclude: rows never returned, per query.
        `faiss`, `exact` and re-rankers with such a channel return exactly min(k, allowed and not excluded); other channels may
        return fewer (-1, -inf).
        """
        raise NotImplementedError

    def score(self, queries: Nodes, vectors: Vectors | None, pairs: Ragged) -> NDArray[np.float32]:
        """(len(pairs.rows),) what `search` thinks of these candidates, a list per query; NaN or 0 where it would not find one.

        Here by a search among the candidates asked for; a subclass that can, computes the pairs alone.
        """
        out = np.full(len(pairs.rows), np.nan, np.float32)
        for start in range(0, len(queries), 64):
            part = np.arange(start, min(start + 64, len(queries)))
            block, at = pairs.take(part), slice(pairs.indptr[start], pairs.indptr[part[-1] + 1])
            rows, place = np.unique(block.rows, return_inverse=True)
            allowed = np.zeros(rows.max(initial=-1) + 1, bool)
            allowed[rows] = True
            hits = self.search(queries.take(part), None if vectors is None else vectors[part], max(1, len(rows)), Filter(allowed))
            owner, column = np.nonzero(hits.rows >= 0)
            scores = np.full((len(part), len(rows)), np.nan, np.float32)
            scores[owner, np.searchsorted(rows, hits.rows[owner, column])] = hits.scores[owner, column]
            out[at] = scores[block.owner, place]
        return out

    def explain(
        self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None
    ) -> tuple[Hits, Mapping[str, NDArray[np.float64]]]:
        """What `search` finds, and what every score is the sum of: name -> (n, k), e.g. a channel's part. Here the score is one piece."""
        hits = self.search(queries, vectors, k, allowed, exclude)
        return hits, {"score": hits.scores.astype(np.float64)}

    def again(
        self, queries: Nodes, vectors: Vectors | None, pairs: Ragged, allowed: Filter | None = None, exclude: Ragged | None = None
    ) -> NDArray[np.float32]:
        """(len(pairs.rows),) the scores that `search` gives these candidates among all others; NaN where it finds them no longer."""
        hits, out = self.search(queries, vectors, 100, allowed, exclude), np.full(len(pairs.rows), np.nan, np.float32)
        where, place = np.nonzero(hits.rows[pairs.owner] == pairs.rows[:, None])
        out[where] = hits.scores[pairs.owner[where], place]
        return out

    def without_language_model(self, vectors: bool) -> Retrieval | None:
        """What is left of it, unbuilt as it is, without any language model: itself or nothing. vectors: whether there still are any."""
        return None if self.language_model or (self.reads == "vectors" and not vectors) else self

    def ask(self, queries: Nodes, vectors: Vectors | None) -> Asked:
        """The queries put to this part, for who searches and then scores pairs: nothing is computed twice."""
        return Asked(self, queries, vectors)

    def inside(self) -> Iterator[Retrieval]:
        """This part and, of a re-ranker, all that is below it: `next(p for p in part.inside() if isinstance(p, Layered))`.

        What is below it are the retrievals that it was constructed with, alone or in a mapping.
        """
        yield self
        for name, value in vars(self).items():
            below = value.values() if isinstance(value, Mapping) else (value,)
            for part in below if name[0] != "_" and name[-1] != "_" else ():
                if isinstance(part, Retrieval):
                    yield from part.inside()

    @property
    def relation_weights(self) -> Mapping[str, float]:
        """How much each relation of the graph counts, by what it or a part in it has learned (`relation_weights_`)."""
        return next((part.relation_weights_ for part in self.inside() if part.relation_weights_), {})

    def extended(self, graph: Graph, new: Nodes, encode: Encode) -> Self:
        """A copy that also finds the candidates `new`, which came after `build`, at a cost that depends on them only.

        The original goes on unchanged, so that readers are never disturbed. What cannot know newcomers gives itself.
        """
        return self

    def save(self, folder: Path) -> None:
        """Write what `build` and `fit` learned, without pickle."""
        raise NotImplementedError

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        """Restore what `save` wrote, for this graph; replaces `build`. Raises KgrecError on a damaged folder."""
        raise NotImplementedError


class Asked:
    """Queries put to a retrieval. Lives as long as a block of queries does, and may hold what belongs to these alone."""

    def __init__(self, part: Retrieval, queries: Nodes, vectors: Vectors | None) -> None:
        self.part, self.queries, self.vectors = part, queries, vectors

    def search(self, k: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> Hits:
        return self.part.search(self.queries, self.vectors, k, allowed, exclude)

    def score(self, pairs: Ragged) -> NDArray[np.float32]:
        return self.part.score(self.queries, self.vectors, pairs)
