"""Whether a language model can read the texts that it is given: Chinese questions mean nothing to an English model, and all look alike to it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger("kgrec")
SAMPLE = 500  # texts that tell
SOME, MOST = 0.1, 0.5  # of their letters that cannot be read: said, refused
SPELT = 3  # letters in a row that, each a token of its own, say that their word is not known
REMEDY = "take one that knows their language, e.g. {} = intfloat/multilingual-e5-small"


def unread(tokenizer: Any, texts: Sequence[str]) -> NDArray[np.float64]:
    """(n,) share of each text's letters that the tokenizer does not know, or only letter by letter as no word it has learned; 0 without letters.

    A script without spaces is one word here, so there a character known by itself is read, and an unknown one is lost alone. Raises nothing: a tokenizer that does not say which characters a token
    stands for is believed.
    """
    if not len(texts) or not getattr(tokenizer, "is_fast", False):
        return np.zeros(len(texts))
    read = tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)  # the tokenizer itself takes as long again
    return np.array([_unread(of, text, tokenizer.unk_token_id) for of, text in zip(read, texts, strict=True)])


def _unread(read: Any, text: str, unknown: int | None) -> float:
    pieces = [(word, id, text[start:end]) for word, id, (start, end) in zip(read.word_ids, read.ids, read.offsets, strict=True)]
    letters = sum(sum(map(str.isalpha, piece)) for *_, piece in pieces)
    lost = sum(sum(map(str.isalpha, piece)) for _, id, piece in pieces if id == unknown)
    known = [(word, piece if id != unknown else "") for word, id, piece in pieces]
    for (_, spells), run in groupby(known, key=lambda of: (of[0], any(map(_spells, of[1])))):
        sizes = [sum(map(_spells, piece)) for _, piece in run]
        if spells and len(sizes) >= sum(sizes) >= SPELT:
            lost += sum(sizes)
    return lost / letters if letters else 0.0


def _spells(letter: str) -> bool:
    """Part of words; an ideograph is one by itself, and to know it is to read it."""
    return letter.isalpha() and not "\u3400" <= letter <= "\u9fff"


def check(tokenizer: Any, texts: Sequence[str], model: str, refuse: bool = True, setting: str = "encoder.model") -> None:
    """Say where a model cannot read a tenth of the letters of these texts; with `refuse` raise KgrecError where it cannot read half.

    setting: the key that names the model.
    """
    for said in told(tokenizer, texts, model, refuse, setting):
        log.warning("%s", said)


def told(tokenizer: Any, texts: Sequence[str], model: str, refuse: bool, setting: str) -> list[str]:
    """What `check` says."""
    step = max(1, len(texts) // SAMPLE)
    texts = [text for text in texts[::step] if text]
    shares = unread(tokenizer, texts)
    if not len(shares) or (share := float(shares.mean())) <= SOME:
        return []
    said = f'model {model} cannot read {share:.0%} of the letters of the texts (e.g. "{texts[int(shares.argmax())][:40]}"); {REMEDY.format(setting)}'
    if share > MOST and refuse:
        raise KgrecError(f"{setting.rpartition('.')[0]}: {said}")
    return [said]


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer in a model's folder as far as `unread` needs it, without torch; None where it has no tokenizer.json that can be read."""
    from tokenizers import Tokenizer

    try:
        found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # its own errors have no other base; whoever loads the model says what is wrong with it
        return None
    found.no_truncation()
    unknown = next((id for name in ("[UNK]", "<unk>", "<|unk|>") if (id := found.token_to_id(name)) is not None), None)
    return SimpleNamespace(backend_tokenizer=found, is_fast=True, unk_token_id=unknown)


def unread_by(encoder: nn.Module, texts: Sequence[str]) -> NDArray[np.float64]:
    """(n,) the share of each text that no language model in the encoder can read; 0 where there is none."""
    found = [unread(tower.model.tokenizer, texts) for tower in _towers(encoder)]
    return np.min(found, axis=0) if found else np.zeros(len(texts))


def _towers(part: nn.Module) -> Iterator[nn.Module]:
    """The language models; of what they are made of, hundreds of modules, nothing is looked at, as this is asked of every question."""
    from kgrec_core.encoder.tower import Tower

    if isinstance(part, Tower):
        yield part
    else:
        for below in part.children():
            yield from _towers(below)
