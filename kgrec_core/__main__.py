"""`python -m kgrec_core WORDS` is `kgrec WORDS`; it is also what launchers start, to fine-tune on several devices:

torchrun --nproc-per-node 2 -m kgrec_core -- ecommerce fit --run runs/shop
accelerate launch --multi_gpu --num_processes 2 -m kgrec_core -- ecommerce fit --run runs/shop
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import redirect_stderr, redirect_stdout

from kgrec_core import devices
from kgrec_core.cli.main import main
from kgrec_core.errors import KgrecError

FITTING = {"fit", "demo"}  # words that several processes do together; any other is done by the main process
GRACE = 20.0  # seconds in which a launcher notices a process that failed and ends the others, so that one failure is told once


def together(words: list[str]) -> int:
    """The exit code of one of several processes. Only the main one prints, unless another fails alone."""
    signal.signal(signal.SIGTERM, _ended)
    if devices.main():
        try:
            main(words, prog_name="kgrec")
        except Exception as error:
            if not devices.lost(error):
                raise
            return _failed("another process ended before the fit did")
    elif FITTING & set(words[:2]):
        try:
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
                main(words, prog_name="kgrec", standalone_mode=False)
        except Exception as error:
            kind = "" if isinstance(error, KgrecError) else f"{type(error).__name__}: "
            return _failed("the main process ended" if devices.lost(error) else " ".join(f"{kind}{error}".split()))
    return 0


def _ended(number: int, frame: object) -> None:
    """A launcher ends the others where a process was killed: one of those that are left says which."""
    if devices.speaks():
        gone = ", ".join(map(str, devices.gone()))
        who = f"process {gone} was killed or ended" if gone else "ended by the launcher, as it does when another process is lost"
        print(f"error: {who}; the same command goes on from the last checkpoint", file=sys.__stderr__, flush=True)
    if devices.main():
        sys.exit(1)
    os._exit(1)  # it has nothing to put away, and SystemExit, raised while a component is imported, is told as that component's mistake


def _failed(reason: str) -> int:
    time.sleep(GRACE)
    if devices.speaks(alone=True):
        print(f"error: process {os.environ['RANK']}: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    words = sys.argv[2:] if sys.argv[1:2] == ["--"] else sys.argv[1:]
    if devices.world() == 1:
        main(words, prog_name="kgrec")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    with devices.parting():
        sys.exit(together(words))
