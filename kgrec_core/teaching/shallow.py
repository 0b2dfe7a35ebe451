"""A language model with fewer layers, taught by itself as it was: first layers dropped, then vectors of texts learned again.

Of a pretrained model evenly spaced layers are kept, the lowest and the highest among them (Sanh et al. 2019, DistilBERT, begins so; Sajjad et
al. 2023, "On the effect of dropping layers of pre-trained transformer models"). What is lost is learned from the run's own texts, each also with
half of its words left out, as people ask in few: squared distance of vectors of length one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from kgrec_core.encoder.tower import Tower
from kgrec_core.errors import KgrecError
from kgrec_core.training.layers import language_models, layers

MOST, EPOCHS, BATCH = 5_000, 4, 32  # texts that are learned from; of these and of their halves; texts of an update
RATE, WARM = 2e-4, 0.1  # of learning, at its highest; the share of the updates until then


def shallow(tower: Tower, keep: int, texts: Sequence[str], seed: int = 0) -> None:
    """Leave `keep` layers of a tower's model, in place. Raises KgrecError for a model that has no more, or adapters beside its weights."""
    before = copy.deepcopy(tower).requires_grad_(False).eval()
    _drop(tower, keep)
    rng = np.random.default_rng(seed)
    known = np.array(list(dict.fromkeys(texts)), object)
    known = known[np.sort(rng.permutation(len(known))[:MOST])]
    learning = [weight for weight in tower.model.parameters() if weight.dtype.is_floating_point]
    was = [weight.requires_grad for weight in learning]
    steps = max(1, EPOCHS * -(-len(known) // BATCH))
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        for weight in learning:
            weight.requires_grad_(True)
        of = torch.optim.AdamW(learning, lr=RATE, weight_decay=0.0)
        rate = torch.optim.lr_scheduler.LambdaLR(of, lambda n: min((n + 1) / (WARM * steps + 1), (steps - n) / steps))
        tower.eval()  # without dropout: what is to be met is what the other says, to the digit
        for epoch in range(EPOCHS):
            order = rng.permutation(len(known))
            for start in range(0, len(order), BATCH):
                some = [text if epoch % 2 == 0 else _half(text, rng) for text in known[order[start : start + BATCH]]]
                with torch.no_grad():
                    theirs = nn.functional.normalize(before(some), dim=1)
                loss = (nn.functional.normalize(tower(some), dim=1) - theirs).square().sum(1).mean()
                of.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(learning, 1.0)
                of.step()
                rate.step()
    for weight, learns in zip(learning, was, strict=True):
        weight.requires_grad_(learns)
        weight.grad = None
    tower.pristine = tower.fingerprint()


def _drop(tower: Tower, keep: int) -> None:
    (model, *_) = language_models(tower, "--to layers")
    every = layers(model)
    if any("lora_" in name for name, _ in model.named_parameters()):
        raise KgrecError("this model has an adapter beside its weights; fit without train.adapter to drop layers")
    if not 1 < keep < len(every):
        raise KgrecError(f"--to layers={keep}: this model has {len(every)} layers; keep between 2 and {len(every) - 1}")
    kept = [every[i] for i in np.linspace(0, len(every) - 1, keep).round().astype(int)]
    stack = next(m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == len(every) and m[0] is every[0])
    del stack[:]
    stack.extend(kept)
    model.config.num_hidden_layers = keep


def _half(text: str, rng: np.random.Generator) -> str:
    words = text.split()
    kept = [word for word in words if rng.random() < 0.5]
    return " ".join(kept or words)
