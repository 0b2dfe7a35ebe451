"""Learning to rank by boosted trees, from rows of named columns: what LightGBM is asked to do, and the mean of what it learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Ragged
from kgrec_core.retrieval.pool import Columns, places

if TYPE_CHECKING:
    from lightgbm import Booster

FIRST = 0.1  # share of the trees that tells which pairs are worth asking the others


class Rows(NamedTuple):
    """Learning examples: a matrix of columns, labels, and rows per query."""

    x: NDArray[np.float32]
    y: NDArray[np.int8]
    counts: NDArray[np.int64]

    def only(self, queries: NDArray[np.bool_]) -> Rows:
        rows = np.repeat(queries, self.counts)
        return Rows(self.x[rows], self.y[rows], self.counts[queries])


class Trees(NamedTuple):
    """Models, what their scores are divided by before they are added (n times their spread over the examples), and their columns."""

    models: Sequence[Booster] = ()
    scales: Sequence[float] = ()
    names: Sequence[str] = ()

    def __call__(self, columns: Columns, pool: Ragged, keep: int, threads: int) -> NDArray[np.float64]:
        """(len(pool.rows),) the score of every pair; -inf of those that the first tenth of the trees does not place among a query's `keep`."""
        x, scores = stack(columns, self.names, len(pool.rows)), np.full(len(pool.rows), -np.inf)
        left = np.ones(len(x), bool)
        if pool.counts.max(initial=0) > keep:
            left = places(pool, self._predict(x, threads, FIRST)) < keep
        if left.any():
            scores[left] = self._predict(x[left], threads)
        return scores

    def contributions(self, x: NDArray[np.float32], threads: int) -> NDArray[np.float64]:
        """(rows, columns + 1) what every column adds to the score, and last the mean that they are added to: they sum to it exactly."""
        each = zip(self.models, self.scales, strict=True)
        return sum(model.predict(x, num_threads=threads, pred_contrib=True) / scale for model, scale in each)

    def _predict(self, x: NDArray[np.float32], threads: int, share: float = 1.0) -> NDArray[np.float64]:
        counts = [max(1, round(share * model.current_iteration())) for model in self.models]
        each = zip(self.models, self.scales, counts, strict=True)
        return sum(model.predict(x, num_threads=threads, num_iteration=n) / scale for model, scale, n in each)


def learn(
    examples: Sequence[Rows], names: Sequence[str], objectives: Sequence[str], seed: int, trees: int, settings: Mapping[str, Any]
) -> Trees:
    """A model per objective. settings: LightGBM's own, over what is the same for every ranking."""
    import lightgbm

    x, y, counts = (np.concatenate(column) for column in zip(*examples, strict=True))
    settings = {
        "metric": "none", "label_gain": [0, 1], "bagging_fraction": 0.8, "bagging_freq": 1, "max_bin": 127,
        "deterministic": True, "force_col_wise": True, "verbose": -1, **settings,
    }  # fmt: skip
    settings["min_data_in_leaf"] = min(settings["min_data_in_leaf"], max(1, len(y) // (4 * settings["num_leaves"])))
    data = lightgbm.Dataset(x, y, group=counts[counts > 0], params=settings)
    models = [lightgbm.train(settings | {"objective": objective, "seed": seed}, data, trees) for objective in objectives]
    spread = [float(model.predict(x[::10], num_threads=settings["num_threads"]).std()) for model in models]
    return Trees(models, [len(models) * max(s, 1e-9) for s in spread], names)


def stack(columns: Columns, names: Sequence[str], height: int) -> NDArray[np.float32]:
    """(height, names) in the order the models know; NaN where a column is not there."""
    x = np.full((height, len(names)), np.nan, np.float32)
    for number, name in enumerate(names):
        if name in columns:
            x[:, number] = columns[name]
    return x
