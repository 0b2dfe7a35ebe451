"""What every stage of a fit costs, so that a slow one is found in metrics.json and not with a profiler."""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Progress = Callable[[str, int, int], None]  # what is done, steps done, steps in all


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""


class Stages:
    """`with stages("fine-tuning"):` tells `progress` the name and adds up what the block cost.

    costs: name -> {"seconds": by the wall, "cpu": seconds of all threads and ended child processes, "peak_mb": highest resident memory of the process
    until then, in MiB}; on CUDA also "gpu_mb", the most that torch held there. The stage in which peak_mb grew is the one that needed it. A fit that continues a killed one counts its own part.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress, self.costs = progress, {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.progress(name, 0, 0)
        began = time.monotonic(), _cpu()
        try:
            yield
        finally:
            before = self.costs.get(name, {"seconds": 0.0, "cpu": 0.0})
            spent = {"seconds": time.monotonic() - began[0], "cpu": _cpu() - began[1]}
            self.costs[name] = {key: round(before[key] + value, 2) for key, value in spent.items()} | {"peak_mb": _peak()} | _gpu()

    def seconds(self, *names: str) -> float:
        """What these stages took together; those that were not are nothing."""
        return sum(self.costs[name]["seconds"] for name in names if name in self.costs)


def _cpu() -> float:
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def _gpu() -> dict[str, int]:
    torch = sys.modules.get("torch")
    cuda = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    return {"gpu_mb": torch.cuda.max_memory_allocated() // 2**20} if cuda else {}


def _peak() -> int:
    """Linux tells it of this program alone; getrusage would count the one that started it, too. macOS counts bytes."""
    status = Path("/proc/self/status")
    if status.is_file() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) // 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)
