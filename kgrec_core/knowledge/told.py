"""Whether texts tell what is held out, in whatever words they say it.

A text of a query that was written from its known past tells what it met and, of what comes next, no more than that past does. One written from the
whole sequence tells the held-out target as it tells the known ones. How much a text tells of a target is the chance that it is nearer to it
than to the target of another query (AUC). Nearness is read in two ways or three, and the one counts that tells best what is known: by
words in common (cosine of TF-IDF); by a map that is learned from texts to what they are known to have met, of other queries (kernel ridge
into latent semantic analysis: Saunders et al. 1998; Deerwester et al. 1990), which with some hundred texts understands synonyms,
summaries and other languages; and by vectors of a language model, where there is one.

A text of a candidate may be like that of the next one by what both are; so there the held-out target is compared with its own nearest neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.words import bigrams

LATENT, RIDGE, FOLDS, DECAY = 64, 1.0, 5, 0.7
NEAR, FAR, TASTE = 10, 30, 0.55  # neighbours; candidates for one of them; how near a next one may be by what somebody likes
Floats = NDArray[np.float64]
Encode = Callable[[Sequence[str]], Floats]


class Told(NamedTuple):
    """How much texts tell, as AUC: of the held-out target, of one that is known, and of the held-out one by the known past (`usual`).
    sure: by how many standard errors the first is above the last; n: of texts."""

    held: float
    known: float
    usual: float
    sure: float
    n: int

    @property
    def share(self) -> float:
        """Where between what the past tells and what is told of the known the held-out lies: about 0 when it was not there, 1 when it was."""
        return (self.held - self.usual) / max(self.known - self.usual, 1e-9)


def by_queries(
    texts: Sequence[str],
    met: Sequence[NDArray[np.int64]],
    held: NDArray[np.int64],
    candidates: Sequence[str],
    encode: Encode | None = None,
) -> Told:
    """Of texts of queries. met: rows of `candidates` that each is known to have met, oldest first, at least one; held: one that it is not.
    encode: texts -> (n, d) unit vectors."""
    words = _tfidf(candidates)
    last = np.array([rows[-1] for rows in met])
    recent = np.concatenate([DECAY ** np.arange(len(rows))[::-1] for rows in met])
    past = sp.csr_matrix((recent, np.concatenate(met), np.cumsum([0, *map(len, met)])), shape=(len(met), len(candidates)))
    latent = _latent(words)
    known = np.stack([latent[rows].mean(0) for rows in met])
    apart = {id(rows): _apart(rows, met, held) for rows in (held, last)}
    own, profile, lexical = _tfidf(texts), _unit((past @ words).tocsr()), _tfidf(texts, candidates)
    guessed, usual = (_learned(of, known) for of in (own, profile))
    nearness = [lambda rows: _dense(lexical @ words[rows].T), lambda rows: guessed @ latent[rows].T]
    by_past = [lambda rows: _dense(profile @ words[rows].T), lambda rows: usual @ latent[rows].T]
    if encode is not None:
        vectors, shown = encode(texts), encode(candidates)
        nearness.append(lambda rows: vectors @ shown[rows].T)
        by_past.append(lambda rows: (past @ shown) @ shown[rows].T)
    told, of_known = max(
        ([_auc(near(rows), apart[id(rows)]) for rows in (held, last)] for near in nearness), key=lambda pair: pair[1].mean()
    )
    floor = max((_auc(near(held), apart[id(held)]) for near in by_past), key=np.mean)
    return Told(float(told.mean()), float(of_known.mean()), float(floor.mean()), _sure(told - floor), len(texts))


def by_candidates(
    last: NDArray[np.int64], held: NDArray[np.int64], candidates: Sequence[str], encode: Encode | None = None
) -> tuple[float, float]:
    """Of texts of candidates: the chance that that of the last one met is nearer to the held-out one than to one that is much like it, a
    half where they know nothing of each other; and by how many standard errors it is above what taste may do. By words in common, or by vectors.

    Who is much like it are few where there are few: of sixty things the tenth nearest is of another kind."""
    shown = _tfidf(candidates) if encode is None else sp.csr_matrix(encode(candidates))
    near, score = (_dense(shown[rows] @ shown[held].T) for rows in (held, last))
    same = (held[:, None] == held) | (near > 0.999) | (last[:, None] == held)
    near[same] = -1
    nearest = np.argsort(-near, 1, kind="stable")[:, : min(NEAR, 1 + len(np.unique(held)) // FAR)]
    own, other = np.diag(score)[:, None], np.take_along_axis(score, nearest, 1)
    usable = np.take_along_axis(~same, nearest, 1)
    value = ((own > other) + 0.5 * (own == other)) * usable
    each = (value.sum(1) / np.maximum(1, usable.sum(1)))[usable.any(1)]
    return float(each.mean()) if len(each) else 0.5, _sure(each - TASTE)


def _learned(own: sp.csr_matrix, known: Floats) -> Floats:
    """(n, d) what each text is expected to have met, by a map that was learned from the others."""
    kernel, fold, found = _dense(own @ own.T), np.arange(len(known)) % FOLDS, np.zeros_like(known)
    for number in range(FOLDS):
        rest, here = fold != number, fold == number
        mean = known[rest].mean(0)
        weights = np.linalg.solve(kernel[np.ix_(rest, rest)] + RIDGE * np.eye(rest.sum()), known[rest] - mean)
        found[here] = kernel[np.ix_(here, rest)] @ weights
    return found


def _latent(words: sp.csr_matrix) -> Floats:
    """(m, d) directions of the candidates' texts, without what all have in common."""
    from sklearn.decomposition import TruncatedSVD

    width = min(LATENT, min(words.shape) - 1)
    if width < 1:
        return np.zeros((words.shape[0], 1))
    with np.errstate(divide="ignore", invalid="ignore"):  # where all texts are the same
        found = TruncatedSVD(width, random_state=0).fit_transform(words)
    found /= np.linalg.norm(found, axis=1, keepdims=True) + 1e-9
    return found - found.mean(0)


def _tfidf(texts: Sequence[str], like: Sequence[str] | None = None) -> sp.csr_matrix:
    """(n, words) rows of length 1. like: texts whose words count; a word weighs what it does where it is the more common."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not any(map(bigrams, texts if like is None else like)):
        return sp.csr_matrix((len(texts), 1))
    if like is None:
        return TfidfVectorizer(analyzer=bigrams, sublinear_tf=True).fit_transform(texts)
    counter = TfidfVectorizer(analyzer=bigrams, sublinear_tf=True).fit(like)
    own = TfidfVectorizer(analyzer=bigrams, sublinear_tf=True, vocabulary=counter.vocabulary_).fit(texts)
    own.idf_ = np.minimum(own.idf_, counter.idf_)
    return own.transform(texts)


def _apart(rows: NDArray[np.int64], met: Sequence[NDArray[np.int64]], held: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n, n) whether another's target is one to compare with: neither the same nor anything that the query has."""
    found = rows[:, None] != rows
    for place, own in enumerate(met):
        found[place] &= ~np.isin(rows, [*own, held[place]])
    return found


def _auc(score: Floats, apart: NDArray[np.bool_]) -> Floats:
    """(n,) chance that the own target, on the diagonal, scores above another's."""
    own = np.diag(score)[:, None]
    return (((score < own) + 0.5 * (score == own)) * apart).sum(1) / np.maximum(1, apart.sum(1))


def _sure(gains: Floats) -> float:
    return float(gains.mean() / (gains.std() / np.sqrt(len(gains)) + 1e-9)) if len(gains) else 0.0


def _unit(rows: sp.csr_matrix) -> sp.csr_matrix:
    from sklearn.preprocessing import normalize

    return normalize(rows)


def _dense(rows: sp.csr_matrix) -> Floats:
    return np.asarray(rows.todense())
