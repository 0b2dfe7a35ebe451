"""A file that grows, is renamed or cut by whoever writes it, as whole lines with a position that a restart finds again.

A position is the file (a fingerprint of its first bytes, since its name may have gone to another by then) and the byte behind the last
line that was read. A line without its end is waited for. When the file at the path has become another, the old one is read to its end
first, and then those that came between (PATH.1, PATH.2, ... by the time of their last change).
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

from kgrec_core import KgrecError
from kgrec_core.domain import opened, readable, refuse_foreign

log = logging.getLogger("kgrec")
HEAD, BLOCK = 1024, 1 << 18


class Position(NamedTuple):
    """at: byte behind what was read. head: how many first bytes the fingerprint is of; a longer file begins with the same."""

    at: int = 0
    head: int = 0
    fingerprint: str = ""


class Line(NamedTuple):
    """data without its end; whole: it had one. after: the position behind it. torn: its file is over, the rest will not come.
    cut: only the first bytes of a line that is longer than allowed."""

    data: bytes
    start: int
    after: Position
    whole: bool = True
    torn: bool = False
    cut: bool = False


def lines(
    source: str | Path, position: Position | None, *, wait: bool, poll: float, longest: int, stop: Callable[[], bool] = lambda: False
) -> Iterator[Line]:
    """The lines from the position on. wait: go on when the file ends, looking every `poll` seconds until `stop()`.

    A last line without an end is given where its file is over, or where nobody waits; it is not `whole` then. A packed file (.gz)
    does not grow.
    longest: bytes of a line that are kept. Raises KgrecError where there is no such file, or what is no text that can be read in place.
    """
    if str(source) == "-":
        yield from through(sys.stdin.buffer, Position(), longest, over=lambda: True, wait=lambda: False, rest=True)
        return
    path = Path(source)
    with readable(path):
        yield from _grown(path, position or Position(), wait, poll, longest, stop)


def _grown(path: Path, position: Position, wait: bool, poll: float, longest: int, stop: Callable[[], bool]) -> Iterator[Line]:
    file, start = _resume(path, position)
    while True:
        with file:
            name = file.name if isinstance(file.name, str) else ""
            packed = name.endswith(".gz")
            over = lambda file=file, packed=packed: packed or not _current(path, file)  # noqa: E731
            going_on = lambda packed=packed: wait and not packed and pause(poll, stop)  # noqa: E731
            yield from through(file, start, longest, over, going_on, rest=not wait)
            following = _next(path, file)
        if following is None:
            return
        file, start = following, Position()


def through(
    file: BinaryIO, start: Position, longest: int, over: Callable[[], bool], wait: Callable[[], bool], rest: bool
) -> Iterator[Line]:
    """Lines until the file is over and read, or `wait()` says no. rest: then give a last line without its end, too."""
    head = b""
    if start.head:
        file.seek(0)
        head = file.read(start.head)
    if start.at or start.head:
        file.seek(start.at)
    size, begin, kept, lost = start.at, start.at, b"", 0
    while True:
        ended = over()  # asked before reading: what was written before the change is still read
        block = file.read1(BLOCK) if hasattr(file, "read1") else file.read(BLOCK)
        if not block:
            if ended or not wait():
                break
            if not _same(file, head, size):
                log.warning("%s was written anew; it is read from its start again", getattr(file, "name", "feed"))
                if kept:
                    yield Line(kept, begin, Position(), False, True, lost > 0)
                file.seek(0)
                size, begin, kept, lost, head = 0, 0, b"", 0, b""
            continue
        if len(head) < HEAD and size == len(head):
            head += block[: HEAD - len(head)]
        size += len(block)
        *ends, tail = (kept + block).split(b"\n")
        for data in ends:
            length = len(data) + lost
            yield Line(data[:longest].rstrip(b"\r"), begin, _position(begin + length + 1, head), cut=length > longest)
            begin, lost = begin + length + 1, 0
        kept, lost = tail[:longest], lost + max(len(tail) - longest, 0)
    if (kept or lost) and (rest or ended):
        yield Line(kept.rstrip(b"\r"), begin, _position(begin + len(kept) + lost, head), False, ended, lost > 0)


def _position(at: int, head: bytes) -> Position:
    first = head[: min(at, HEAD)]
    return Position(at, len(first), blake2b(first, digest_size=8).hexdigest())


def _is(file: BinaryIO, position: Position) -> bool:
    """Whether the file begins as the position's and reaches as far."""
    file.seek(0)
    first = file.read(position.head)
    if len(first) < position.head or (position.head and blake2b(first, digest_size=8).hexdigest() != position.fingerprint):
        return False
    file.seek(max(position.at - 1, 0))
    return position.at == 0 or len(file.read(1)) == 1


def _resume(path: Path, position: Position) -> tuple[BinaryIO, Position]:
    if path.exists() and not path.is_file():  # neither has a byte to go on from
        what = (
            "a folder; name a file in it" if path.is_dir() else f"no file but a pipe or a device; read it from standard input: - < {path}"
        )
        raise KgrecError(f"feed: {path} is {what}")
    if path.is_file():
        refuse_foreign(path)
    for candidate in (path, *reversed(_older(path))):
        try:
            file = opened(candidate)
        except FileNotFoundError:
            continue
        if _is(file, position):
            file.seek(0)
            return file, position
        file.close()
    if not path.is_file():
        raise KgrecError(f"feed: there is no file {path}; name one that is or will be written to, or - for standard input")
    log.warning("%s is not the file that was read up to byte %s, nor is one beside it; it is read from its start", path.name, position.at)
    return opened(path), Position()


def _older(path: Path) -> list[Path]:
    """Files that once had this name, the oldest first."""
    found = [p for p in path.parent.glob(f"{path.name}.*") if p.is_file() and p.suffix[1:].isdigit()]
    return sorted(found, key=lambda p: (p.stat().st_mtime_ns, -int(p.suffix[1:])))


def _identity(path_or_file: Path | BinaryIO) -> tuple[int, int] | None:
    try:
        stat = path_or_file.stat() if isinstance(path_or_file, Path) else os.fstat(path_or_file.fileno())
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


def _current(path: Path, file: BinaryIO) -> bool:
    """Whether the path still (or no longer, but not yet another file either) names this file."""
    mine, there = _identity(file), _identity(path)
    return there is None or there == mine


def _next(path: Path, file: BinaryIO) -> BinaryIO | None:
    """The file that was written after this one; None where this is the one at the path."""
    mine = _identity(file)
    if mine == _identity(path) or not path.is_file():
        return None
    chain = [*_older(path), path]
    known = [_identity(candidate) for candidate in chain]
    return opened(chain[known.index(mine) + 1] if mine in known else path)


def _same(file: BinaryIO, head: bytes, size: int) -> bool:
    """Whether the file still begins as it did and reaches as far; reading goes on at `size`."""
    file.seek(0)
    same = file.read(len(head)) == head and os.fstat(file.fileno()).st_size >= size
    file.seek(size)
    return same


def pause(poll: float, stop: Callable[[], bool]) -> bool:
    """Wait for so many seconds; False where it is to end."""
    if stop():
        return False
    time.sleep(poll)
    return not stop()
