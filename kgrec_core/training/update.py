"""One update of the weights: vectors of the whole batch, one loss, whatever number of devices and chunks they come from.

The module is encoder + `project`; the loss is outside, on gathered vectors. So two processes, or gradient caching
(Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"), equal one big batch.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import nn

from kgrec_core.graph import Nodes
from kgrec_core.interfaces import Encoder, Head
from kgrec_core.training.objective import Objective, Step
from kgrec_core.training.together import average, several, share


class Vectors(nn.Module):
    """Encoder and objectives as one module: an objective's query and candidate nodes in, their projections out."""

    def __init__(self, encoder: Encoder, objectives: Iterable[Objective | Head]) -> None:
        super().__init__()
        self.encoder, self.objectives = encoder, nn.ModuleList(objectives)

    def forward(self, which: int, queries: Nodes, candidates: Nodes | None, whole: Nodes) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, d) of the queries, (m, d) of the candidates; candidates None: those that the objective has for the whole batch."""
        objective = self.objectives[which]
        q = objective.project(self._encoded(queries), queries)
        c = objective.project(None, whole) if candidates is None else objective.project(self._encoded(candidates), candidates)
        return q, c

    def _encoded(self, nodes: Nodes) -> torch.Tensor:
        """Where the weights are: an encoder without any may give vectors on the CPU."""
        x = self.encoder(nodes)
        return x.to(next((p.device for p in self.parameters()), x.device))


def backward(accelerator: Accelerator, module: Vectors, which: int, step: Step, chunk: int, seed: tuple[int, ...]) -> float:
    """Add the gradients of one batch of an objective; returns the loss. chunk: nodes per forward pass, 0 = all at once.

    Raises MemoryError in all processes where one of them has not the memory for its share.
    """
    objective = module.objectives[which]
    encodes = objective.encodes_candidates
    passes = getattr(objective, "passes", 1)  # a head alone may stand in for an objective
    mine = _mine(len(step.queries)), _mine(len(step.candidates))
    queries, candidates = step.queries.take(mine[0]), step.candidates.take(mine[1])
    parts = max(1, -(-(len(queries) + (len(candidates) if encodes else 0)) // chunk)) if chunk else 1
    pieces = list(zip(np.array_split(np.arange(len(queries)), parts), np.array_split(np.arange(len(candidates)), parts), strict=True))
    pieces, parts = pieces * passes, parts * passes
    device = next(module.parameters()).device
    batch, world = send_to_device(step.batch, device), accelerator.num_processes

    def forward(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(hash((*seed, number, accelerator.process_index)))  # the same dropout in both passes of a chunk
        q, c = pieces[number]
        with accelerator.autocast():
            return module(which, queries.take(q), candidates.take(c) if encodes else None, step.candidates)

    def joined() -> tuple[torch.Tensor, torch.Tensor]:
        q, c = zip(*map(forward, range(parts)), strict=True)
        return torch.cat(q).float(), torch.cat(c).float() if encodes else c[0].float()

    def loss_of(q: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Times the processes, over which gradients are averaged."""
        return objective.loss(q, c, batch) * world

    def everyone(q: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        every = _of_all(c, len(step.candidates), passes) if encodes else c.detach() + (c - c.detach()) / world  # all have all of c
        return _of_all(q, len(step.queries), passes), every

    def at_once() -> torch.Tensor:
        loss = loss_of(*every)
        accelerator.backward(loss)
        return loss

    def piece_by_piece() -> torch.Tensor:
        loss = loss_of(*every)
        loss.backward()
        gradients = torch.split(q.grad, [len(i) for i, _ in pieces]), torch.split(c.grad, [len(i) for _, i in pieces]) if encodes else None
        for n in range(parts):
            again, other = forward(n)
            surrogate = (again.float() * gradients[0][n]).sum()
            surrogate = surrogate + (other.float() * (gradients[1][n] if encodes else c.grad / parts)).sum()
            accelerator.backward(surrogate)
        return loss

    if parts == passes:
        every = everyone(*share(joined, device))
        loss = share(at_once, device)
    else:
        with torch.no_grad():
            first = share(joined, device)
        q, c = (v.requires_grad_() for v in first)
        every = everyone(q, c)
        loss = share(piece_by_piece, device)
    average(module.parameters())
    return loss.item() / world


def _mine(n: int) -> np.ndarray:
    """This process's share of n nodes."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if several() else (0, 1)
    return np.array_split(np.arange(n), world)[rank]


def _of_all(x: torch.Tensor, n: int, passes: int) -> torch.Tensor:
    """(passes * n, d) the rows of all processes, pass by pass."""
    return torch.cat([_gathered(part, n) for part in x.chunk(passes)]) if passes > 1 else _gathered(x, n)


def _gathered(x: torch.Tensor, n: int) -> torch.Tensor:
    """(n, d) the rows of all processes in order; only this one's carry gradients, which are then averaged."""
    if not several():
        return x
    sizes = [len(part) for part in np.array_split(np.arange(n), dist.get_world_size())]
    padded = x.detach().new_zeros(max(sizes), x.shape[1])
    padded[: len(x)] = x.detach()
    everyone = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(everyone, padded)
    parts = [e[:size] for e, size in zip(everyone, sizes, strict=True)]
    parts[dist.get_rank()] = x
    return torch.cat(parts)
