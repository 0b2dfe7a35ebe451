"""Several channels as one mixture of probabilities: each says how probable a candidate is, and is believed as far as it has been right."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError, choices, damage
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Task
from kgrec_core.interfaces import Filter, Hits, Retrieval, Vectors
from kgrec_core.recipe.ranges import Amount, Size
from kgrec_core.retrieval.merge import DEPTH, Around
from kgrec_core.retrieval.pool import Columns, explained, top

FOLDS, STEPS = 5, 100
LEAST = 1e-9  # as in `logistic`: a score is log(probability / LEAST)
SHARPER = (0.1, 0.15, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 8.0, 16.0, 32.0)


class Trust(NamedTuple):
    """weight: share of the mixture. sharper: what the channel's logits are multiplied by; 1 for votes and counts."""

    weight: float
    sharper: float = 1.0


@dataclass(kw_only=True, eq=False)
class Mixture(Around):
    """P(candidate) = sum of weight * P by each channel; for tasks with one right answer among few (intents, moods).

    A channel's P is the softmax of its scores where these are logits, else its share of their sum (see `Retrieval.logits`). From the
    `adjust` queries are learned how sharp each softmax is to be, by log loss, and the weights, by expectation maximisation with a Dirichlet prior
    (Jacobs et al. 1991, mixtures of experts): with few queries the weights stay near where they began, and one channel that is
    much better than the others gets nearly all.

    weights: where they begin, 1 for a channel that is not named. prior: so many queries speak for each 1 of it.
    pool: how many candidates each channel gives. A score is log(P / 1e-9).
    """

    channels: Mapping[str, Retrieval]
    weights: Mapping[str, Amount] = field(default_factory=dict)
    prior: Amount = 20.0
    pool: Size = 200

    learns = True
    logits = True
    trust_ = None  # name -> Trust, once something was learned

    @property
    def anchored(self) -> bool:
        """Unless a channel learns from the queries, too."""
        return not any(channel.learns for channel in self.channels.values())

    def search(self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> Hits:
        """See Retrieval; `columns` holds every channel's own score."""
        _, pool, columns = self._found(queries, vectors, max(k, self.pool), allowed, exclude)
        return top(pool, self._mixed(pool, columns, self.trust_ or self._begins()), k, columns)

    def explain(
        self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None
    ) -> tuple[Hits, Mapping[str, NDArray[np.float64]]]:
        """See Retrieval: a score is shared out as its probability is, of which every channel adds a part."""
        _, pool, columns = self._found(queries, vectors, max(k, self.pool), allowed, exclude)
        trust = self.trust_ or self._begins()
        scores, said = self._mixed(pool, columns, trust), dict(self._said(pool, columns, trust))
        total = sum(said.values())
        shares = {name: scores * p / np.where(total > 0, total, 1) for name, p in said.items()}
        return explained(pool, scores, k, columns, shares)

    def fit(self, queries: Queries, vectors: Vectors | None) -> Hits:
        """Fit the channels that learn, then sharpness and weights. Returns (n, min(100, candidates)) out-of-fold hits."""
        k = min(DEPTH, len(self.mask_))
        _, pool, columns = self._fitted(queries, vectors, max(k, self.pool))
        right, scores = pool.among(queries.targets), np.zeros(len(pool.rows), np.float32)
        told = np.bincount(pool.owner, right, len(pool.indptr) - 1) > 0  # queries with a target that some channel found
        self.trust_ = self._learned(pool, columns, right, told)
        fold = np.random.default_rng(0).permutation(len(told)) % FOLDS
        for number in range(FOLDS):
            others = self._learned(pool, columns, right, told & (fold != number))
            inside = fold[pool.owner] == number
            scores[inside] = self._mixed(pool, columns, others)[inside]
        return top(pool, scores, k, columns)

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "mixture.json").write_text(json.dumps(self.trust_))

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        super().load(folder, graph, task)
        with damage(f"{folder}: mixture.json is missing or damaged", "fit again"):
            trust = json.loads((folder / "mixture.json").read_text())
            self.trust_ = None if trust is None else {name: Trust(*map(float, trust[name])) for name in self.channels}
            if self.trust_ and not all(np.isfinite(of).all() and of.weight >= 0 and of.sharper > 0 for of in self.trust_.values()):
                raise ValueError("a weight is no share")

    def _with(self, channels: Mapping[str, Retrieval]) -> Self:
        other = super()._with(channels)
        other.weights = {name: weight for name, weight in self.weights.items() if name in channels}
        return other

    def _begins(self) -> dict[str, Trust]:
        for name in self.weights:
            if name not in self.channels:
                raise choices("channel", name, self.channels, f"retrieval.{self.task_.name}.weights names channels")
        every = {name: float(self.weights.get(name, 1.0)) for name in self.channels}
        total = sum(every.values())
        if not total > 0:
            raise KgrecError(f"retrieval.{self.task_.name}.weights: all are 0, so nothing is mixed; give one of {', '.join(every)} more")
        return {name: Trust(weight / total) for name, weight in every.items()}

    def _learned(self, pool: Ragged, columns: Columns, right: NDArray[np.bool_], told: NDArray[np.bool_]) -> dict[str, Trust]:
        """right: (pairs,) the targets. told: (queries,) which of them count."""
        begin, said, sharper = self._begins(), [], {}
        if not told.any():
            return begin
        for name, channel in self.channels.items():
            tried = []
            for factor in SHARPER if channel.logits else (1.0,):
                p = np.bincount(pool.owner, right * _probabilities(pool, columns[name], channel.logits, factor), len(told))[told]
                tried.append((self.prior * np.log(factor) ** 2 / 4 - np.log(p + 1e-6).sum(), factor, p))
            _, sharper[name], p = min(tried, key=lambda each: each[0])
            said.append(p + LEAST)
        before = self.prior * np.array([self.weights.get(name, 1.0) for name in self.channels])
        weights, said = np.array([trust.weight for trust in begin.values()]), np.column_stack(said)
        for _ in range(STEPS):
            whose = said * weights
            whose /= np.maximum(whose.sum(1, keepdims=True), 1e-300)
            weights = (before + whose.sum(0)) / (before.sum() + len(whose))
        return {name: Trust(float(weight), sharper[name]) for name, weight in zip(self.channels, weights, strict=True)}

    def _mixed(self, pool: Ragged, columns: Columns, trust: Mapping[str, Trust]) -> NDArray[np.float32]:
        """(pairs,) scores. What channels without a word for a query would have said is shared among the others."""
        total = np.zeros(len(pool.rows))
        for _, part in self._said(pool, columns, trust):
            total += part
        return np.log(np.maximum(_shares(pool, total), LEAST) / LEAST).astype(np.float32)

    def _said(self, pool: Ragged, columns: Columns, trust: Mapping[str, Trust]) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Every channel and what it adds to the probability of every pair."""
        for name, channel in self.channels.items():
            yield name, trust[name].weight * _probabilities(pool, columns[name], channel.logits, trust[name].sharper)


def _probabilities(pool: Ragged, scores: NDArray[np.float32], logits: bool, sharper: float) -> NDArray[np.float64]:
    """(pairs,) what a channel's scores say, adding up to 1 in every query of which it says something; NaN = nothing."""
    scores = scores.astype(np.float64)
    if not logits:
        return _shares(pool, np.maximum(np.nan_to_num(scores), 0))
    best = np.full(len(pool.indptr) - 1, -np.inf)
    np.fmax.at(best, pool.owner, scores)
    with np.errstate(invalid="ignore"):
        return _shares(pool, np.nan_to_num(np.exp(sharper * (scores - best[pool.owner]))))


def _shares(pool: Ragged, values: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.bincount(pool.owner, values, len(pool.indptr) - 1)
    return values / np.where(total > 0, total, 1)[pool.owner]
