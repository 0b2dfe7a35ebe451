"""A file that is written for somebody: whole or not there, and never in place of what is no file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kgrec_core.errors import KgrecError
from kgrec_core.owners import given

REMEDY = "name another file with --out"


def refuse_place(out: Path, read: Path | None = None, remedy: str = REMEDY) -> None:
    """Raises KgrecError where no file can be put. read: the one that it is made from."""
    try:
        if out.is_dir():
            raise KgrecError(f"{out} is a folder; {remedy}")
        if out.exists() and not out.is_file():  # renaming would take away /dev/null
            raise KgrecError(f"{out} is a pipe or a device, and a file is written whole or not at all; {remedy}")
        if read is not None and out.exists() and read.exists() and out.samefile(read):
            raise KgrecError(f"{out} is the file that is read; {remedy}")
        if not Path(os.path.realpath(out)).parent.is_dir():
            raise KgrecError(f"{out} cannot be written (there is no folder {out.parent}); make it, or {remedy}")
    except (OSError, ValueError) as error:  # a name that is too long, a zero in it
        raise KgrecError(f"{out} cannot be written ({getattr(error, 'strerror', None) or error}); {remedy}") from None


@contextmanager
def output(out: Path, read: Path | None = None, remedy: str = REMEDY) -> Iterator[Path]:
    """Where to write; at the end it takes the place of `out` with its mode, or where something went wrong is gone, and what was there stays.

    A link stays one. Raises KgrecError as `refuse_place` does, and for what the system says.
    """
    refuse_place(out, read, remedy)
    place = Path(os.path.realpath(out))
    part = place.with_name(f"{place.name}.part")
    try:
        yield part
        with open(part, "rb") as written:
            os.fsync(written.fileno())
        given(part, place).replace(place)
    except OSError as error:
        raise KgrecError(f"{out} cannot be written ({error.strerror or error}); {remedy}") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
