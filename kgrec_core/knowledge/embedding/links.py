"""Link prediction: how well vectors find the missing end of triples that were held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kgrec_core.knowledge.embedding.learning import Embedding
from kgrec_core.knowledge.embedding.triples import Triples


def ranks(embedding: Embedding, asked: Triples, known: Triples, block: int = 256) -> NDArray[np.float64]:
    """(2, n) place of each asked triple's target, and of its source, among all entities: 1 is best, ties get their mean.

    Filtered (Bordes et al. 2013): other answers that are true, in `known` or in `asked`, are no rivals.
    """
    found, number = np.zeros((2, len(asked))), len(asked.relations)
    sides = ((asked.source, asked.target, known.source, known.target), (asked.target, asked.source, known.target, known.source))
    for side, (mine, right, known_mine, known_right) in enumerate(sides):
        keys = np.concatenate([known_mine * number + known.relation, mine * number + asked.relation])
        others = np.concatenate([known_right, right])
        order = np.argsort(keys, kind="stable")
        keys, others = keys[order], others[order]
        for start in range(0, len(asked), block):
            at = np.arange(start, min(start + block, len(asked)))
            own, relation = embedding.entities[mine[at]], embedding.relations[asked.relation[at]]
            place = embedding.scorer.back(own, relation) if side else embedding.scorer.onward(own, relation)
            scores = embedding.scorer.scores(place, embedding.entities).numpy().astype(np.float64)
            score = scores[np.arange(len(at)), right[at]][:, None]
            for row, key in enumerate(mine[at] * number + asked.relation[at]):
                scores[row, others[slice(*np.searchsorted(keys, [key, key + 1]))]] = -np.inf
            found[side, at] = 1 + (scores > score).sum(1) + (scores == score).sum(1) / 2
    return found


def measures(ranks: NDArray[np.float64]) -> dict[str, float]:
    """MRR and hits@1, 3, 10 over both sides."""
    return {"mrr": float((1 / ranks).mean()), **{f"hits@{k}": float((ranks <= k).mean()) for k in (1, 3, 10)}}


def held_out(triples: Triples, share: float, seed: int) -> tuple[Triples, Triples]:
    """(kept, asked): a random share of the triples is asked for."""
    order = np.random.default_rng(seed).permutation(len(triples))
    cut = len(triples) - round(share * len(triples))
    return triples.take(np.sort(order[:cut])), triples.take(np.sort(order[cut:]))
