"""A run folder, damaged in one place, with checksums that match what it holds now."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
from safetensors.numpy import load_file, save_file

from fuzzing import mutate


def broken(draw: Random, run: Path, place: Path, own: list[str]) -> None:
    """Copy `run` to `place` with one thing changed."""
    shutil.copytree(run, place, copy_function=os.link)
    names = sorted(str(p.relative_to(run)) for p in run.rglob("*") if p.is_file())
    kinds = sorted({Path(name).suffix for name in names})
    ending = draw.choice(kinds)
    name = draw.choice([n for n in names if n.endswith(ending)])
    file, kind = place / name, draw.randrange(30)
    whole = file.read_bytes()
    file.unlink()
    if kind == 0:
        file.symlink_to(draw.choice((own[-1], "/etc/passwd", run / name)))
    elif kind == 1:
        os.mkfifo(file)
    elif kind == 2:
        file.mkdir()
    elif kind > 3:
        file.write_bytes(_changed(draw, name, whole, own))
    _sealed(draw, place, own)


def _changed(draw: Random, name: str, whole: bytes, own: list[str]) -> bytes:
    ending = Path(name).suffix
    if draw.random() < 0.3:
        return mutate.data(draw, whole, own)
    if ending == ".safetensors":
        file = Path(os.environ["KGREC_CACHE"]).with_name(f"tensors-{os.getpid()}")
        file.write_bytes(whole)
        save_file({n: np.ascontiguousarray(a) for n, a in mutate.arrays(draw, load_file(file)).items()}, file)
        return file.read_bytes()
    if ending == ".json":
        return mutate.document(draw, whole, own)
    if ending == ".parquet":
        from io import BytesIO

        out = BytesIO()
        mutate.table(draw, pl.read_parquet(whole)).write_parquet(out)
        return out.getvalue()
    if ending == ".npy":
        from io import BytesIO

        out = BytesIO()
        np.save(out, next(iter(mutate.arrays(draw, {"a": np.load(BytesIO(whole))}).values()), np.zeros(0)))
        return out.getvalue()
    if ending == ".txt":
        words = whole.decode().split(" ")
        for _ in range(draw.choice((1, 3))):
            words[draw.randrange(len(words))] = str(draw.choice(mutate.NUMBERS))
        return " ".join(words).encode()
    if ending == ".faiss":
        out = bytearray(whole)
        at = draw.randrange(0, min(len(out), 200) - 8)
        out[at : at + draw.choice((1, 4, 8))] = draw.randbytes(4)
        return bytes(out)
    return mutate.data(draw, whole, own)


def _sealed(draw: Random, place: Path, own: list[str]) -> None:
    """Checksums as they are now, in the manifest and beside an index; seldom the manifest itself is changed."""
    for index in place.rglob("index.json"):
        if not index.is_file() or not index.with_name("index.faiss").is_file():
            continue  # a pipe would be waited for
        try:
            told = json.loads(index.read_bytes())
            told["sha256"] = hashlib.sha256(index.with_name("index.faiss").read_bytes()).hexdigest()
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            continue
        index.unlink()
        index.write_text(json.dumps(told))
    manifest = place / "manifest.json"
    if not manifest.is_file() or manifest.is_symlink():
        return
    try:
        told = json.loads(manifest.read_bytes())
        told["files"] = {
            str(p.relative_to(place)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(place.rglob("*"))
            if p.is_file() and p != manifest
        }
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return
    if draw.random() < 0.05:
        told = mutate.tree(draw, told, own)
    manifest.unlink()
    manifest.write_text(json.dumps(told))
