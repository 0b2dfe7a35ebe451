"""`sequence`: around any encoder of items; who met what tells which items go together, and in what order and how lately counts.

[encoder]
use = "sequence"
[encoder.items]
use = "text"
model = "sentence-transformers/all-MiniLM-L6-v2"
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence as List

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import nn

from kgrec_core.encoder.kept import still
from kgrec_core.encoder.met import Met, bucket, read
from kgrec_core.encoder.reading import Reading
from kgrec_core.encoder.squares import Squares
from kgrec_core.encoder.whitening import Whitening
from kgrec_core.graph import DAY, Graph, Nodes, Relation, Task
from kgrec_core.graph.clock import fading
from kgrec_core.interfaces import Encoder
from kgrec_core.recipe.ranges import Amount, Count, Dropout, Share, Size

STEP = 0.1  # of the transformer's last layer: what it adds grows no faster than what the closed form gave
GAPS, PLACES = 24, 32  # buckets of days since, and of steps back, both finer where they are small


class Sequence(Reading):
    """Vectors of two parts, and scores the sum of theirs: likeness of what the items are, and what goes together by behaviour.

    Likeness: the items' vectors whitened (see `Whitening`); of a query the mean of what it met, by learned weights of days and steps
    back, and its own text. Behaviour: an item's vector of its own where it was met in training, else what an adapter makes of its
    likeness; of a query the vector that least squares give for its whole history, and what a transformer over the latest targets adds.

    What is learned in closed form when prepared (the whitening; vectors of items by alternating least squares, Hu, Koren & Volinsky
    2008; the adapter by ridge regression on them) is where gradients start from: the transformer's last layer is zero. Each query is
    read by itself, and through what `Nodes.read` lets it know. (Self-attention: SASRec, Kang & McAuley 2018; text beside ids left out
    at random: DropoutNet, Volkovs et al. 2017.)

    items: the encoder of what is met; where it does not learn, it is read from a table, so that an update costs milliseconds.
    width: of the behaviour's part; 0 = likeness alone. likeness: its weight beside it. own: share of a query's own text in its likeness.
    last, layers, heads: targets and size of the transformer; 0 layers = none. dropout: in it. ids: share of items that are without a
    vector of their own while training, so that the adapter learns for those that will come.
    confidence, l2, frequency, rounds, half_life: of the least squares, see `Squares`; half_life: days, where there is a clock.
    """

    file = "sequence"

    def __init__(
        self,
        *,
        items: Encoder,
        width: Count = 128,
        likeness: Amount = 0.3,
        own: Share = 0.5,
        last: Count = 50,
        layers: Count = 1,
        heads: Size = 4,
        dropout: Dropout = 0.2,
        ids: Amount = 0.1,
        confidence: Amount = 3.0,
        l2: Amount = 1.0,
        frequency: Amount = 0.25,
        rounds: Count = 5,
        half_life: Amount = 90.0,
    ) -> None:
        super().__init__(items, own)
        self.width, self.likeness, self.last, self.layers, self.heads = width, likeness, last, layers, heads
        self.dropout, self.ids, self.rounds, self.half_life = dropout, ids, rounds, half_life
        self.confidence, self.l2, self.frequency = confidence, l2, frequency

    def without_language_model(self) -> Encoder | None:
        items = self.items.without_language_model()
        if items is None or items is self.items:
            return self if items is not None else None
        names = [name for name in inspect.signature(Sequence).parameters if name != "items"]
        return Sequence(items=items, **{name: getattr(self, name) for name in names})

    # --- the contract -----------------------------------------------------------------------------------------------
    @property
    def kept(self) -> int:
        return self.white_.dim

    @property
    def dim(self) -> int:
        return self.kept + self.width

    def prepare(self, graph: Graph, tasks: List[Task]) -> None:
        super().prepare(graph, tasks)
        self.items.refresh(graph)
        with still(self):
            items = [self._said(graph, kind, np.arange(graph.size(kind))) for kind in self.kinds_]
            self.white_ = Whitening.learned(torch.cat(items))
            alike = torch.cat([self._told(vectors) for vectors in items]).numpy()
        sizes = [graph.size(kind) for kind in self.kinds_]
        x = sp.vstack([self._chosen(graph, kind, rs, sizes) for kind, rs in self.read_.items()], "csr")
        met = np.bincount(x.indices, minlength=x.shape[1]) > 0
        factors = self._squares().factors(x, self.width, self.rounds, 0) if self.width else np.zeros((len(met), 0), np.float32)
        ridge = alike[met].T @ alike[met] + np.eye(self.kept, dtype=np.float32)
        adapter = np.linalg.solve(ridge, alike[met].T @ factors[met])
        rest = (factors - alike @ adapter) * met[:, None]
        self._size(sizes, *(torch.from_numpy(np.asarray(v, np.float32)) for v in (adapter, rest, factors)), torch.from_numpy(met))

    def forward(self, nodes: Nodes) -> torch.Tensor:
        if nodes.side == "candidate" or nodes.kind not in self.read_:
            alike = self._alike(nodes)
            return torch.cat([alike, self._behaviour(nodes.kind, nodes.rows, alike)], 1)
        own = torch.zeros(len(nodes), self.kept, device=self.own_.device)
        if "text" in nodes.graph.columns(nodes.kind):
            own = self._told(self.items(nodes))
        relations = [r for r in self.read_[nodes.kind] if r in nodes.graph.relations and r.target in self.told_]
        met = read(nodes, relations, self.kinds_)
        alike, behaviour, entry = self._distinct(nodes.graph, met)
        late = met.place < self.last
        seen, added = self._latest(met.where(late), alike, behaviour, entry[late], len(nodes))
        said, known = own.detach().any(1), seen.detach().any(1)
        share = torch.where(said & known, self.own_, said.float())[:, None]
        like = nn.functional.normalize(share * own + (1 - share) * seen, dim=1)
        return torch.cat([self.weight_ * like, self._solved(met, behaviour, entry, len(nodes)) + added], 1)

    def train(self, mode: bool = True) -> Sequence:
        """As usual, but the items stay what they are when served: whitened together, none of a fusion may be silent."""
        super().train(mode)
        self.items.eval()
        return self

    # --- how --------------------------------------------------------------------------------------------------------
    def _size(self, sizes: List[int], adapter: torch.Tensor, ids: torch.Tensor, factors: torch.Tensor, met: torch.Tensor) -> None:
        """Weights that start from the closed form; what histories are solved by stays as it was."""
        width = self.width
        self.starts_ = np.cumsum([0, *sizes])
        self.adapter_, self.ids_ = nn.Parameter(adapter.clone()), nn.Parameter(ids)
        for name, value in {"first": adapter, "factors": factors, "met": met, "gram": factors.T @ factors}.items():
            self.register_buffer(f"{name}_", value)
        self.weight_ = nn.Parameter(torch.tensor(float(self.likeness)))
        self.days_ = nn.Parameter(torch.zeros(self.heads + 1, GAPS))
        self.places_ = nn.Parameter(-0.1 * torch.arange(PLACES, dtype=torch.float32).repeat(self.heads + 1, 1))  # later ones count more
        self.block_ = self.out_ = None
        if self.layers and width:
            heads = next(h for h in (self.heads, 4, 2, 1) if width % h == 0)
            layer = nn.TransformerEncoderLayer(width, heads, 2 * width, self.dropout, "gelu", batch_first=True, norm_first=True)
            self.block_ = nn.TransformerEncoder(layer, self.layers, enable_nested_tensor=False)
            self.when_, self.where_ = nn.Embedding(GAPS, width), nn.Embedding(PLACES, width)
            self.key_, self.out_ = nn.Parameter(torch.zeros(self.heads, width)), nn.Linear(self.heads * width, width)
            for embedding in (self.when_, self.where_):
                nn.init.normal_(embedding.weight, std=0.02)
            nn.init.zeros_(self.out_.weight)
            nn.init.zeros_(self.out_.bias)

    def _learned(self) -> dict[str, torch.Tensor]:
        mine = {k: v for k, v in self.state_dict().items() if not k.startswith("items.")}
        return mine | {"starts": torch.from_numpy(self.starts_)} | self.white_.state()

    def _restore(self, state: dict[str, torch.Tensor]) -> None:
        self.white_ = Whitening.of(state)
        starts = state["starts"].numpy()
        if len(starts) != len(self.kinds_) + 1 or starts[0] != 0 or (np.diff(starts) < 0).any() or starts[-1] != len(state["ids_"]):
            raise ValueError("its items are not numbered")
        self._size(np.diff(starts).tolist(), *(state[name] for name in ("first_", "ids_", "factors_", "met_")))
        mine = {k: v for k, v in state.items() if not k.startswith(("table.", "white.")) and k != "starts"}
        missing, unknown = self.load_state_dict(mine, strict=False)
        if unknown or any(not name.startswith("items.") for name in missing):
            raise ValueError(f"its weights are not those of these settings: {', '.join([*unknown, *missing][:3])}")

    def _apply(self, fn, recurse: bool = True):
        super()._apply(fn, recurse)
        if hasattr(self, "white_"):
            self.white_ = self.white_.moved(fn)
        return self

    def _squares(self) -> Squares:
        return Squares(self.confidence, self.l2, self.frequency)

    def _told(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.white_(vectors)

    def _alike(self, nodes: Nodes) -> torch.Tensor:
        """(n, kept) likeness; from the table where no gradient is asked of the items and their edges do not matter."""
        if self.items.reads_edges or (torch.is_grad_enabled() and self._learning()) or nodes.side == "query":
            return self._told(self.items(nodes))
        return self._known(nodes.graph, nodes.kind, nodes.rows)

    def _behaviour(self, kind: str, rows: NDArray[np.int64], alike: torch.Tensor) -> torch.Tensor:
        """(n, width) an item's own vector beside what its likeness gives; while training some are without their own."""
        made = alike @ self.adapter_
        if kind not in self.kinds_:
            return made
        number = self.kinds_.index(kind)
        at = rows + self.starts_[number]
        have = at < self.starts_[number + 1]
        if self.training and self.ids:
            have &= torch.rand(len(rows)).numpy() >= self.ids
        place = torch.from_numpy(np.flatnonzero(have)).to(made.device)
        return made.index_add(0, place, self.ids_[torch.from_numpy(at[have]).to(made.device)])

    def _first(self, number: int, rows: NDArray[np.int64], alike: torch.Tensor) -> torch.Tensor:
        """(n, width) as the closed form has it."""
        made, at = alike @ self.first_, rows + self.starts_[number]
        have = np.flatnonzero(at < self.starts_[number + 1])
        have = have[self.met_.cpu().numpy()[at[have]]]
        return made.index_copy(0, torch.from_numpy(have).to(made.device), self.factors_[torch.from_numpy(at[have]).to(made.device)])

    def _distinct(self, graph: Graph, met: Met) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], NDArray[np.int64]]:
        """Likeness (m, kept) and behaviour (m, width), learned and of the closed form, of the different items met; which one each is."""
        key, entry = np.unique(met.kind * (met.rows.max(initial=0) + 1) + met.rows, return_inverse=True)
        kinds, rows = np.divmod(key, met.rows.max(initial=0) + 1)
        alike, now, first = [], [], []
        for number in np.unique(kinds):
            of, kind = rows[kinds == number], self.kinds_[number]
            alike.append(self._known(graph, kind, of))
            now.append(self._behaviour(kind, of, alike[-1]))
            first.append(self._first(number, of, alike[-1]))
        if not alike:
            return self.own_.new_zeros(0, self.kept), (self.own_.new_zeros(0, self.width),) * 2, entry
        return torch.cat(alike), (torch.cat(now), torch.cat(first)), entry

    def _latest(
        self, met: Met, alike: torch.Tensor, behaviour: tuple[torch.Tensor, ...], entry: NDArray[np.int64], n: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, kept) the likeness of what was met, (n, width) what the transformer adds to the behaviour; zero for nothing."""
        device = self.own_.device
        if not len(entry):
            return torch.zeros(n, self.kept, device=device), torch.zeros(n, self.width, device=device)
        some, owner = np.unique(met.owner, return_inverse=True)
        deep = int(met.place.max()) + 1
        item, gap, real = np.zeros((len(some), deep), np.int64), np.zeros((len(some), deep), np.int64), np.zeros((len(some), deep), bool)
        item[owner, met.place], gap[owner, met.place], real[owner, met.place] = entry, bucket(met.days, 2.0, GAPS), True
        item, gap, real, some = (torch.from_numpy(x).to(device) for x in (item, gap, real, some))
        place = torch.from_numpy(bucket(np.arange(deep), 3.5, PLACES)).to(device)
        bias = self.days_[:, gap].transpose(0, 1) + self.places_[:, place]  # (queries, heads + 1, deep)
        weight = bias[:, -1].masked_fill(~real, -torch.inf).softmax(1)
        seen = torch.einsum("ql,qlk->qk", weight, alike[item])
        like = torch.zeros(n, self.kept, device=device).index_copy(0, some, nn.functional.normalize(seen, dim=1))
        added = torch.zeros(n, self.width, device=device)
        if self.block_ is not None:
            x = nn.functional.dropout(behaviour[0][item], self.dropout, self.training)
            x = self.block_(x + self.when_(gap) + self.where_(place), src_key_padding_mask=~real)
            to = (bias[:, :-1] + torch.einsum("qlw,hw->qhl", x, self.key_)).masked_fill(~real[:, None], -torch.inf).softmax(2)
            added = added.index_copy(0, some, STEP * self.out_(torch.einsum("qhl,qlw->qhw", to, x).flatten(1)))
        return like, added

    @torch.no_grad()
    def _solved(self, met: Met, behaviour: tuple[torch.Tensor, ...], entry: NDArray[np.int64], n: int) -> torch.Tensor:
        """(n, width) what least squares make of the whole histories."""
        x = sp.csr_matrix((self._faded(met.days), (met.owner, entry)), shape=(n, len(behaviour[1])), dtype=np.float32)
        if not met.days.any():
            x.data[:] = 1  # whether, not how often
        if not self.width:
            return self.own_.new_zeros(n, 0)
        found = self._squares().solved(x, behaviour[1].cpu().numpy(), self.gram_.cpu().numpy(), len(self.met_))
        return torch.from_numpy(found).to(self.own_.device)

    def _faded(self, days: NDArray[np.float64]) -> NDArray[np.float32]:
        return fading(days * DAY, self.half_life)

    def _chosen(self, graph: Graph, kind: str, relations: List[Relation], sizes: List[int]) -> sp.csr_matrix:
        """(sources, items of all kinds) what was met, faded."""
        met = read(Nodes(graph, kind, np.arange(graph.size(kind)), "query"), [r for r in relations if r in graph.relations], self.kinds_)
        at = met.rows + np.cumsum([0, *sizes])[met.kind]
        x = sp.csr_matrix((self._faded(met.days), (met.owner, at)), shape=(graph.size(kind), sum(sizes)), dtype=np.float32)
        if not met.days.any():
            x.data[:] = 1
        return x
