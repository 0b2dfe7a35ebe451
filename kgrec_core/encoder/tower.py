"""The text tower: distinct texts in, vectors out; each tokenised once, batched by length so that little is padding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import nn

from kgrec_core.encoder.int8 import Int8
from kgrec_core.encoder.pretrained import fingerprint, settings_of
from kgrec_core.encoder.static import Static
from kgrec_core.encoder.trunk import Trunk
from kgrec_core.errors import KgrecError
from kgrec_core.training.layers import layers

STEP = 8  # tokens to which a width is rounded up where passes have fixed shapes
MOST_ROWS = 16  # of a pass in the place of those of a fixed shape
BATCH_TOKENS = 2048  # padded tokens of one forward pass: on a CPU 4096 was a tenth slower, less saved little more
PADDING = 128  # tokens of padding in it: training on a CPU took two thirds of the time without such a limit
_ROWS: ContextVar[int | None] = ContextVar("rows of a forward pass", default=None)


@contextmanager
def fixed_shape(rows: int) -> Iterator[None]:
    """Meanwhile, in this thread or asyncio task alone, every forward pass of any tower has `rows` rows and a multiple of STEP tokens.

    A vector is then the same to the bit whatever texts come with it. Which texts share a pass otherwise decides its shape, and the
    shape the order in which a processor adds up. Passes of fewer or more rows take the place of these where this machine proves to add
    up in them to the same bits: a text alone is then not padded with others.
    """
    token = _ROWS.set(rows)
    try:
        yield
    finally:
        _ROWS.reset(token)


def shape() -> int | None:
    """The rows of every pass, here and now; None = they follow from the texts."""
    return _ROWS.get()


class Tower(nn.Module):
    """A sentence-transformers model over texts. `tokens_` keeps the token ids of the texts that `remember` was given."""

    def __init__(self, model: SentenceTransformer, train_layers: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.dim = int(model.get_embedding_dimension())
        self.settings = settings_of(model)
        self.instead_: Int8 | Static | None = None  # what answers in the model's place as long as its weights are these
        self.learned_ = 0  # how often learning began
        self.hashed_: tuple[tuple[int, ...], str] | None = None  # `changes` and the hash of the weights then
        self.pristine = self.fingerprint()
        self.tokens_: dict[str, NDArray[np.int32]] = {}
        self.alike_: dict[tuple[int, int, int, int], bool] = {}  # threads, rows of the fixed shape, tokens, rows: are bits the same?
        self.trunk_: Trunk | None = None  # while fitting: what the frozen layers make of the texts of `tokens_`
        if train_layers is not None:
            _freeze(model, train_layers)

    def fingerprint(self) -> str:
        """Of the weights as they are, and of what answers in their place; hashed anew once they may have changed."""
        if self.hashed_ is None or self.hashed_[0] != self.changes:
            self.hashed_ = self.changes, fingerprint(self.model, self.settings)
        return self.hashed_[1] + (self.instead_.fingerprint if self.instead_ else "")

    @property
    def changes(self) -> tuple[int, ...]:
        """Another one once the weights were written to, or may have been; it costs next to nothing to know.

        A fused optimizer writes without torch counting it, and so does who merges an adapter: with `train` on, anything may learn.
        """
        tensors = chain(self.model.parameters(), self.model.buffers())
        return (self.learned_, *(n for t in tensors for n in (t.data_ptr(), 0 if t.is_inference() else t._version)))

    def answer_by(self, instead: Int8 | Static) -> None:
        """From now on, until something learns. Raises KgrecError for vectors of another model's tokens."""
        wanted = len(self.model.tokenizer), self.dim
        if isinstance(instead, Static) and instead.vectors.shape != wanted:
            raise KgrecError(
                f"there are vectors of {instead.vectors.shape} tokens and numbers, not {wanted}; restore the run or shrink it again"
            )
        self.instead_ = instead
        self.pristine = self.fingerprint()

    def remember(self, texts: Iterable[str]) -> None:
        """Tokenise the texts that are new, once."""
        new = [t for t in dict.fromkeys(texts) if t not in self.tokens_]
        self.tokens_.update(zip(new, self.tokenised(new), strict=True))

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """(n, dim) vectors of texts, in their order; equal texts are encoded once."""
        if not texts:
            return torch.zeros(0, self.dim, device=self.device)
        place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        unknown = [t for t in place if t not in self.tokens_]
        fresh = dict(zip(unknown, self.tokenised(unknown), strict=True))
        tokens = [self.tokens_[t] if t in self.tokens_ else fresh[t] for t in place]
        if self.instead_ is not None and not torch.is_grad_enabled():
            found = torch.cat([self.instead_.vector(of, list(self.model.children())[1:]) for of in tokens])
            return found[[place[text] for text in texts]].float().to(self.device)
        order, outputs, rows = [], [], _ROWS.get()
        lengths = np.array([len(t) for t in tokens])
        trunk = self.trunk_ if self.trunk_ and self.training and rows is None and not unknown and self.trunk_.usable else None
        trunk = trunk if trunk and trunk.hold(tokens, self._features) else None
        passes = ((of, None) for of in _by_length(lengths)) if rows is None else _of_one_shape(lengths, rows, self._as_fixed)
        for batch, rows in passes:
            order.append(batch)
            of = [tokens[i] for i in batch]
            with trunk.replaying(trunk.padded(of, max(map(len, of)), self.device)) if trunk else nullcontext():
                outputs.append(self._pass(of, rows)[: len(batch)])
        back = np.argsort(np.concatenate(order))
        if len(place) < len(texts):
            back = back[[place[t] for t in texts]]
        return torch.cat(outputs)[torch.from_numpy(back).to(self.device)].float()

    def encoded(self, tokens: Sequence[NDArray[np.int32]]) -> torch.Tensor:
        """(n, dim) by the model itself of token ids of one length."""
        return self._pass(tokens, None)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def tokenised(self, texts: list[str]) -> list[NDArray[np.int32]]:
        """The token ids of each text, with those that stand around every text."""
        if not texts:
            return []
        limit = self.model.max_seq_length
        encoded = self.model.tokenizer(texts, truncation=limit is not None, max_length=limit, return_attention_mask=False)
        return [np.asarray(ids, np.int32) for ids in encoded["input_ids"]]

    def train(self, mode: bool = True) -> Tower:
        super().train(mode)
        if mode and self.trunk_ is not None:
            self.trunk_.still()
        if mode and any(weight.requires_grad for weight in self.parameters()):
            self.instead_, self.learned_ = None, self.learned_ + 1
        return self

    def _pass(self, tokens: Sequence[NDArray[np.int32]], rows: int | None) -> torch.Tensor:
        return self.model(self._features(tokens, rows))["sentence_embedding"]

    def _as_fixed(self, width: int, n: int, rows: int) -> bool:
        """Whether n rows of so many tokens get the vectors that `rows` rows get, to the bit and in every place of the pass.

        Which instructions a matrix product takes depends on its shape, the threads and the processor, never on its numbers, so what
        holds for one text in every row holds for all.
        """
        if n == rows:
            return True
        key = (torch.get_num_threads(), rows, width, n)
        if key not in self.alike_:
            text = np.random.default_rng(width).integers(0, len(self.model.tokenizer), width, dtype=np.int32)
            with torch.inference_mode():  # with and without padding: attention may be computed otherwise where nothing is masked
                found = [torch.cat([self._pass([of] * count, count) for count in (rows, n)]) for of in (text, text[:-1])]
            self.alike_[key] = all(bool((every == every[0]).all()) for every in found)
        return self.alike_[key]

    def _features(self, tokens: Sequence[NDArray[np.int32]], rows: int | None = None) -> dict[str, torch.Tensor]:
        width = max(map(len, tokens))
        if rows is not None:
            tokens, width = [*tokens, *[tokens[0]] * (rows - len(tokens))], -(-width // STEP) * STEP
        ids = np.full((len(tokens), width), self.model.tokenizer.pad_token_id or 0, np.int64)
        mask = np.zeros((len(tokens), width), np.int64)
        left = self.model.tokenizer.padding_side == "left"
        for i, t in enumerate(tokens):
            at = slice(width - len(t), width) if left else slice(len(t))
            ids[i, at], mask[i, at] = t, 1
        device = self.device
        return {"input_ids": torch.from_numpy(ids).to(device), "attention_mask": torch.from_numpy(mask).to(device)}


def _by_length(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Batches of like length, longest first (what does not fit into memory fails at once), of at most BATCH_TOKENS and PADDING."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        width = max(1, int(lengths[order[start]]))
        batch = order[start : start + max(1, BATCH_TOKENS // width)]
        batch = batch[: np.searchsorted(np.cumsum(width - lengths[batch]), PADDING, "right")]
        yield batch
        start += len(batch)


def _of_one_shape(
    lengths: NDArray[np.int64], rows: int, as_fixed: Callable[[int, int, int], bool]
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Batches of texts of the same width, once rounded up, and the rows of their pass: a power of two of which less than a quarter is
    padding, where as_fixed(width, n, rows), else `rows`."""
    widths = -(-lengths // STEP)
    for width in np.unique(widths):
        left = np.flatnonzero(widths == width)
        while len(left):
            n = min(MOST_ROWS, 1 << (len(left) - 1).bit_length())
            n = n // 2 if 4 * len(left) <= 3 * n else n
            n = n if as_fixed(int(width) * STEP, n, rows) else rows
            yield left[:n], n
            left = left[n:]


def _freeze(model: SentenceTransformer, train_layers: int) -> None:
    """Only the last `train_layers` transformer layers (and what is above them) learn; embeddings never do then."""
    model[0].requires_grad_(False)
    if train_layers:
        for layer in layers(model[0])[-train_layers:]:
            layer.requires_grad_(True)
