"""What is made beside a run belongs to whom its folder belongs, also where root makes it in a terminal: a service runs as a user of its own,
and would be shut out of its keys, or take no edits any more."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def given(new: Path, place: Path | None = None) -> Path:
    """`new` with the mode of what it is to replace; of root's it goes to the owner of that, else of the folder that it is in."""
    with suppress(OSError):  # a file system that has no owners
        before = place if place is not None and place.exists() else None
        found = (before or new.parent).stat()
        if before:
            os.chmod(new, found.st_mode & 0o777)
        if os.geteuid() == 0:
            os.chown(new, found.st_uid, found.st_gid)
    return new


def made(file: Path) -> Path:
    """`file`, which is opened next, and its folder, where they are missing. Raises OSError where that cannot be made."""
    if not file.parent.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        given(file.parent)
    if os.geteuid() == 0 and not file.exists():
        with suppress(OSError):  # whoever opens it is told
            file.touch()
            given(file)
    return file
