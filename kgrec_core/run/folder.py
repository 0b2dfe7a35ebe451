"""Run folders: published by a rename, checked by checksums, never half-written."""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kgrec_core.errors import KgrecError
from kgrec_core.owners import given
from kgrec_core.stored import document, inside, walked

FORMAT = 2
MANIFEST = "manifest.json"


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """A working folder beside `folder` that only this process uses. Raises KgrecError where another fit is at it, or it cannot be written."""
    if not folder.name:
        raise KgrecError(f"'{folder}' is no name of a run; choose one such as runs/mine with --run")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(folder.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise KgrecError(f"{folder} cannot be written ({error.strerror or error}); choose another --run") from None
    refuse_other(folder)
    work, file = folder.with_name(f"{folder.name}.partial"), folder.with_name(f"{folder.name}.lock")
    with _locked(file, f"another fit is writing {folder}; wait for it or choose another --run"):
        with _renaming(folder):
            _recover(folder)
        work.mkdir(exist_ok=True)
        given(work)
        try:
            yield work
        except Exception as error:
            # Parquet, safetensors and FAISS each have an exception of their own for it; what they share is that nothing is left.
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or shutil.disk_usage(folder.parent).free < 2**20:
                raise KgrecError(f"{work}: the disk is full; free space, then the same fit goes on where it was ({error})") from error
            with suppress(OSError):  # of a fit that was refused nothing is left
                work.rmdir()
                file.unlink()
            raise
        file.unlink(missing_ok=True)


def refuse_other(folder: Path, remedy: str = "choose another --run or move it away") -> None:
    """Raises KgrecError where something stands that is no run, which publishing would take away."""
    if folder.exists() and (not folder.is_dir() or (not (folder / MANIFEST).exists() and any(folder.iterdir()))):
        raise KgrecError(f"{folder} exists and is no run folder; {remedy}")


def publish(new: Path, folder: Path, manifest: dict[str, Any]) -> None:
    """Seal `new` and put it in place of `folder`."""
    sealed(new, manifest)
    place(new, folder)


def sealed(new: Path, manifest: dict[str, Any]) -> str:
    """Give `new` a manifest with checksums and make it durable; returns the manifest's own checksum."""
    files = sorted(p for p in new.rglob("*") if p.is_file() and p != new / MANIFEST)
    checksums = {str(p.relative_to(new)): checksum(p) for p in files}
    (new / MANIFEST).write_text(json.dumps({"format": FORMAT, **manifest, "files": checksums}, indent=1))
    mode = (new / MANIFEST).stat().st_mode & 0o777  # safetensors writes for the owner alone; a run is read as a whole or not at all
    for path in files:
        path.chmod(mode)
    for path in [new, new / MANIFEST, *(p for p in new.rglob("*") if p.is_dir()), *files]:
        _sync(given(path))
    return checksum(new / MANIFEST)


def place(new: Path, folder: Path) -> None:
    """Put a sealed run in place of `folder` by renaming; those who are reading the old one read it to the end."""
    old = _old(folder)
    with _renaming(folder):
        _set_aside(folder, old)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        _set_aside(folder, old)
    _sync(folder.parent)
    _clear(folder)


@contextmanager
def pinned(folder: Path) -> Iterator[Path]:
    """The run that is in place now, under a path that stays with it while others are published; they leave its files until this is left.

    Raises KgrecError where there is none.
    """
    handle = _open_folder(folder)
    try:
        place = Path(f"/proc/self/fd/{handle}")
        yield place if place.is_dir() else folder
    except KgrecError as error:
        raise KgrecError(str(error).replace(f"/proc/self/fd/{handle}", str(folder))) from error
    finally:
        replaced = _identity(folder) != _identity(handle)
        os.close(handle)
        if replaced:
            _clear(folder)


def verified(folder: Path) -> dict[str, Any]:
    """The manifest of a whole run folder. Raises KgrecError that names what is missing, damaged, foreign or too new."""
    try:
        manifest = document(folder / MANIFEST)
        version, files = int(manifest["format"]), dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        raise KgrecError(f"{folder} is no run folder: its {MANIFEST} is missing or damaged; name the folder that fit wrote") from None
    if version > FORMAT:
        raise KgrecError(f"{folder} was written by a newer kgrec (format {version}, this one reads {FORMAT}); pip install -U kgrec-core")
    if version < FORMAT:
        raise KgrecError(f"{folder} was written by an older kgrec (format {version}, this one reads {FORMAT}); fit again")
    try:
        found = set(walked(folder))
        for name in files:
            inside(folder, name)
    except ValueError as error:
        raise KgrecError(f"{folder} is not as fit wrote it: {error}; restore it from a copy or fit again") from None
    for name, expected in files.items():
        if name not in found:
            raise KgrecError(f"{folder} is damaged: {name} is missing; restore it from a copy or fit again")
        if checksum(folder / name) != expected:
            raise KgrecError(f"{folder} is damaged: {name} is not what fit wrote; restore it from a copy or fit again")
    return manifest


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(file: Path, told: str) -> Iterator[None]:
    """Alone with this lock file, which may be removed while it is held."""
    while True:
        with open(file, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise KgrecError(told) from None
            if _identity(file) == _identity(lock.fileno()):
                yield
                return


@contextmanager
def _renaming(folder: Path) -> Iterator[None]:
    """One at a time publishes or recovers in a place; who waits for this finds a run there or none, not the moment between."""
    handle = os.open(folder.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system that has no locks on folders
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _open_folder(folder: Path) -> int:
    """A handle on the run in place, locked against its removal. Raises KgrecError where there is none."""
    while True:
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            try:
                with _renaming(folder):
                    _recover(folder)
            except OSError as error:
                if folder.parent.is_dir():
                    raise KgrecError(f"{folder}: the run stands in {_old(folder)} and cannot be put back ({error}); rename it") from None
            if folder.is_dir():
                continue
            raise KgrecError(f"there is no run folder {folder}; make one with `kgrec DOMAIN fit --run {folder}`") from None
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)
        if _identity(folder) == _identity(handle):
            return handle
        os.close(handle)


def _identity(place: Path | int) -> tuple[int, int] | None:
    try:
        found = os.stat(place)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _old(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")


def _recover(folder: Path) -> None:
    """Put back what a publish was killed over."""
    if not folder.exists() and _old(folder).exists():
        _old(folder).rename(folder)


def _set_aside(folder: Path, old: Path) -> None:
    """Give a replaced run a name of its own, under which it waits for its last reader."""
    if old.exists():
        old.rename(folder.with_name(f"{folder.name}.gone-{uuid.uuid4().hex}"))


def _clear(folder: Path) -> None:
    """Delete replaced runs that nobody reads."""
    for gone in folder.parent.glob(f"{glob.escape(folder.name)}.gone-*"):
        with suppress(OSError):
            handle = os.open(gone, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(gone, ignore_errors=True)
            finally:
                os.close(handle)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
