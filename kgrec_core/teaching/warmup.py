"""`simcse` and `tsdae`: before any label, a language model gets used to the texts that it will be asked about.

[train.objectives.warmup]
use = "simcse"
texts = "questions.txt"      # unlabelled ones, beside the training queries' own

They pay where the texts are unlike those of the model's pretraining and labels are few; a model that was trained on sentence pairs may lose
by them, so they are to be judged on validation, as everything is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn

from kgrec_core.encoder.tower import Tower
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Task, View
from kgrec_core.interfaces import Encoder, Head
from kgrec_core.recipe.ranges import Amount, Positive, Share, Size
from kgrec_core.teaching.unlabelled import joined, texted, texts_of
from kgrec_core.training.objective import Objective, Step
from kgrec_core.training.options import Train

LONGEST = 64  # tokens of a text that are reconstructed


class Warmup(Objective):
    """Texts of the queries, one objective for each kind that has them."""

    part: type[Texts]
    name = ""

    def __init__(self, *, texts: Path | None = None, column: str = "text", epochs: Amount = 1.0, batch: Size = 64) -> None:
        super().__init__()
        self.texts, self.column, self.epochs, self.size = texts, column, epochs, batch

    def prepare(self, view: View, tasks: tuple[Task, ...], heads: Mapping[str, Head], options: Train) -> Sequence[Objective]:
        setting = f"train.objectives.{self.name}"
        more, found = texts_of(self.texts, f"{setting}.texts", self.column) if self.texts else [], []
        for kind in texted(view.graph, tasks):
            graph, further = joined(view.graph, kind, more)
            asked = [view.queries[t.name].nodes.rows for t in tasks if t.relation.source == kind]
            rows = np.concatenate([np.unique(np.concatenate(asked)), further])
            some = graph.gather(kind, rows, "text")["text"].fill_null("").str.len_bytes().to_numpy() > 0
            found.append(self.part(self, graph, kind, rows[some], options.seed))
        if not found:
            raise KgrecError(f"{setting}: no query of this recipe is asked by a text of its own; leave it out")
        return found


class Texts(Objective):
    """Batches of one kind's texts."""

    phase = -1

    def __init__(self, how: Warmup, graph: Graph, kind: str, rows: NDArray[np.int64], seed: int) -> None:
        super().__init__()
        self.nodes, self.epochs, self.size, self.seed = Nodes(graph, kind, rows, "query"), how.epochs, how.size, seed
        self.how = {
            "temperature": getattr(how, "temperature", 0.05),
            "delete": getattr(how, "delete", 0.6),
            "layers": getattr(how, "layers", 1),
        }

    @property
    def batches(self) -> int:
        return max(1, len(self.nodes) // self.size) if len(self.nodes) > 1 else 0

    def drawn(self, number: int) -> Nodes:
        epoch, place = divmod(number, self.batches)
        order = np.random.default_rng([self.seed, epoch, 29]).permutation(len(self.nodes))
        return self.nodes.take(np.sort(order[place * self.size : (place + 1) * self.size]))


class Twice(Texts):
    """A text under two draws of dropout, against the others of the batch."""

    def step(self, number: int) -> Step:
        nodes = self.drawn(number)
        texts = nodes.graph.gather(nodes.kind, nodes.rows, "text")["text"].rank("dense").to_numpy()
        same = (texts[:, None] == texts) & ~np.eye(len(texts), dtype=bool)
        return Step(nodes, nodes, (torch.from_numpy(same),))

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: tuple[torch.Tensor]) -> torch.Tensor:
        q, c = (nn.functional.normalize(x, dim=1) for x in (q, c))
        logits = (q @ c.T / self.how["temperature"]).masked_fill(batch[0], float("-inf"))
        return nn.functional.cross_entropy(logits, torch.arange(len(q), device=q.device))


class Simcse(Warmup):
    """Each text shall be nearest to itself under other dropout (unsupervised SimCSE: Gao, Yao & Chen 2021). It needs a model with dropout.

    texts: unlabelled ones, .txt with one a line or a table with a column for them; column: its name. epochs: passes over all texts;
    batch: texts of an update. temperature: of the softmax.
    """

    part, name = Twice, "simcse"

    def __init__(
        self, *, texts: Path | None = None, column: str = "text", epochs: Amount = 1.0, batch: Size = 64, temperature: Positive = 0.05
    ) -> None:
        super().__init__(texts=texts, column=column, epochs=epochs, batch=batch)
        self.temperature = temperature


class Restored(Texts):
    """A text without most of its words is encoded; a small decoder tells the whole text from that one vector."""

    encodes_candidates = False

    def begin(self, encoder: Encoder) -> None:
        """The decoder reads and writes with the language model's own embeddings. Raises KgrecError where there is none."""
        tower = next((part for part in encoder.modules() if isinstance(part, Tower)), None)
        if tower is None:
            raise KgrecError("train.objectives.tsdae: the encoder has no language model in it; leave it out")
        self.tower = [tower]  # not a part of this module: it learns as a part of the encoder
        width, vector = tower.model[0].auto_model.get_input_embeddings().embedding_dim, encoder.dim
        heads = next(h for h in (8, 4, 2, 1) if width % h == 0)
        torch.manual_seed(self.seed)
        layer = nn.TransformerDecoderLayer(width, heads, 2 * width, dropout=0.1, batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(layer, self.how["layers"], norm=nn.LayerNorm(width))
        self.places, self.read = nn.Embedding(LONGEST, width), nn.Linear(vector, width)
        nn.init.normal_(self.places.weight, std=0.02)
        device = next(encoder.parameters()).device
        for part in (self.decoder, self.places, self.read):
            part.to(device)

    def step(self, number: int) -> Step:
        nodes = self.drawn(number)
        whole = nodes.graph.gather(nodes.kind, nodes.rows, "text")["text"].to_list()
        rng = np.random.default_rng([self.seed, number, 31])
        ids = [f"noisy {i}" for i in range(len(whole))]
        noisy = pl.DataFrame({"id": ids, "text": [_deleted(text, self.how["delete"], rng) for text in whole]})
        graph = nodes.graph.join(Graph({nodes.kind: noisy}))
        rows = graph.rows(nodes.kind, ids)
        self.whole = dict(zip(rows.tolist(), whole, strict=True))
        return Step(replace(nodes, graph=graph, rows=rows), nodes.take(slice(0)), ())

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        """(n, 1) mean negative log likelihood of each text's tokens; the decoder's weights have their gradients here."""
        if x is None:
            return self.read.weight.new_zeros(1, 1)
        (tower,) = self.tower
        tokens = [t[:LONGEST] for t in tower.tokenised([self.whole[row] for row in nodes.rows.tolist()])]
        width = max(map(len, tokens))
        ids, known = np.zeros((len(tokens), width), np.int64), np.zeros((len(tokens), width), bool)
        for i, t in enumerate(tokens):
            ids[i, : len(t)], known[i, : len(t)] = t, True
        ids, known = torch.from_numpy(ids).to(x.device), torch.from_numpy(known).to(x.device)
        words = tower.model[0].auto_model.get_input_embeddings()
        given = words(ids[:, :-1]) + self.places.weight[: width - 1]
        causal = nn.Transformer.generate_square_subsequent_mask(width - 1, device=x.device)
        states = self.decoder(given, self.read(x)[:, None], tgt_mask=causal, tgt_is_causal=True)
        nll = nn.functional.cross_entropy((states @ words.weight.T).transpose(1, 2), ids[:, 1:], reduction="none")
        mask = known[:, 1:]
        return (nll * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: Any) -> torch.Tensor:
        return q.mean() + 0.0 * c.sum()


class Tsdae(Warmup):
    """A text is told again from the vector of what is left when most of its words are deleted (TSDAE: Wang, Reimers & Gurevych 2021).

    texts: unlabelled ones, .txt with one a line or a table with a column for them; column: its name. epochs: passes over all texts;
    batch: texts of an update. delete: share of the words that are left out. layers: of the decoder, which ends with the fit.
    """

    part, name = Restored, "tsdae"

    def __init__(
        self,
        *,
        texts: Path | None = None,
        column: str = "text",
        epochs: Amount = 1.0,
        batch: Size = 32,
        delete: Share = 0.6,
        layers: Size = 1,
    ) -> None:
        super().__init__(texts=texts, column=column, epochs=epochs, batch=batch)
        self.delete, self.layers = delete, layers


def _deleted(text: str, share: float, rng: np.random.Generator) -> str:
    """At least one word stays; of a script without blanks, letters are words."""
    words, glue = (text.split(), " ") if " " in text.strip() else (list(text), "")
    kept = rng.random(len(words)) >= share
    kept[rng.integers(len(words))] = True
    return glue.join(word for word, keep in zip(words, kept, strict=True) if keep)
