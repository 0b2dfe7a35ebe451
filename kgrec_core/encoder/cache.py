"""Vectors on disk by content: the same text under the same weights is never encoded twice, by whichever run.

A folder per fingerprint of the weights holds shards of (hash of text, vector); a shard is written beside and renamed.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

FOLDER = "vectors-2"  # what an earlier version kept in "vectors" may be of weights that had learned meanwhile


def default_folder() -> Path:
    """KGREC_CACHE, or kgrec/ in the user's cache folder."""
    if folder := os.environ.get("KGREC_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kgrec"


class VectorCache:
    """Vectors of texts under one fingerprint."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder / FOLDER / fingerprint

    def get(self, texts: Sequence[str], dim: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(n, dim) float32 vectors, and (n,) which of them were known."""
        vectors, known = np.zeros((len(texts), dim), np.float32), np.zeros(len(texts), bool)
        shards = sorted(self.folder.glob("*.safetensors")) if self.folder.is_dir() else []
        wanted = _hashes(texts) if shards else None
        for shard in shards:
            try:
                stored = load_file(shard)
            except (OSError, SafetensorError):  # a shard that another process removed or a full disk cut short: encode again
                continue
            place = {h: i for i, h in enumerate(map(bytes, stored["hash"]))}
            for i, h in enumerate(wanted):
                if (j := place.get(h)) is not None and not known[i] and stored["vector"].shape[1] == dim:
                    vectors[i], known[i] = stored["vector"][j], True
        return vectors, known

    def put(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Add a shard; a disk that is full or read-only only costs the saving."""
        shard = self.folder / f"{uuid.uuid4().hex}.safetensors"
        beside = shard.with_suffix(".part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            hashes = np.frombuffer(b"".join(_hashes(texts)), np.uint8).reshape(len(texts), 16)
            save_file({"hash": hashes, "vector": np.ascontiguousarray(vectors)}, beside)
            beside.rename(shard)
        except (OSError, SafetensorError):
            with suppress(OSError):
                beside.unlink()


def _hashes(texts: Sequence[str]) -> list[bytes]:
    return [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
