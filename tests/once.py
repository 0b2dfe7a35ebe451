"""What costs much is made once in a session, by the first of pytest's workers that needs it, and read by all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny


def once(places: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder that `make(folder)` fills, which no test edits; another worker waits for it, and makes it itself where that failed."""
    base = places.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made := Path(f"{folder}.made")).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


def minilm(places: pytest.TempPathFactory) -> str:
    """The folder of a pretrained model that is quick to load, and knows what words mean."""
    return str(once(places, "minilm", lambda folder: tiny.minilm(folder / "model")) / "model")
