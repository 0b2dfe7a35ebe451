"""The fine-tuning loop, visible: draw a batch, add its gradients, step; now and then ask the select queries.

`finetune` gives a record per update and one per validation. Whatever watches it stands outside, see `records` and `checkpoint`.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

import numpy as np
import torch

from kgrec_core import devices
from kgrec_core.graph import Task, View
from kgrec_core.interfaces import Encoder, Head
from kgrec_core.training.contrastive import Contrastive
from kgrec_core.training.failures import must_be_finite, within_memory
from kgrec_core.training.objective import Objective
from kgrec_core.training.optimiser import optimizer, pretrained, schedule
from kgrec_core.training.options import Train
from kgrec_core.training.passes import accelerator
from kgrec_core.training.supervised import Supervised
from kgrec_core.training.table import techniques
from kgrec_core.training.together import begin_alike
from kgrec_core.training.update import Vectors, backward

log = logging.getLogger("kgrec")
Record = dict[str, Any]


def finetune(learner: Learner, validate: Callable[[], dict[str, float]], step: int = 0, seconds: float = 0.0) -> Iterator[Record]:
    """Fine-tune in place, from update `step` on, which was reached after `seconds`.

    A record per update has step, loss and lr; one per validation has epoch, select and seconds too, and the mean loss since the last.
    validate() -> task -> metric, of the encoder and heads as they are; the main process asks, all get the same record.
    """
    began, losses = time.monotonic() - seconds, []
    learner.refresh()
    learner.refreshed()
    number = step
    while number < learner.total:
        losses.append(learner.update(number))
        number += 1
        yield {"step": number, "loss": losses[-1], "lr": learner.rate}
        if number % learner.every == 0 or number == learner.total:
            with learner.asked():
                found = devices.shared(lambda: {"select": validate(), "seconds": round(time.monotonic() - began, 2)})
            loss = float(np.mean(losses))
            yield {"step": number, "epoch": learner.epoch(number), "loss": loss, "lr": learner.rate, **found}
            losses = []
            learner.refreshed()


class Learner:
    """Encoder and objectives as one module, with optimizer, rate schedule and the techniques that the options name.

    total: updates in all, 0 = there is nothing to learn; lowered meanwhile, the fit ends there, with a validation. planned: as it was at first.
    came: what came pretrained; a technique takes out what it made itself. rate: of the last update. chunk: as in the options, or less, where memory was short (halved).
    """

    rate: float = 0.0

    def __init__(self, encoder: Encoder, heads: Mapping[str, Head], tasks: tuple[Task, ...], view: View, options: Train) -> None:
        self.encoder, self.graph, self.options = encoder, view.graph, options
        self.chunk, self.halved = options.chunk, False
        self.techniques = techniques(options)
        objectives = _objectives(heads, tasks, view, options)
        for objective in objectives:
            objective.begin(encoder)
        objectives = [reduce(lambda objective, technique: technique.around(objective), self.techniques, of) for of in objectives]
        self.starts, self.total = _plan(objectives, options.steps)
        self.planned = self.total
        self.vectors = Vectors(encoder, objectives)
        if not self.total:
            self.techniques = []
            return
        self.accelerator = accelerator(options)
        self.came = pretrained(encoder)
        for technique in self.techniques:
            technique.begin(self)
        learned = [o for o in objectives if self._learns(o, self.came)]
        if len(learned) < len(objectives):
            self._leave_out([o for o in objectives if o not in learned])
            self.vectors = Vectors(encoder, learned)
            self.starts, self.total = _plan(learned, options.steps)
            self.planned = self.total
        if not self.total:
            self.end()
            return
        self.frozen = {name for name, p in self.vectors.named_parameters(remove_duplicate=False) if not p.requires_grad}
        self.pretrained = [p for p in pretrained(encoder) if p.requires_grad]
        self.every = max(1, self.total // max(1, options.validations))
        made = optimizer(self.vectors.to(devices.device()), self.came, options)
        still = [self._still(phase) for phase in self.starts]
        ends = [start for start, one, two in zip([*self.starts.values()][1:], still, still[1:], strict=False) if one != two]
        self.schedule = schedule(made, options, [0, *ends, self.total])
        self.optimizer = self.accelerator.prepare(made)
        begin_alike(self.vectors)

    def update(self, number: int) -> float:
        """Update number `number`, counted from 0; returns the loss of its batch."""
        phase = max(phase for phase, start in self.starts.items() if start <= number)
        if number and number == self.starts[phase]:
            self._finish(phase)
        for parameter in self.pretrained:
            parameter.requires_grad_(not self._still(phase))
        for technique in self.techniques:
            technique.before(self, number)
        self.vectors.train()  # what is frozen has no dropout
        which = self._draw(phase, number)
        step = self.vectors.objectives[which].step(number)

        def gradients() -> float:
            return backward(self.accelerator, self.vectors, which, step, self.chunk, (self.options.seed, number))

        loss = within_memory(self, step, gradients)
        must_be_finite(loss, "loss", self, number, which, step)
        for technique in self.techniques:
            technique.gradients(self, gradients)
        if self.options.clip:
            norm = self.accelerator.clip_grad_norm_(self.vectors.parameters(), self.options.clip)
            if not self.accelerator.scaler:  # which leaves such an update out
                must_be_finite(float(norm), "gradient", self, number, which, step)
        self.optimizer.step()
        self.rate = self.schedule.get_last_lr()[0]
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        for technique in self.techniques:
            technique.after(self, number)
        return loss

    def refresh(self) -> None:
        """Ready to be asked, on the training graph; what the next updates read without gradients is of these weights."""
        self.vectors.eval()
        self.encoder.refresh(self.graph)

    def refreshed(self) -> None:
        """To be told once the next updates' weights and tables are in place."""
        for technique in self.techniques:
            technique.refreshed(self)

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Ready to be asked, by the weights that would be published; afterwards as the next update needs it."""
        if instead := self.instead():
            own = self.weights()
            self.load(instead)
        self.refresh()
        yield
        if instead:
            self.load(own)
            self.refresh()

    def epoch(self, done: int) -> float:
        """Passes of the last phase after `done` updates."""
        last = max(self.starts)
        return round((done - self.starts[last]) / sum(o.batches for o in self.vectors.objectives if o.phase == last), 4)

    def score(self, select: Mapping[str, float]) -> float:
        """What chooses the best weights: the mean over the tasks that are learned; what is not learned chooses nothing."""
        learned = {objective.task for objective in self.vectors.objectives}
        return float(np.mean([score for name, score in select.items() if name in learned] or list(select.values())))

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy, on the CPU, of what changes: parameters that learn, and buffers."""
        return {name: t.detach().to("cpu", copy=True) for name, t in self.vectors.state_dict().items() if name not in self.frozen}

    def learning(self) -> dict[str, torch.nn.Parameter]:
        """The weights that learn, by the same names."""
        return {name: p for name, p in self.vectors.named_parameters() if name not in self.frozen}

    def instead(self) -> dict[str, torch.Tensor]:
        """What is validated and published in their place: an average, where a technique has one."""
        return reduce(lambda found, technique: found | technique.weights(self), self.techniques, {})

    def load(self, weights: Mapping[str, torch.Tensor]) -> None:
        self.vectors.load_state_dict(weights, strict=False)

    def beside(self) -> dict[str, Any]:
        """What a resumed fit needs beside weights, optimizer and schedule."""
        scaler = self.accelerator.scaler
        states = [technique.state() for technique in self.techniques]
        return {"techniques": states, "scaler": scaler.state_dict() if scaler else {}, "chunk": self.chunk, "halved": self.halved}

    def restore(self, beside: Mapping[str, Any]) -> None:
        """As it was when `beside` was taken."""
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(beside["scaler"])
        self.chunk, self.halved = beside["chunk"], beside["halved"]
        for technique, state in zip(self.techniques, beside["techniques"], strict=True):
            technique.load(state)

    def end(self) -> None:
        """What the techniques changed in the model is as it was, but for the weights."""
        for technique in reversed(self.techniques):
            technique.end(self)
        self.techniques = []

    def _learns(self, objective: Objective, came: set[torch.nn.Parameter]) -> bool:
        """Whether there are weights, its own or the encoder's, that its gradients may reach. came: those that are pretrained."""
        still = came if self._still(objective.phase) else ()
        return any(p.requires_grad and p not in still for of in (objective, self.encoder) for p in of.parameters())

    def _leave_out(self, objectives: Sequence[Objective]) -> None:
        names = [f"{type(getattr(o, 'inside', o)).__name__}{f' of task {o.task}' if o.task else ''}" for o in objectives]
        log.warning("fine-tuning: %s finds no weights that may learn, and is left out", ", ".join(dict.fromkeys(names)))

    def _still(self, phase: int) -> bool:
        """Whether what came pretrained stays as it is in a phase."""
        return not any(o.language_model for o in self.vectors.objectives if o.phase == phase)

    def _draw(self, phase: int, number: int) -> int:
        """The objective of an update: drawn by weight times number of batches, from the seed and the update alone."""
        places = [i for i, o in enumerate(self.vectors.objectives) if o.phase == phase]
        chance = np.array([o.weight * o.epochs * o.batches for o in map(self.vectors.objectives.__getitem__, places)])
        return places[int(np.random.default_rng([self.options.seed, number, 7]).choice(len(places), p=chance / chance.sum()))]

    def _finish(self, phase: int) -> None:
        self.refresh()  # what an objective asks of the encoder is to be of the weights as they are now
        before = max(p for p in self.starts if p < phase)
        with torch.no_grad():
            for objective in self.vectors.objectives:
                if objective.phase == before:
                    objective.finish(self.encoder)
        self.vectors.train()


def _objectives(heads: Mapping[str, Head], tasks: tuple[Task, ...], view: View, options: Train) -> list[Objective]:
    """What takes part: the tasks' own, what `contrastive` asks for, and what the recipe names, which may take their places."""
    named: dict[str, Objective] = {"supervised": Supervised(epochs=options.epochs)}
    if options.contrastive:
        named["contrastive"] = Contrastive(epochs=options.contrastive)
    named |= copy.deepcopy(dict(options.objectives))
    found = [part for objective in named.values() for part in objective.prepare(view, tasks, heads, options)]
    return [part for part in found if part.batches and part.weight > 0]


def _plan(objectives: Sequence[Objective], steps: int) -> tuple[dict[int, int], int]:
    """Phase -> its first update, and how many updates there are in all. steps: at most so many of the tasks' phase and later ones."""
    starts, total = {}, 0
    for phase in sorted({o.phase for o in objectives}):
        of = [o for o in objectives if o.phase == phase]
        updates = math.ceil(sum(e * sum(o.batches for o in of if o.epochs == e) for e in {o.epochs for o in of}))
        starts[phase], total = total, total + (min(updates, steps) if steps and phase > 0 else updates)
    return starts, total
