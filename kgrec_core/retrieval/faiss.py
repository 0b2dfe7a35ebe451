"""Nearest vectors by a FAISS index that is set to the recall asked, on the user's own vectors.

FAISS answers what its index finds: fewer than k behind a filter, and at a recall that depends on the data. This channel adds
what a recommender needs: the index chosen with a reason, its search setting calibrated, k guaranteed, edits without a rebuild.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from kgrec_core import devices
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Ragged, Task
from kgrec_core.interfaces import Vectors
from kgrec_core.recipe.ranges import Amount, Fraction
from kgrec_core.retrieval.delta import Flat, Found, Layered, merged, none
from kgrec_core.retrieval.index import Setting, below, calibrated, choose, described, filled, knob, library, parameters, plain
from kgrec_core.retrieval.opening import opened
from kgrec_core.stored import document, numbers, rows

SUBSET = 20_000  # an allowed set this small is searched exactly: faster than a filtered index, and right
BLAS = 20  # from this many queries on, FAISS multiplies matrices, but not behind a selector
GPU_K = 2048  # the most hits a GPU index gives


@dataclass(kw_only=True, eq=False)
class Faiss(Layered):
    """Inner-product search in any FAISS index; returns exactly min(k, allowed and not excluded), by brute force where it must.

    index: an index_factory string ("Flat", "IVF1024,Flat", "HNSW32", "OPQ48,IVF1024,PQ48"), or "auto": Flat up to 50,000
        candidates, above them IVF + RaBitQ with refinement, as precise as memory allows, or Flat again where vectors have no clusters.
    recall: the asked recall@10 against Flat, measured with stored vectors as queries. nprobe, efSearch and k_factor are set to it.
    memory: GiB that "auto" may fill; 0 = a quarter of the machine's (of the GPU's).
    device: "cpu", "gpu", or "auto": the GPU if this faiss has one and it takes the index. Filtered searches run on the CPU.

    `reason_` says in a sentence what was chosen and what it reached. Searches change nothing: threads may share the index.
    RaBitQ: Gao & Long 2024, arXiv:2405.12497. FAISS: Douze et al. 2024, arXiv:2401.08281.
    """

    index: str = "auto"
    recall: Fraction = 0.98
    memory: Amount = 0.0
    device: Literal["auto", "cpu", "gpu"] = "auto"

    scales = "above 50,000 candidates reads a small part of an index, as large as `memory` lets it be"

    def save(self, folder: Path) -> None:
        """`index.faiss`, a standard file; rows and delta; `index.json` with the setting, the reason and the file's SHA-256."""
        folder.mkdir(parents=True, exist_ok=True)
        library().write_index(self.index_, str(folder / "index.faiss"))
        arrays = {"rows": self.rows_}
        if self.delta_ is not None:
            arrays |= {"delta.rows": self.delta_.rows, "delta.vectors": self.delta_.vectors.numpy()}
        save_file(arrays, folder / "rows.safetensors")
        told = {"setting": self.setting_._asdict(), "reason": self.reason_, "sha256": _sha256(folder / "index.faiss")}
        (folder / "index.json").write_text(json.dumps(told, indent=1), encoding="utf-8")

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        size = graph.size(task.relation.target)
        try:
            told, arrays = document(folder / "index.json"), load_file(folder / "rows.safetensors")
            self.rows_, self.reason_ = rows(arrays["rows"], size), str(told["reason"])
            effort, factor, recall, filters = (told["setting"][name] for name in Setting._fields)
            self.setting_ = Setting(int(effort), int(factor), float(recall), bool(filters))
            if not (0 <= effort <= 2**31 and 1 <= factor <= 2**10):
                raise ValueError(f"an index is not searched with {told['setting']}")
            if _sha256(folder / "index.faiss") != told["sha256"]:
                raise ValueError("index.faiss is not the file that was written")
            read = "faiss", told["sha256"], len(self.rows_)  # two channels of the same vectors share their index: a switch has such
            self.index_ = graph.memo.get(read, (), lambda: opened(folder / "index.faiss", len(self.rows_)))
            self.delta_ = None
            if "delta.rows" in arrays:
                later = rows(arrays["delta.rows"], size)
                vectors = numbers(arrays["delta.vectors"], (len(later), self.index_.d)).astype(np.float32, copy=False)
                self.delta_ = Flat(later, torch.from_numpy(vectors))
        except (OSError, SafetensorError, ValueError, LookupError, TypeError, RuntimeError, OverflowError) as error:
            raise KgrecError(f"{folder}: the faiss index is missing, damaged or of another graph ({plain(error)}); fit again") from None
        self.stale_ = None if self.delta_ is None else np.isin(self.rows_, self.delta_.rows)
        self._place()

    # --- build --------------------------------------------------------------------------------------------------------
    def _learn(self, vectors: Vectors) -> None:
        if not 0 < self.recall <= 1:
            raise KgrecError(f"faiss: recall is {self.recall}; it is a share, above 0 and at most 1, e.g. 0.98")
        auto, gpu, room = self.index == "auto", self._gpus() > 0, self._room()
        name, why = choose(*vectors.shape, room, gpu) if auto else (self.index, "as asked")
        self.index_ = filled(name, vectors)
        self.setting_ = calibrated(name, self.index_, vectors, self.recall)
        effort, (knobs, most) = self.setting_.effort, knob(self.index_)
        if auto and knobs == "nprobe" and 2 * effort > most and vectors.nbytes <= room:
            why = f"{len(vectors):,} candidates hardly cluster ({name} would read {effort} of {most} lists), so exact search is as fast"
            name, self.index_, self.setting_ = "Flat", filled("Flat", vectors), Setting()
        self.reason_ = f"{name}: {why}; {described(self.index_, self.setting_, self.recall)}"
        self._place()

    def _gpus(self) -> int:
        here = "cpu" if self.device == "auto" and devices.device().type == "cpu" else self.device
        return 0 if here == "cpu" else library().get_num_gpus()

    def _room(self) -> float:
        """Bytes that the index may take."""
        if self.memory:
            return self.memory * 2**30
        if self._gpus() and torch.cuda.is_available():
            return torch.cuda.mem_get_info()[1] / 4
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 4 if hasattr(os, "sysconf") else 2**30

    def _place(self) -> None:
        """Copy the index to the GPU where it is asked for or found; the CPU keeps the one that filters and is saved."""
        faiss, self.gpu_, self.lock_ = library(), None, Lock()
        if not self._gpus():
            if self.device == "gpu":
                raise KgrecError('faiss: device is "gpu", but this faiss sees none; pip install "kgrec-core[gpu]", or set device = "auto"')
            return
        try:
            self.resources_ = faiss.StandardGpuResources()
            self.gpu_ = faiss.index_cpu_to_gpu(self.resources_, devices.device().index or 0, self.index_)
        except RuntimeError as error:
            if self.device == "gpu":
                raise KgrecError(
                    f'faiss: the GPU does not take this index ({plain(error)}); choose Flat or "IVF4096,SQfp16", or device = "cpu"'
                ) from None

    # --- search -------------------------------------------------------------------------------------------------------
    def _nearest(self, x: Vectors, k: int, mask: NDArray[np.bool_] | None, exclude: Ragged | None) -> Found:
        if exclude is None:
            return self._fetch(x, k, mask)
        found, best = none(len(x), k)
        wanted = k + 2 ** np.ceil(np.log2(np.maximum(exclude.counts, 1))).astype(np.int64) * (exclude.counts > 0)
        for width in np.unique(wanted):  # few widths: a long history makes its own query dear, not the whole batch
            at = np.flatnonzero(wanted == width)
            rows, scores = self._fetch(x[at], int(width), mask)
            gone = exclude.take(at)
            base = max(rows.max(initial=0), gone.rows.max(initial=0)) + 2
            out = np.isin(np.arange(len(at))[:, None] * base + rows + 1, gone.owner * base + gone.rows + 1)
            order = np.argsort(out | (rows < 0), axis=1, kind="stable")[:, :k]
            rows, scores, out = (np.take_along_axis(a, order, 1) for a in (rows, scores, out))
            found[at], best[at] = np.where(out, -1, rows), np.where(out, -np.inf, scores)
        return found, best

    def _fetch(self, x: Vectors, k: int, mask: NDArray[np.bool_] | None) -> Found:
        """Exactly the best min(k, open): from the index, then by brute force where it fell short."""
        n = len(self.rows_) if mask is None else int(np.count_nonzero(mask))
        width, flat = int(min(k, n)), isinstance(self.index_, library().IndexFlat)
        if not width or not len(x):
            return none(len(x), k)
        if mask is not None and (not self.setting_.filters or (n <= SUBSET and not flat) or (flat and len(x) >= BLAS)):
            at, scores = self._brute(x, width, mask)
        else:
            at, scores = self._search(x, width, mask)
            short = at[:, -1] < 0
            if short.any():
                at[short], scores[short] = self._brute(x[short], width, mask)
        rows = self.rows_[at]
        if width == k:
            return rows, scores
        found, best = none(len(x), k)
        found[:, :width], best[:, :width] = rows, scores
        return found, best

    def _search(self, x: Vectors, k: int, mask: NDArray[np.bool_] | None, setting: Setting | None = None) -> Found:
        """What the index finds; positions, -1 where it falls short."""
        setting = setting or self.setting_
        if mask is None and self.gpu_ is not None and k <= GPU_K:
            with self.lock_:  # a GPU index serves one search at a time
                scores, at = self.gpu_.search(x, k, params=parameters(self.index_, setting))
        else:
            selector = None if mask is None else library().IDSelectorBitmap(np.packbits(mask, bitorder="little"))
            scores, at = self.index_.search(x, k, params=parameters(self.index_, setting, selector))
        return at, scores

    def _brute(self, x: Vectors, k: int, mask: NDArray[np.bool_] | None) -> Found:
        """The best k open positions by the stored vectors."""
        faiss, found = library(), none(len(x), k)
        inner = below(self.index_, refined=False)
        if isinstance(inner, (faiss.IndexIVFRaBitQ, faiss.IndexIVFRaBitQFastScan)):  # compares better than it gives vectors back
            return self._search(x, k, mask, self.setting_._replace(effort=inner.nlist))
        positions = np.arange(len(self.rows_)) if mask is None else np.flatnonzero(mask)
        for start in range(0, len(positions), 2**16):
            part = positions[start : start + 2**16]
            scores, at = faiss.knn(x, self._stored(part), min(k, len(part)), metric=faiss.METRIC_INNER_PRODUCT)
            found = merged(found, (part[at], scores), k)
        return found

    def _stored(self, positions: NDArray[np.int64]) -> Vectors:
        return self.index_.reconstruct_batch(positions) if len(positions) else np.zeros((0, self.index_.d), np.float32)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
