"""`train.ensemble`: several fits that differ in their seed, whose weights are averaged into one model, so that serving costs the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from kgrec_core import devices
from kgrec_core.graph import View
from kgrec_core.limits import Budget
from kgrec_core.model import Model
from kgrec_core.training import adapter
from kgrec_core.training.options import Train

Weights = list[dict[str, torch.Tensor]]
Fitting = Callable[[Train, int, Budget], list[dict[str, Any]]]


def soup(
    model: Model, view: View, options: Train, validate: Callable[[], dict[str, float]], fit: Fitting, budget: Budget
) -> list[dict[str, Any]]:
    """Leave in the model the mean of the members that together are best on the select queries; returns their histories, then the soup's record.

    The best member comes first, each further one stays where the mean does not get worse by it (greedy soup: Wortsman et al. 2022, "Model Soups").
    All begin as the model is, so that their weights can be averaged. fit(options, member, budget) -> history; the best weights stay.
    """
    began, members, history = model.weights(), [], []
    for member in range(options.ensemble):
        _put(model, began)
        model.refresh(view.graph)  # an objective may ask the encoder before anything is learned
        own = replace(options, ensemble=1, seed=options.seed + member, minutes=options.minutes / options.ensemble)
        left = budget.left() / (options.ensemble - member)
        records = fit(own, member, budget.part(0.0 if left == float("inf") else max(left, 1e-3) / 60, 0.0))
        if not records:
            return []
        history += [record | {"member": member} for record in records]
        members.append((max(_score(record["select"], options) for record in records), member, model.weights()))
    members.sort(key=lambda found: (-found[0], found[1]))
    best, chosen, select = members[0][0], [members[0]], None
    for found in members[1:]:
        model.restore(mean([weights for _, _, weights in [*chosen, found]]))
        asked = devices.shared(lambda: (model.refresh(view.graph), validate())[1])
        if (score := _score(asked, options)) >= best:
            best, select = score, asked
            chosen.append(found)
    model.restore(mean([weights for _, _, weights in chosen]))
    model.refresh(view.graph)
    told = max((r for r in history if r["member"] == chosen[0][1]), key=lambda r: _score(r["select"], options))
    return [*history, told | {"select": select or told["select"], "best": True, "members": [member for _, member, _ in chosen]}]


def mean(of: Sequence[Weights]) -> Weights:
    """Of each number over the models; what is not a floating number is the first's."""
    return [
        {
            name: torch.stack([other[name] for other in part]).mean(0) if value.is_floating_point() else value
            for name, value in part[0].items()
        }
        for part in zip(*of, strict=True)
    ]


def _put(model: Model, weights: Weights) -> None:
    adapter.remove(model.encoder)
    model.restore(weights)


def _score(select: Mapping[str, float], options: Train) -> float:
    learned = [score for name, score in select.items() if options.weights.get(name, 1.0) > 0]
    return float(np.mean(learned or list(select.values())))
