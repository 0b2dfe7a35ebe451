"""Lines at the end of a file that several processes write: logs, judgements, what was seen."""

from __future__ import annotations

import os
from pathlib import Path


def append(file: Path, line: str, sync: bool = True) -> None:
    """Write a line in one piece, readable to its owner alone; with `sync` it is on the disk when this returns.

    A line that a crash cut off before stays a dead one of its own, and does not swallow this one. Raises OSError, also where only a part
    of the line found room.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    new = not file.exists()
    handle = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        body = (b"\n" if torn else b"") + line.encode() + b"\n"
        if os.write(handle, body) != len(body):
            raise OSError("the disk is full")
        if sync:
            os.fsync(handle)
    finally:
        os.close(handle)
    if new and sync:
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
