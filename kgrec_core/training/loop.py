"""The fine-tuning loop, visible: draw a batch, add its gradients, step; now and then ask the select queries, keep the best."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from transformers import get_scheduler

from kgrec_core.graph import Task, View
from kgrec_core.interfaces import Encoder, Head
from kgrec_core.stages import Progress
from kgrec_core.training import checkpoint
from kgrec_core.training.contrastive import Alike, Together, means
from kgrec_core.training.examples import Examples
from kgrec_core.training.options import Train
from kgrec_core.training.update import Vectors, backward


def finetune(
    encoder: Encoder,
    heads: Mapping[str, Head],
    tasks: tuple[Task, ...],
    train: View,
    options: Train,
    validate: Callable[[], dict[str, float]],
    file: Path,
    purpose: str,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Fine-tune in place; returns the history, one record per validation. The best weights are restored wholly.

    validate() -> task -> metric, of the encoder and heads as they are. file: checkpoint; a killed fit continues from it and
    ends with the same numbers. purpose: what the checkpoint must belong to.
    """
    examples = {
        t.name: Examples(train.graph, t, tasks, train.queries[t.name], options, not heads[t.name].encodes_candidates) for t in tasks
    }
    examples = {name: e for name, e in examples.items() if len(e) and options.weights.get(name, 1.0) > 0}
    warming = {f"alike: {name}": Alike(e) for name, e in examples.items() if e.every} if options.contrastive else {}
    cold = math.ceil(options.contrastive * _epoch(warming))
    total = cold + _total(examples, options)
    if not total or (
        not any(p.requires_grad for p in encoder.parameters()) and not any(p.requires_grad for h in heads.values() for p in h.parameters())
    ):
        return []
    accelerator = Accelerator(
        mixed_precision="bf16" if options.precision == "bf16" else "no",
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    vectors = Vectors(encoder, {**heads, **{name: Together() for name in warming}})
    optimizer = _optimizer(vectors, options)
    schedule = get_scheduler(
        {"constant": "constant_with_warmup"}.get(options.schedule, options.schedule), optimizer, math.ceil(options.warmup * total), total
    )
    module, optimizer = accelerator.prepare(vectors, optimizer)
    every = max(1, total // max(1, options.validations))
    history: list[dict[str, Any]] = []
    best, best_weights, start, losses, began = -math.inf, None, 0, [], time.monotonic()
    if state := checkpoint.read(file, purpose):
        vectors.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        start, best, best_weights, history = state["step"], state["best"], state["best_weights"], state["history"]
        began -= history[-1]["seconds"]
    encoder.refresh(train.graph)

    for number in range(start, total):
        if _stopped(history, options.patience):
            break
        vectors.train()
        if warming and number == cold:
            _start_classes(encoder, heads, examples)
            vectors.train()
        drawn = warming if number < cold else examples
        task = _task(drawn, options, number)
        losses.append(backward(accelerator, module, task, drawn[task].step(number), options.chunk, (options.seed, number)))
        if options.clip:
            accelerator.clip_grad_norm_(vectors.parameters(), options.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        progress("fine-tuning", number + 1, total)
        if (number + 1) % every == 0 or number + 1 == total:
            vectors.eval()
            encoder.refresh(train.graph)
            scores = validate()
            learned = [score for name, score in scores.items() if name in examples]
            score = float(np.mean(learned or list(scores.values())))  # what is not learned chooses nothing
            history.append({
                "step": number + 1, "epoch": round((number + 1 - cold) / _epoch(examples), 4), "loss": float(np.mean(losses)), "select": scores,
                "lr": schedule.get_last_lr()[0], "seconds": round(time.monotonic() - began, 2), "best": score > best,
            })  # fmt: skip
            losses = []
            if score > best:
                best, best_weights = score, copy.deepcopy(vectors.state_dict())
            if accelerator.is_main_process:
                checkpoint.write(file, {
                    "purpose": purpose, "weights": vectors.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
                    "step": number + 1, "best": best, "best_weights": best_weights, "history": history,
                })  # fmt: skip
    if best_weights is not None:
        vectors.load_state_dict(best_weights)
    vectors.eval()
    encoder.refresh(train.graph)
    return history


def _total(examples: Mapping[str, Examples], options: Train) -> int:
    total = math.ceil(options.epochs * _epoch(examples)) if examples else 0
    return min(total, options.steps) if options.steps else total


def _epoch(examples: Mapping[str, Examples | Alike]) -> int:
    return sum(e.batches for e in examples.values())


def _start_classes(encoder: Encoder, heads: Mapping[str, Head], examples: Mapping[str, Examples]) -> None:
    """After the contrastive passes: class vectors start from the mean of their queries as they are encoded now."""
    encoder.eval()
    with torch.no_grad():
        for name, of in examples.items():
            if of.every:
                heads[name].start(means(encoder, of, of.graph.size(of.task.relation.target)))


def _task(examples: Mapping[str, Examples | Alike], options: Train, number: int) -> str:
    """The task of this update: drawn by weight times number of batches, from the seed and the step alone."""
    names = list(examples)
    chance = np.array([options.weights.get(n.removeprefix("alike: "), 1.0) * examples[n].batches for n in names])
    return names[int(np.random.default_rng([options.seed, number, 7]).choice(len(names), p=chance / chance.sum()))]


def _optimizer(module: Vectors, options: Train) -> torch.optim.Optimizer:
    """Weight decay for matrices only, as usual: biases, norms and single numbers are not drawn to zero."""
    groups = []
    for part, lr in ((module.encoder, options.lr), (module.heads, options.head_lr)):
        learning = [p for p in part.parameters() if p.requires_grad]
        groups.append({"params": [p for p in learning if p.ndim > 1], "weight_decay": options.weight_decay, "lr": lr})
        groups.append({"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0, "lr": lr})
    groups = [g for g in groups if g["params"]]
    return torch.optim.SGD(groups, momentum=0.9) if options.optimizer == "sgd" else torch.optim.AdamW(groups)


def _stopped(history: list[dict[str, Any]], patience: int) -> bool:
    since = next((i for i, record in enumerate(reversed(history)) if record["best"]), 0)
    return bool(patience) and since >= patience
