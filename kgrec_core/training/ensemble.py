"""`train.ensemble`: several fits that differ in their seed end as one model, so that serving costs the same.

Their weights are averaged; or, with `train.teacher.model = "members"`, they teach one more fit by the mean of what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from kgrec_core import devices
from kgrec_core.graph import View
from kgrec_core.limits import Budget
from kgrec_core.model import Model, Weights
from kgrec_core.training import adapter
from kgrec_core.training.layers import language_models
from kgrec_core.training.options import Train

Fitting = Callable[[Train, int, Budget], list[dict[str, Any]]]


class Member(NamedTuple):
    """score: of its best validation. adapters: what was merged into each of its language models."""

    score: float
    number: int
    weights: Weights
    adapters: list[list[adapter.Alone]]


def soup(
    model: Model, view: View, options: Train, validate: Callable[[], dict[str, float]], fit: Fitting, budget: Budget
) -> list[dict[str, Any]]:
    """Leave in the model the mean of the members that together are best on the select queries, or whom they taught, where that is no worse.

    Returns the histories, then the record of what stays.

    The best member comes first, each further one stays where the mean does not get worse by it (greedy soup: Wortsman et al. 2022, "Model Soups").
    All begin as the model is, so that their weights can be averaged. fit(options, member, budget) -> history; the best weights stay.
    """
    began, members, history = model.weights(), list[Member](), []
    beside = any(map(adapter.stands, language_models(model.encoder)))  # since an earlier fit, so that it is among these weights
    taught = {name: objective for name, objective in options.objectives.items() if objective.members}
    options = replace(options, objectives={name: of for name, of in options.objectives.items() if name not in taught})
    fits = options.ensemble + bool(taught)

    def one(number: int, **more: Any) -> list[dict[str, Any]]:
        if not beside:
            adapter.remove(model.encoder)
        model.restore(began)
        model.refresh(view.graph)  # an objective may ask the encoder before anything is learned
        own = replace(options, ensemble=1, teacher=None, seed=options.seed + number, minutes=options.minutes / fits, **more)
        left = budget.left() / (fits - number)
        records = fit(own, number, budget.part(0.0 if left == float("inf") else max(left, 1e-3) / 60, 0.0))
        history.extend(record | {"member": number} for record in records)
        return records

    for member in range(options.ensemble):
        if not (records := one(member)):
            return []
        members.append(
            Member(max(_score(record["select"], options) for record in records), member, model.weights(), adapter.alone(model.encoder))
        )
    members.sort(key=lambda found: (-found.score, found.number))
    best, chosen, select = members[0].score, [members[0]], None
    for found in members[1:]:
        model.restore(mean([of.weights for of in [*chosen, found]]))
        asked = devices.shared(lambda: (model.refresh(view.graph), validate())[1])
        if (score := _score(asked, options)) >= best:
            best, select = score, asked
            chosen.append(found)
    if taught:
        every = [found.weights for found in sorted(members, key=lambda found: found.number)]
        records = one(options.ensemble, objectives={**options.objectives, **{n: of.after(model, every) for n, of in taught.items()}})
        told = max(records, key=lambda record: _score(record["select"], options))
        if _score(told["select"], options) >= best:
            return [*history, told | {"best": True, "member": options.ensemble, "taught": True}]
    model.restore(mean([found.weights for found in chosen]))
    adapter.keep(model.encoder, [found.adapters for found in chosen])
    model.refresh(view.graph)
    told = max((r for r in history if r["member"] == chosen[0].number), key=lambda r: _score(r["select"], options))
    return [*history, told | {"select": select or told["select"], "best": True, "members": [found.number for found in chosen]}]


def mean(of: Sequence[Weights]) -> Weights:
    """Of each number over the models; what is not a floating number is the first's."""
    return [
        {
            name: torch.stack([other[name] for other in part]).mean(0) if value.is_floating_point() else value
            for name, value in part[0].items()
        }
        for part in zip(*of, strict=True)
    ]


def _score(select: Mapping[str, float], options: Train) -> float:
    learned = [score for name, score in select.items() if options.weights.get(name, 1.0) > 0]
    return float(np.mean(learned or list(select.values())))
