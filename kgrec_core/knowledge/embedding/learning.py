"""Entity and relation vectors learned from triples, beside a linear map from texts, so that an entity that is in no triple has a place too."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kgrec_core.knowledge.embedding.scorers import SCORERS, Name, Scorer
from kgrec_core.knowledge.embedding.triples import Triples

FULL = 4_000  # entities up to which every one is a wrong answer of every triple
NEGATIVES = 1_000  # wrong answers of a batch beyond that
SPARSE = 50_000  # entities from which on an update touches only those in it (their own momenta: lazy Adam)
UPDATES, GROWS = 20_000, 4_000  # most updates in all; of an epoch, before batches grow instead
DECAY = {True: 1e-3, False: 1e-2}  # of scorers by distance, of others: chosen on a tenth of the triples of lastfm's graph


class How(NamedTuple):
    """width: of the vectors. epochs, batch, lr: of Adam; batches grow with the triples, and after UPDATES it ends. decay: N3 regularisation (Lacroix et al. 2018) of what stands in a triple,
    None = DECAY.

    hidden: share of the triples in which an entity stands by its text alone, where it has one: what has no triple is read by it.
    """

    scorer: Name = "complex"
    width: int = 64
    epochs: int = 30
    batch: int = 256
    lr: float = 0.01
    decay: float | None = None
    hidden: float = 0.2
    seed: int = 0


class Embedding(NamedTuple):
    """entities: (size, width) float32. relations: (number, relation width). text: (text width, width) or None: the map of texts."""

    entities: torch.Tensor
    relations: torch.Tensor
    text: torch.Tensor | None
    scorer: Scorer


def learned(
    triples: Triples, how: How, texts: NDArray[np.float32] | None = None, told: Callable[[int, int], None] | None = None
) -> Embedding:
    """Both ends of every triple are asked for: among all entities by a softmax, or where these are many among drawn ones: corrupted
    targets and sources, each counting by how right it looks, which is the self-adversarial weight of Sun et al. 2019. A triple counts as much as it weighs. An entity's vector is
    one of its own plus the map of its text.

    texts: (size, d) float32, zero where there is none. told(done, updates): progress. The same seed gives the same vectors.
    """
    scorer, random = SCORERS[how.scorer], torch.Generator().manual_seed(how.seed)
    own = nn.Parameter(torch.randn(triples.size, how.width, generator=random) * 0.1)
    relations = nn.Parameter(torch.randn(len(triples.relations), scorer.relation_width(how.width), generator=random))
    read = None if texts is None else torch.from_numpy(np.ascontiguousarray(texts, np.float32))
    text = None if read is None else nn.Parameter(torch.randn(read.shape[1], how.width, generator=random) * 0.1 / read.shape[1] ** 0.5)
    parameters = [p for p in (own, relations, text) if p is not None]
    sparse = triples.size >= SPARSE
    optimizers = [torch.optim.Adam(parameters[sparse:], lr=how.lr)] + [torch.optim.SparseAdam([own], lr=how.lr)] * sparse
    decay = DECAY[scorer.by_distance] if how.decay is None else how.decay
    ends = torch.from_numpy(np.stack([triples.source, triples.relation, triples.target]))
    has_text = None if read is None else read.any(1)
    sure = None if triples.weight is None else torch.from_numpy(triples.weight)

    def vectors(rows: torch.Tensor, hide: bool) -> torch.Tensor:
        found = nn.functional.embedding(rows, own, sparse=sparse)
        if read is None:
            return found
        if hide:
            alone = has_text[rows] & (torch.rand(len(rows), generator=random) < how.hidden)
            found = found * ~alone[:, None]
        return found + read[rows] @ text

    every, few = torch.arange(triples.size), triples.size <= FULL
    batch = max(how.batch, len(triples) // GROWS)
    total = min(UPDATES, how.epochs * -(-len(triples) // batch))
    done = 0
    while done < total:
        for at in torch.randperm(len(triples), generator=random).split(batch)[: total - done]:
            source, relation, target = ends[:, at]
            s, r, t = vectors(source, True), relations[relation], vectors(target, True)
            rivals = every if few else torch.randint(triples.size, (NEGATIVES,), generator=random)
            among = vectors(rivals, False)
            loss = decay * sum(x.abs().pow(3).sum() for x in (s, t) + (() if scorer.by_distance else (r,))) / len(at)
            for place, right, vector in ((scorer.onward(s, r), target, t), (scorer.back(t, r), source, s)):
                scores = scorer.scores(place, among)
                if not few:
                    own_score = scorer.matched(place, vector)[:, None]
                    scores = torch.cat([own_score, scores.masked_fill(rivals[None] == right[:, None], float("-inf"))], 1)
                    right = torch.zeros_like(right)
                missed = nn.functional.cross_entropy(scores, right, reduction="none")
                loss = loss + (missed.mean() if sure is None else (missed * sure[at]).sum() / sure[at].sum().clamp(min=1e-6))
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            done += 1
            if told:
                told(done, total)
    with torch.no_grad():
        whole = torch.cat([vectors(rows, False) for rows in every.split(65_536)]) if triples.size else own
    return Embedding(whole.detach(), relations.detach(), None if text is None else text.detach(), scorer)
