"""Nearest vectors by brute force on any device: right by construction, and the oracle for every other index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from kgrec_core import devices
from kgrec_core.errors import damage
from kgrec_core.graph import Graph, Ragged, Task
from kgrec_core.interfaces import Vectors
from kgrec_core.retrieval.delta import Flat, Found, Layered
from kgrec_core.stored import numbers, rows


@dataclass(kw_only=True, eq=False)
class Exact(Layered):
    """Every query against every candidate, by inner product, in blocks; returns exactly min(k, allowed and not excluded).

    device: "cpu", "cuda", "cuda:1", "mps"; "auto" takes an accelerator where there is one. The vectors stay on it: 4 bytes a number.
    """

    device: str = "auto"

    scales = "compares with every candidate and holds 4 bytes a number: 1.5 GB for a million of width 384"

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        whole = self.base_ if self.delta_ is None else self.base_.joined(self.delta_)
        save_file({"rows": torch.from_numpy(whole.rows), "vectors": whole.vectors.cpu().contiguous()}, folder / "vectors.safetensors")

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        with damage(f"{folder}: the vectors of exact are missing, damaged or of another graph", "fit again"):
            parts = load_file(folder / "vectors.safetensors")
            self.rows_ = rows(parts["rows"].numpy(), graph.size(task.relation.target))
            vectors = numbers(parts["vectors"].numpy(), (len(self.rows_), None)).astype(np.float32, copy=False)
        self.stale_ = self.delta_ = None
        self._learn(vectors)

    def _learn(self, vectors: Vectors) -> None:
        self.base_ = Flat(self.rows_, torch.from_numpy(vectors).to(devices.device(self.device, "retrieval exact: ")))

    def _nearest(self, x: Vectors, k: int, mask: NDArray[np.bool_] | None, exclude: Ragged | None) -> Found:
        return self.base_.nearest(x, k, mask, exclude)

    def _stored(self, positions: NDArray[np.int64]) -> Vectors:
        return self.base_.vectors[torch.from_numpy(positions).to(self.base_.vectors.device)].cpu().numpy()
