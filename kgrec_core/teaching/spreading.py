"""What is said of texts, spread to the texts nearest to them: one that a model is wrong of often stands among many that it is right of.

(Zhou et al. 2003, "Learning with Local and Global Consistency"; Iscen et al. 2019, "Label Propagation for Deep Semi-supervised Learning"; that a
distance counts by how far apart texts are there: Zelnik-Manor & Perona 2004, "Self-tuning Spectral Clustering".)
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.interfaces import Vectors

ROUNDS = 10  # by then nothing moves any more
STEEP = 2.0  # a neighbour of the mean distance counts exp(-2)


def spread(
    shares: NDArray[np.float32], vectors: Vectors, labels: NDArray[np.float32], known: Vectors, neighbours: int, share: float
) -> NDArray[np.float32]:
    """(n, c) of the n texts, each nearer to what is said of its `neighbours` nearest ones. All pairs are compared: n (n + m) d products.

    shares: (n, c) of probability, by a model. vectors: (n, d), any scale. labels, known: (m, c), (m, d) of the texts that have labels, which stay.
    share: how much of the result the neighbours say, 0 to 1.
    """
    n, k = len(shares), min(neighbours + 1, len(shares) + len(labels))
    if k < 2:
        return shares
    near = _weights(vectors, np.concatenate([vectors, known]), k)
    told, said = near[:, n:] @ labels, shares
    for _ in range(ROUNDS):
        said = (1 - share) * shares + share * (near[:, :n] @ said + told)
    return said.astype(np.float32)


def _weights(vectors: Vectors, every: Vectors, k: int) -> sp.csr_matrix:
    """(n, all) rows of sum 1 over the nearest, of which none is the text itself; the n are the first of all."""
    from sklearn.neighbors import NearestNeighbors

    apart, place = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(every).kneighbors(vectors)
    other = place != np.arange(len(vectors))[:, None]
    mean = (apart * other).sum(1, keepdims=True) / other.sum(1, keepdims=True)
    weight = np.exp(-STEEP * apart / np.maximum(mean, 1e-9)) * other
    weight /= weight.sum(1, keepdims=True)
    return sp.csr_matrix((weight.ravel(), place.ravel(), np.arange(0, place.size + 1, k)), shape=(len(vectors), len(every)))
