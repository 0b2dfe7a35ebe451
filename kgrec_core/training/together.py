"""What the processes of one update do together: begin alike, say whether each could do its share, and average their gradients.

In place of DistributedDataParallel, whose hooks wait inside the backward pass for a process that may have run out of memory there. Gradients are
averaged once a pass is over in all, so that one that falls short is no end: all learn of it, and all halve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

T = TypeVar("T")
BUCKET = 2**23  # numbers that are averaged in one go


def several() -> bool:
    """Whether other processes take part in this fit."""
    return dist.is_initialized() and dist.get_world_size() > 1


def begin_alike(module: nn.Module) -> None:
    """What no seed decides is the main process's in all."""
    if several():
        for value in chain(module.parameters(), module.buffers()):
            dist.broadcast(value.data, 0)


def share(make: Callable[[], T], device: torch.device) -> T:
    """This process's share of an update. Raises MemoryError in all processes where one of them has not the memory for its own."""
    if not several():
        return make()
    made, short = None, None
    try:
        made = make()
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        short = error
    told = torch.tensor([short is not None], dtype=torch.uint8, device=device)
    dist.all_reduce(told, dist.ReduceOp.MAX)
    if told.item():
        raise MemoryError("out of memory, in one of several processes") from short
    return made  # type: ignore[return-value]


def average(parameters: Iterable[nn.Parameter]) -> None:
    """The mean of the processes' gradients, in all of them; a weight that no process used keeps none."""
    if not several():
        return
    learning = [p for p in parameters if p.requires_grad]
    if not learning:
        return
    used = torch.tensor([p.grad is not None for p in learning], dtype=torch.uint8, device=learning[0].device)
    dist.all_reduce(used, dist.ReduceOp.MAX)
    bucket: list[torch.Tensor] = []
    for parameter, somewhere in zip(learning, used.tolist(), strict=True):
        if not somewhere:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if bucket and (bucket[0].dtype != parameter.grad.dtype or sum(g.numel() for g in bucket) + parameter.numel() > BUCKET):
            _averaged(bucket)
            bucket = []
        bucket.append(parameter.grad)
    _averaged(bucket)


def _averaged(gradients: list[torch.Tensor]) -> None:
    if gradients:
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was asked for in vain."""
    said = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        word in said for word in ("out of memory", "allocate memory", "not enough memory")
    )
