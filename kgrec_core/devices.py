"""Who does what where: the process that owns the run folder, and the device on which tensors live. The one place that decides it.

Several processes (`torchrun`, `accelerate launch`) fine-tune together; the main one does all the rest, and alone writes and prints.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kgrec_core.errors import KgrecError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
_CHOSEN: ContextVar[str] = ContextVar("what auto means", default="auto")
PATIENCE = timedelta(days=7)  # how long the others wait for what the main process does alone; torch's own half hour is shorter than a fit


@dataclass
class _Meeting:
    """What processes know of each other once they have met. processes: rank -> process id, of this machine. word: a file that one may take."""

    processes: dict[int, int] = field(default_factory=dict)
    word: str = ""


_MEETING = _Meeting()


def world() -> int:
    """How many processes work together, as their launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def main() -> bool:
    """Whether this process owns the run folder: it takes the lock, asks, tests, publishes and prints."""
    return world() == 1 or os.environ["RANK"] == "0"


def joined() -> None:
    """Meet the other processes, where there are any; to be called before anything that they do together."""
    if world() > 1:
        from accelerate import PartialState

        PartialState(cpu=device().type == "cpu", timeout=PATIENCE)
        import torch.distributed as dist

        if _MEETING.word:
            return
        word = tempfile.mkstemp(prefix="kgrec-word-")[1] if main() else ""
        found: list[tuple[int, str, int, str]] = [(0, "", 0, "")] * world()
        dist.all_gather_object(found, (int(os.environ["RANK"]), socket.gethostname(), os.getpid(), word))
        _MEETING.processes = {rank: process for rank, host, process, _ in found if host == socket.gethostname()}
        _MEETING.word = found[0][3]


def speaks(alone: bool = False) -> bool:
    """Whether this process says for all of them why they end: who takes the word first. Where they have not met yet, the main one, or with
    `alone` any."""
    if not _MEETING.word:
        return alone or main()
    try:
        os.unlink(_MEETING.word)
    except OSError:
        return False
    return True


def gone() -> list[int]:
    """The ranks of the processes of this machine that are no more, of those that had met."""
    return [rank for rank, process in sorted(_MEETING.processes.items()) if not _runs(process)]


def _runs(process: int) -> bool:
    """Not whether a launcher has already heard of its end: until then the system keeps a zombie."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:  # no such file: this system has none, or the process ended a moment ago
        return not Path("/proc/self/stat").exists()


@contextmanager
def parting() -> Iterator[None]:
    """What is to be the last of a process among several: torch is told that it leaves. Where the main one says itself why, nobody else does."""
    try:
        yield
    finally:
        if main() and _MEETING.word:
            speaks()
        if "torch" in sys.modules and (dist := sys.modules["torch"].distributed).is_initialized():
            dist.destroy_process_group()


def lost(error: Exception) -> bool:
    """Whether an error only says that another process is gone."""
    return isinstance(error, RuntimeError) and any(word in f"{type(error).__name__} {error}" for word in ("gloo", "NCCL", "Dist"))


def shared(make: Callable[[], T]) -> T:
    """What the main process makes, for all processes."""
    if world() == 1:
        return make()
    import torch.distributed as dist

    made = [make() if main() else None]
    dist.broadcast_object_list(made)
    return made[0]


@contextmanager
def chosen(wanted: str) -> Iterator[None]:
    """Meanwhile "auto" means this device, to whatever is placed. Raises KgrecError where there is no such device."""
    token = _CHOSEN.set(wanted if wanted == "auto" else str(device(wanted)))
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def device(wanted: str = "auto", who: str = "") -> torch.device:
    """A device by name; "auto": an accelerator where there is one (of several, the one of this process), else the CPU.

    Raises KgrecError where there is no such device; who: the setting that named it.
    """
    import torch

    wanted = _CHOSEN.get() if wanted == "auto" else wanted
    if wanted == "auto":
        if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes"):
            return torch.device("cpu")
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.empty(0, device=wanted).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise KgrecError(f"{who}there is no device {wanted!r} here ({reason}); choose auto, cpu, cuda, cuda:1 or mps") from None


def bf16(kind: str) -> bool:
    """Whether a kind of device computes in bfloat16 itself. torch emulates it elsewhere, on a CPU by far slower than float32."""
    if kind == "cuda":
        import torch

        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return True
    try:
        words = set(Path("/proc/cpuinfo").read_text("utf-8").split())
    except OSError:  # not Linux
        return platform.machine() == "arm64"
    return not words.isdisjoint(("bf16", "amx_bf16", "avx512_bf16"))
