"""Which weights learn how fast, by what rule, and how the rate rises and falls."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from kgrec_core.interfaces import Encoder
from kgrec_core.training.layers import depths, language_models
from kgrec_core.training.options import Train


def optimizer(module: nn.Module, old: set[nn.Parameter], options: Train) -> torch.optim.Optimizer:
    """What came pretrained (`old`) learns at `lr`, less by `layer_decay` for every layer above it (Howard and Ruder 2018; Clark et al. 2020), all
    else at `head_lr`.

    Weight decay for matrices only, as usual: biases, norms and single numbers are not drawn to zero.
    """
    depth = {p: d for model in language_models(module) for p, d in depths(model).items()} if options.layer_decay < 1 else {}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for came in (True, False):
        for matrix in (True, False):
            for p in module.parameters():
                if p.requires_grad and (p in old, p.ndim > 1) == (came, matrix):
                    lr = options.lr * options.layer_decay ** depth.get(p, 0) if came else options.head_lr
                    groups.setdefault((lr, matrix), []).append(p)
    found = [{"params": of, "weight_decay": options.weight_decay * matrix, "lr": lr} for (lr, matrix), of in groups.items()]
    if options.optimizer == "sgd":
        return torch.optim.SGD(found, momentum=0.9)
    return torch.optim.AdamW(found, fused=True)  # one kernel for all weights: a fifth of a CPU's time per update saved


def schedule(of: torch.optim.Optimizer, options: Train, bounds: Sequence[int]) -> LambdaLR:
    """transformers' schedule between one bound and the next, counted so that no update has a rate of 0: neither the first of a
    warm-up nor the last.
    """
    named = {"constant": "constant_with_warmup"}.get(options.schedule, options.schedule)
    parts = []
    for start, end in itertools.pairwise(bounds):
        total = end - start
        parts.append((start, get_scheduler(named, of, int(options.warmup * total) + 1, total + 1).lr_lambdas))

    def share(group: int, number: int) -> float:
        start, shares = next(part for part in reversed(parts) if part[0] <= number)
        return shares[group](number - start + 1)

    return LambdaLR(of, [functools.partial(share, group) for group in range(len(of.param_groups))])


def pretrained(encoder: Encoder) -> set[nn.Parameter]:
    """The weights of those encoders that say so, from the outermost to the innermost."""
    found: set[nn.Parameter] = set()
    for part in encoder.modules():
        if isinstance(part, Encoder):
            own = set(part.parameters())
            found = found | own if part.pretrained else found - own
    return found
