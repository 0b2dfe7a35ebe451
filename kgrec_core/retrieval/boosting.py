"""Learning to rank by boosted trees, from rows of named columns: what LightGBM is asked to do, and the mean of what it learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lightgbm import Booster

Columns = Mapping[str, NDArray[np.float32]]


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

    def __call__(self, columns: Columns, height: int, threads: int) -> NDArray[np.float64]:
        """(height,) the score of every pair."""
        if not height:
            return np.zeros(0)
        x = stack(columns, self.names, height)
        return sum(model.predict(x, num_threads=threads) / scale for model, scale in zip(self.models, self.scales, strict=True))


def learn(
    examples: Sequence[Rows], names: Sequence[str], objectives: Sequence[str], bags: int, seed: int, trees: int, settings: Mapping[str, Any]
) -> Trees:
    """A model per objective and bag. settings: LightGBM's own, over what is the same for every ranking."""
    import lightgbm

    x, y, counts = (np.concatenate(column) for column in zip(*examples, strict=True))
    settings = {
        "metric": "none", "label_gain": [0, 1], "bagging_fraction": 0.8, "bagging_freq": 1, "max_bin": 127,
        "deterministic": True, "force_row_wise": True, "verbose": -1, **settings,
    }  # fmt: skip
    settings["min_data_in_leaf"] = min(settings["min_data_in_leaf"], max(1, len(y) // (4 * settings["num_leaves"])))
    data = lightgbm.Dataset(x, y, group=counts[counts > 0], params=settings)
    kinds = [{"objective": objective, "seed": seed + bag} for objective in objectives for bag in range(bags)]
    models = [lightgbm.train(settings | kind, data, trees) for kind in kinds]
    spread = [float(model.predict(x[::10], num_threads=settings["num_threads"]).std()) for model in models]
    return Trees(models, [len(models) * max(s, 1e-9) for s in spread], names)


def stack(columns: Columns, names: Sequence[str], height: int) -> NDArray[np.float32]:
    """(height, names) in the order the models know; NaN where a column is not there."""
    x = np.full((height, len(names)), np.nan, np.float32)
    for number, name in enumerate(names):
        if name in columns:
            x[:, number] = columns[name]
    return x
