"""What the frozen layers of a language model make of a text, computed once and kept on disk: a step then costs the live layers only.

    encoder.train_layers = 2      # of 6: the output of the fourth, two bytes a number, by the text's tokens and the frozen weights

Files of one trunk lie in KGREC_CACHE/trunk/FINGERPRINT: NUMBER.npy, (tokens, hidden) bfloat16 as uint16, memory-mapped, and beside it
NUMBER.safetensors, which text begins where. A pair is written beside and renamed, so that several fits may share them.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from torch import nn

from kgrec_core.training.layers import below, language_models, layers

log = logging.getLogger("kgrec")
GB = 10**9
BLOCK = 2**16  # tokens whose states are in memory while they are computed
Tokens = NDArray[np.int32]
Features = Callable[[Sequence[Tokens]], dict[str, torch.Tensor]]


class _Reached(Exception):
    """The last frozen layer has been computed; what is above it is not wanted."""

    def __init__(self, states: torch.Tensor) -> None:
        self.states = states


class Trunk:
    """The frozen layers below `live` live ones. folder: of all trunks; limit: GB that they may take together."""

    def __init__(self, model: SentenceTransformer, live: int, folder: Path, limit: float) -> None:
        self.model, self.folder, self.limit = model, folder / "trunk", limit
        stack = layers(model[0])
        self.below, self.above = list(stack[: len(stack) - live]), set(map(id, [p for layer in stack[-live:] for p in layer.parameters()]))
        self.places: dict[bytes, tuple[NDArray[np.uint16], int, int]] | None = None
        self.tuples_ = False  # whether layers of this family give a tuple with the states first
        self.on = bool(self.below) and live > 0 and limit > 0 and model.tokenizer.padding_side == "right"

    @property
    def usable(self) -> bool:
        """Whether nothing below the live layers learns, or is compiled."""
        if not self.on or any(getattr(m, "_compiled_call_impl", None) for m in self.model.modules()):
            return False
        return not any(p.requires_grad for p in self.model[0].parameters() if id(p) not in self.above)

    def still(self) -> None:
        """What is frozen has no dropout: its output is what it is."""
        for model in language_models(self.model):
            below(model).eval()
        for layer in self.below:
            layer.eval()

    def hold(self, tokens: Sequence[Tokens], features: Features) -> bool:
        """Compute and keep what is missing of these texts; features: lists of tokens -> what the model takes. False: it has no room."""
        if self.places is None:
            self._open()
            self._computed(tokens[:1], features)
        names = [_name(t) for t in tokens]
        missing = list({name: t for name, t in zip(names, tokens, strict=True) if name not in self.places}.items())
        if missing and not self._room(sum(len(t) for _, t in missing)):
            self.on = False
            return False
        missing.sort(key=lambda pair: len(pair[1]))
        start = 0
        while start < len(missing):
            ends = np.cumsum([len(t) for _, t in missing[start:]])
            stop = start + max(1, int(np.searchsorted(ends, BLOCK, "right")))
            self._write(missing[start:stop], features)
            start = stop
        return True

    def padded(self, tokens: Sequence[Tokens], width: int, device: torch.device) -> torch.Tensor:
        """(n, width, hidden) of texts that are held."""
        found = [self.places[_name(t)] for t in tokens]
        out = np.zeros((len(tokens), width, found[0][0].shape[1]), np.uint16)
        for i, (states, start, end) in enumerate(found):
            out[i, : end - start] = states[start:end]
        return torch.from_numpy(out).view(torch.bfloat16).to(device)

    @contextmanager
    def replaying(self, states: torch.Tensor) -> Iterator[None]:
        """Meanwhile the frozen layers cost nothing, and the last of them gives these states."""
        kept = [layer.__dict__.get("forward") for layer in self.below]

        def given(hidden: torch.Tensor, *rest, **named):
            whole = states.to(hidden.dtype)
            return (whole,) if self.tuples_ else whole

        def passing(hidden: torch.Tensor, *rest, **named):
            return (hidden,) if self.tuples_ else hidden

        for layer in self.below:
            layer.forward = given if layer is self.below[-1] else passing
        try:
            yield
        finally:
            for layer, own in zip(self.below, kept, strict=True):
                if own is None:
                    del layer.forward
                else:
                    layer.forward = own

    # --- on disk ------------------------------------------------------------------------------------------------------
    def _open(self) -> None:
        """The shards that there are; the first text is computed, to see what form the layers give."""
        digest = hashlib.blake2b(digest_size=16)
        for name, weight in sorted(self.model[0].named_parameters()):
            if id(weight) not in self.above:
                digest.update(name.encode())
                digest.update(weight.detach().cpu().contiguous().float().numpy().data)
        self.own = self.folder / digest.hexdigest()
        self.places = {}
        for index in sorted(self.own.glob("*.safetensors")) if self.own.is_dir() else ():
            with suppress(OSError, ValueError, SafetensorError, KeyError):  # cut short or removed meanwhile: computed again
                told = load_file(index)
                states = np.load(index.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
                self._add(states, [bytes(h) for h in told["hash"]], told["start"].tolist())

    def _add(self, states: NDArray[np.uint16], names: Sequence[bytes], starts: Sequence[int]) -> None:
        if starts[-1] != len(states):
            raise ValueError("an index of other states")
        self.places.update({name: (states, a, b) for name, a, b in zip(names, starts[:-1], starts[1:], strict=True)})

    def _room(self, tokens: int) -> bool:
        """Whether that many further tokens fit; older trunks make room. What it comes to is said."""
        hidden = self.model[0].get_embedding_dimension()
        size, held = 2 * tokens * hidden, _size(self.own)
        folders = (
            sorted((f for f in self.folder.glob("*") if f != self.own), key=lambda f: f.stat().st_mtime) if self.folder.is_dir() else []
        )
        sizes = {f: _size(f) for f in folders}
        if size + held > self.limit * GB:
            log.warning(
                "encoder.trunk: the frozen layers' outputs would take %.1f GB of disk, more than encoder.trunk = %g; they are computed every time",
                (size + held) / GB, self.limit,
            )  # fmt: skip
            return False
        while sizes and size + held + sum(sizes.values()) > self.limit * GB:
            shutil.rmtree(oldest := next(iter(sizes)), ignore_errors=True)
            del sizes[oldest]
        if size > GB / 100:
            log.warning("the outputs of %s frozen layers are kept: %.0f MB in %s", len(self.below), (size + held) / 1e6, self.own)
        return True

    @torch.no_grad()
    def _write(self, texts: Sequence[tuple[bytes, Tokens]], features: Features) -> None:
        states = np.concatenate(self._computed([t for _, t in texts], features))
        names, starts = [name for name, _ in texts], np.cumsum([0, *(len(t) for _, t in texts)]).astype(np.int64)
        place = self.own / uuid.uuid4().hex
        try:
            self.own.mkdir(parents=True, exist_ok=True)
            with open(place.with_suffix(".part"), "wb") as out:
                np.save(out, states)
            place.with_suffix(".part").rename(place.with_suffix(".npy"))
            hashes = np.frombuffer(b"".join(names), np.uint8).reshape(len(names), 16)
            save_file({"hash": hashes, "start": starts}, place.with_suffix(".part"))
            place.with_suffix(".part").rename(place.with_suffix(".safetensors"))
            states = np.load(place.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        except (OSError, SafetensorError) as error:  # a full or read-only disk costs the saving only
            log.warning("encoder.trunk: %s cannot be written (%s); this fit keeps it in memory", self.own, error)
        self._add(states, names, starts.tolist())

    def _computed(self, tokens: Sequence[Tokens], features: Features) -> list[NDArray[np.uint16]]:
        """(length, hidden) of each text."""

        def reached(module: nn.Module, given: tuple, output) -> None:
            self.tuples_ = isinstance(output, tuple)
            raise _Reached(output[0] if self.tuples_ else output)

        hook, found, start = self.below[-1].register_forward_hook(reached), [], 0
        try:
            while start < len(tokens):
                width = max(map(len, tokens[start : start + 64]))
                batch = tokens[start : start + max(1, min(64, 4096 // width))]
                given = features(batch)
                with torch.autocast(given["input_ids"].device.type, enabled=False):
                    try:
                        self.model(given)
                    except _Reached as told:
                        states = told.states.to(torch.bfloat16).cpu().view(torch.uint16).numpy()
                found += [states[i, : len(t)].copy() for i, t in enumerate(batch)]
                start += len(batch)
        finally:
            hook.remove()
        return found


def _name(tokens: Tokens) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(tokens).tobytes(), digest_size=16).digest()


def _size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.glob("*")) if folder.is_dir() else 0
