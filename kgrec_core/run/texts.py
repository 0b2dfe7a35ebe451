"""What a run says of a text, to the bit the same whatever texts come with it: how probable each label is, and which known sources are near.

Texts go through the encoder in passes of one shape (`fixed_shape`), and each alone through what follows: which texts share a batch
would change sums of floating point numbers in their last digits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.calibration import confidence
from kgrec_core.calibration.calibration import Calibration
from kgrec_core.encoder.tower import fixed_shape
from kgrec_core.graph import Graph, Nodes, Task, candidates
from kgrec_core.interfaces import Retrieval
from kgrec_core.model import Model
from kgrec_core.retrieval.delta import Layered
from kgrec_core.retrieval.neighbours import Neighbours
from kgrec_core.run import seen

TOGETHER = 4  # texts in a pass: nearly as fast as many, and little is wasted on one
LEAST = 1e-6  # no label is ruled out, none is certain


class Probabilities(NamedTuple):
    """log: (n, labels) log-probabilities; labels: their ids. calibrated: whether the first one's is its chance to be right."""

    labels: list[str]
    log: NDArray[np.float64]
    calibrated: bool


class Near(NamedTuple):
    """A known source; targets: the ids that it leads to; similarity: cosine of the encoder's vectors, from -1 to 1."""

    id: str
    text: str | None
    targets: list[str]
    similarity: float


class Past(NamedTuple):
    """shares: target -> its share among the nearest sources, most frequent first; sources: the nearest of these. Both may be empty."""

    shares: dict[str, float]
    sources: list[Near]


def probabilities(
    graph: Graph, model: Model, retrieval: Retrieval, calibration: Calibration | None, task: Task, queries: Nodes
) -> Probabilities:
    """The first answer of the retrieval has its calibrated probability of being right; the others share the rest as its own probabilities
    do, or where it merges the head's scores with others, as the softmax of these. Without a calibration all are these."""
    kind, row_of = task.relation.target, candidates(graph, task).rows
    labels: list[str] = graph.gather(kind, row_of, "id")["id"].to_list()
    found = np.empty((len(queries), len(labels)))
    if not len(queries):
        return Probabilities(labels, found, calibration is not None)
    head = model.heads[task.name]
    with fixed_shape(TOGETHER):
        classes = model.vectors(task, Nodes(graph, kind, row_of, "candidate"))
        every = model.vectors(task, queries)
    # Of a retrieval that never asks the head, the head may have learned nothing.
    own = not head.encodes_candidates and (retrieval.logits or not any(isinstance(part, Layered) for part in retrieval.inside()))
    scale = getattr(head, "temperature", 1.0) if head.encodes_candidates else 1.0
    for place in range(len(queries)):
        vector, nodes = every[place : place + 1].copy(), queries.take([place])
        hits = retrieval.search(nodes, vector, max(confidence.DEPTH, len(labels)))
        seen.told(graph, model.tasks, task, nodes, vector, hits)
        logits = (classes @ vector[0]).astype(np.float64) / scale
        if own:
            dense = np.full(graph.size(kind), -np.inf)
            dense[hits.rows[hits.rows >= 0]] = hits.scores[hits.rows >= 0]
            if not retrieval.logits:
                dense = np.log(np.maximum(dense, LEAST))
            logits = dense[row_of] if np.isfinite(dense[row_of]).any() else np.zeros(len(row_of))
        p = np.exp(logits - logits.max())
        p /= p.sum()
        if calibration is not None:
            first = row_of == hits.rows[0, 0]
            sure = np.clip(calibration.probability(confidence.features(hits))[0], LEAST, 1 - LEAST)
            p = np.where(first, sure, np.maximum(p, LEAST) * (1 - sure) / np.maximum(p, LEAST)[~first].sum())
        found[place] = np.log(np.maximum(p, LEAST))
    return Probabilities(labels, found - np.logaddexp.reduce(found, axis=1, keepdims=True), calibration is not None)


def past(graph: Graph, model: Model, retrieval: Retrieval, task: Task, queries: Nodes, k: int) -> list[Past]:
    """For each query what the sources that a channel `neighbours` follows lead to, and the k nearest of them; never the query itself."""
    channel = next((part for part in retrieval.inside() if isinstance(part, Neighbours) and part.by == "vectors"), None)
    if channel is None or not len(channel.sources_) or not len(queries):
        return [Past({}, []) for _ in range(len(queries))]
    with fixed_shape(TOGETHER):
        vectors = model.vectors(task, queries)
    # The vectors of a head with weights of its own end with a 1 for the bias: without it the cosine is that of the encoder's.
    width = vectors.shape[1] - (not model.heads[task.name].encodes_candidates)
    ids = graph.entities[task.relation.target]["id"]
    found = []
    for row, vector in zip(queries.rows, vectors, strict=True):
        near = channel.index_ @ (vector / max(float(np.linalg.norm(vector)), 1e-12))
        order = np.argsort(-near, kind="stable")[: max(channel.neighbours, k) + 1]
        order = order[channel.sources_[order] != row]
        votes = np.asarray(channel.followed_[order[: channel.neighbours]].sum(0)).ravel()
        shares = {ids[int(i)]: float(votes[i] / votes.sum()) for i in np.argsort(-votes, kind="stable") if votes[i] > 0}
        shown = order[:k]
        own, theirs = vector[:width], channel.index_[shown, :width]
        alike = theirs @ own / np.maximum(np.linalg.norm(theirs, axis=1) * np.linalg.norm(own), 1e-12)
        targets = [[ids[int(i)] for i in channel.followed_[place].indices] for place in shown]
        table = graph.gather(task.relation.source, channel.sources_[shown]).to_dicts()
        sources = [Near(of["id"], of.get("text"), to, float(a)) for of, to, a in zip(table, targets, alike, strict=True)]
        found.append(Past(shares, sources))
    return found
