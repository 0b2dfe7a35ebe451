"""Run folders: published by a rename, checked by checksums, never half-written; a graph as Parquet files."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Relation

FORMAT = 2
MANIFEST = "manifest.json"


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """A working folder beside `folder` that only this process uses. Raises KgrecError where another fit is at it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and (not folder.is_dir() or (not (folder / MANIFEST).exists() and any(folder.iterdir()))):
        raise KgrecError(f"{folder} exists and is no run folder; choose another --run or move it away")
    work = folder.with_name(f"{folder.name}.partial")
    with open(folder.with_name(f"{folder.name}.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KgrecError(f"another fit is writing {folder}; wait for it or choose another --run") from None
        _recover(folder)
        work.mkdir(exist_ok=True)
        try:
            yield work
        except Exception as error:
            # Parquet, safetensors and FAISS each have an exception of their own for it; what they share is that nothing is left.
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or shutil.disk_usage(work).free < 2**20:
                raise KgrecError(f"{work}: the disk is full; free space, then the same fit goes on where it was ({error})") from error
            raise
        Path(lock.name).unlink(missing_ok=True)


def publish(new: Path, folder: Path, manifest: dict[str, Any]) -> None:
    """Give `new` a manifest with checksums, make it durable, and put it in place of `folder` by renaming."""
    files = sorted(p for p in new.rglob("*") if p.is_file())
    checksums = {str(p.relative_to(new)): checksum(p) for p in files}
    (new / MANIFEST).write_text(json.dumps({"format": FORMAT, **manifest, "files": checksums}, indent=1))
    for path in [*files, new / MANIFEST, *(p for p in new.rglob("*") if p.is_dir()), new]:
        _sync(path)
    old = _old(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def verified(folder: Path) -> dict[str, Any]:
    """The manifest of a whole run folder. Raises KgrecError that names what is missing, damaged, foreign or too new."""
    if not folder.exists() and _old(folder).exists():  # killed between the two renames of a publish
        _recover(folder)
    if not folder.is_dir():
        raise KgrecError(f"there is no run folder {folder}; make one with `kgrec DOMAIN fit --run {folder}`")
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        version, files = manifest["format"], manifest["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise KgrecError(f"{folder} is no run folder: its {MANIFEST} is missing or damaged; name the folder that fit wrote") from None
    if version > FORMAT:
        raise KgrecError(f"{folder} was written by a newer kgrec (format {version}, this one reads {FORMAT}); pip install -U kgrec-core")
    if version < FORMAT:
        raise KgrecError(f"{folder} was written by an older kgrec (format {version}, this one reads {FORMAT}); fit again")
    for name, expected in files.items():
        if not (folder / name).is_file():
            raise KgrecError(f"{folder} is damaged: {name} is missing; restore it from a copy or fit again")
        if checksum(folder / name) != expected:
            raise KgrecError(f"{folder} is damaged: {name} is not what fit wrote; restore it from a copy or fit again")
    return manifest


def checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(graph: Graph) -> str:
    """A hash of all that a graph holds."""
    digest = hashlib.sha256()
    for name, table in [*graph.entities.items(), *((str(r), t) for r, t in graph.relations.items())]:
        digest.update(name.encode() + ipc(table.rechunk()))
    return digest.hexdigest()


def save_graph(graph: Graph, folder: Path) -> None:
    """Parquet files and graph.json, which says which is which."""
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {"entities": {}, "relations": []}
    for number, (kind, table) in enumerate(graph.entities.items()):
        index["entities"][kind] = f"entities-{number}.parquet"
        table.write_parquet(folder / index["entities"][kind])
    for number, (relation, table) in enumerate(graph.relations.items()):
        file = f"relations-{number}.parquet"
        index["relations"].append({"relation": list(relation), "file": file, "timeless": relation in graph.timeless})
        table.write_parquet(folder / file)
    (folder / "graph.json").write_text(json.dumps(index, indent=1))


def load_graph(folder: Path) -> Graph:
    index = json.loads((folder / "graph.json").read_text())
    entities = {kind: pl.read_parquet(folder / file) for kind, file in index["entities"].items()}
    relations = {Relation(*r["relation"]): pl.read_parquet(folder / r["file"]) for r in index["relations"]}
    return Graph(entities, relations, frozenset(Relation(*r["relation"]) for r in index["relations"] if r["timeless"]))


def ipc(table: pl.DataFrame) -> bytes:
    """A table as Arrow IPC bytes."""
    buffer = BytesIO()
    table.write_ipc(buffer)
    return buffer.getvalue()


def _old(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")


def _recover(folder: Path) -> None:
    if not folder.exists() and _old(folder).exists():
        _old(folder).rename(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
