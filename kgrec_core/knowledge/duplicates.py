"""Which texts tell the same: copies, retweets and lightly edited versions count once, in a table and in a stream.

MinHash signatures of shingles, bands of equal hashes as candidate pairs, then the exact Jaccard similarity of every candidate pair
(Broder 1997, "On the resemblance and containment of documents"; banding: Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, 3.4).
A pair at the threshold is missed with a probability below 0.1 %, one above it more rarely still; none below it is ever joined.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import ceil, log, log1p
from typing import Any, NamedTuple, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.words import units

MISSED, HASHES = 1e-3, 128  # of the pairs at the threshold; hashes per text at most
PAIRS = 2**15  # compared at once
_LINK = re.compile(r"\S+://\S*")  # a shortened link differs in every copy
_ODD = np.uint64(0x9E3779B97F4A7C15)


def near_duplicates(texts: Sequence[str], threshold: float = 0.8, *, width: int = 2, seed: int = 0) -> NDArray[np.int64]:
    """(n,) a group number per text, from 0 in order of first appearance; equal numbers = the same story, directly or through others.

    threshold: Jaccard similarity, in (0, 1], of two texts' sets of shingles from which they are joined.
    width: units (words; characters in scripts without spaces) in a shingle. Case, punctuation and links do not count.
    The groups do not depend on the order of the texts. Memory grows with the shingles; time too, and with the square of the
    largest family that is alike but below the threshold. Raises KgrecError for a threshold outside (0, 1] or a width below 1.
    """
    indptr, hashes = _sets(texts, width)
    band_count, rows = _bands(threshold)
    if not len(texts):
        return np.zeros(0, np.int64)
    # The same set again is the same text: only one of each is compared.
    whole = np.add.reduceat(_mix(hashes), indptr[:-1])
    _, kept, copy_of = np.unique(whole, return_index=True, return_inverse=True)
    members = sp.csr_matrix((np.ones(len(hashes), np.int32), np.unique(hashes, return_inverse=True)[1], indptr))[kept]
    indptr, hashes = members.indptr, np.unique(hashes)[members.indices]
    labels = np.arange(len(kept))
    for factors in _factors(band_count * rows, seed).reshape(band_count, rows):
        key = _band(np.stack([np.minimum.reduceat(hashes * factor, indptr[:-1]) for factor in factors]))
        order = np.argsort(key, kind="stable")
        key, at, apart = key[order], np.arange(len(key)), 0
        while len(at):  # neighbours in a bucket, then next but one, ...
            apart += 1
            at = at[at + apart < len(key)]
            at = at[key[at] == key[at + apart]]
            one, two = order[at], order[at + apart]
            for part in range(0, len(at), PAIRS):
                labels = _joined(labels, members, one[part : part + PAIRS], two[part : part + PAIRS], threshold)
    _, first, group = np.unique(labels[copy_of], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first)).astype(np.int64)[group]


class _Entry(NamedTuple):
    id: str | int
    time: int
    shingles: frozenset[int]


@dataclass
class Recent:
    """Near-duplicates in a stream, among the texts of the last `window` (int microseconds, as all times).

    Holds one entry per distinct set of shingles of the window, so a text repeated a million times costs as much as one.
    `state()` is a dictionary for JSON, `Recent.of(state)` goes on where it was taken. threshold, width, seed: see `near_duplicates`.
    """

    threshold: float
    window: int
    width: int = 2
    seed: int = 0
    _latest: int | None = field(default=None, init=False, repr=False)
    _entries: dict[frozenset[int], _Entry] = field(default_factory=dict, init=False, repr=False)
    _buckets: dict[int, dict[frozenset[int], None]] = field(default_factory=dict, init=False, repr=False)
    _ages: list[tuple[int, frozenset[int]]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.window <= 0:
            raise KgrecError(f"window = {self.window} keeps nothing; give microseconds above 0")
        self._shape = _bands(self.threshold)
        self._hashes = _factors(self._shape[0] * self._shape[1], self.seed)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, id: str | int, text: str, time: int) -> str | int | None:
        """Remember the text; the id of the most similar one (of equals the latest) at or above the threshold, None if there is none.

        A text older than the window is compared and not remembered; texts may come in any order of their times.
        """
        self._latest = time if self._latest is None else max(time, self._latest)
        self._forget()
        hashes = _sets([text], self.width)[1]
        entry = _Entry(id, time, frozenset(hashes.tolist()))
        keys = self._keys(hashes)
        alike = dict.fromkeys(other for key in keys for other in self._buckets.get(key, ()))
        best = max(((_jaccard(entry.shingles, other), self._entries[other].time, self._entries[other].id) for other in alike),
                   key=lambda b: b[:2], default=(0.0, 0, None))  # fmt: skip
        self._remember(entry, keys)
        return best[2] if best[0] >= self.threshold - 1e-9 else None

    def state(self) -> dict[str, Any]:
        """Everything, in values that JSON has; of entries their id, time and shingles (integers below 2**53)."""
        entries = [[e.id, e.time, sorted(e.shingles)] for e in self._entries.values()]
        settings = {name: getattr(self, name) for name in ("threshold", "window", "width", "seed")}
        return {**settings, "latest": self._latest, "entries": entries}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """What `state` gave, also after a trip through JSON. Raises KgrecError where it is another thing."""
        try:
            new = cls(**{name: state[name] for name in ("threshold", "window", "width", "seed")})
            new._latest = state["latest"]
            for id, time, shingles in state["entries"]:
                new._remember(_Entry(id, time, frozenset(shingles)), new._keys(np.array(shingles, np.uint64)))
        except (KeyError, TypeError, ValueError) as error:
            raise KgrecError(f"this is no state of Recent ({error}); start anew with Recent(threshold, window)") from error
        return new

    def _remember(self, entry: _Entry, keys: Iterable[int]) -> None:
        old = self._entries.get(entry.shingles)
        if entry.time < self._latest - self.window or (old and old.time > entry.time):
            return
        self._entries[entry.shingles] = entry
        heapq.heappush(self._ages, (entry.time, entry.shingles))
        for key in () if old else keys:
            self._buckets.setdefault(key, {})[entry.shingles] = None

    def _forget(self) -> None:
        while self._ages and self._ages[0][0] < self._latest - self.window:
            time, shingles = heapq.heappop(self._ages)
            if shingles not in self._entries or self._entries[shingles].time != time:
                continue  # seen again since
            del self._entries[shingles]
            for key in self._keys(np.array(sorted(shingles), np.uint64)):
                self._buckets[key].pop(shingles, None)
                if not self._buckets[key]:
                    del self._buckets[key]

    def _keys(self, hashes: NDArray[np.uint64]) -> list[int]:
        least = (hashes[:, None] * self._hashes).min(0).reshape(self._shape)
        return _band(np.concatenate([least.T, np.arange(self._shape[0], dtype=np.uint64)[None]])).tolist()


def _sets(texts: Iterable[str], width: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """(n + 1,) and (shingles,): each text's distinct shingles as hashes below 2**53, ascending; never none, even of an empty text."""
    if width < 1:
        raise KgrecError(f"width = {width} makes no shingles; give 1 or more")
    known: dict[str, int] = {}
    flat: list[int] = []
    sizes: list[int] = []
    for text in texts:
        # A text without a word is its own only unit, so that "?" and "!" differ.
        parts = units(_LINK.sub(" ", text)) or [text.strip()]
        sizes.append(max(len(parts), width))
        for part in parts:
            if part not in known:
                known[part] = int.from_bytes(blake2b(part.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
            flat.append(known[part])
        flat.extend([0] * (width - len(parts)))
    size, unit = np.array(sizes, np.int64), np.array(flat, np.uint64)
    starts = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    at = np.flatnonzero(np.repeat(starts[1:], size) - np.arange(len(unit)) >= width)
    rows = np.repeat(np.arange(len(size)), size - width + 1)
    shingle = np.zeros(len(at), np.uint64)
    for step in range(width):
        shingle = _mix(shingle * _ODD + unit[at + step])
    shingle >>= np.uint64(11)
    order = np.lexsort((shingle, rows))
    rows, shingle = rows[order], shingle[order]
    new = np.ones(len(rows), bool)
    new[1:] = (rows[1:] != rows[:-1]) | (shingle[1:] != shingle[:-1])
    return np.concatenate([[0], np.cumsum(np.bincount(rows[new], minlength=len(size)))]).astype(np.int64), shingle[new]


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014): a bijection that spreads every bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _factors(count: int, seed: int) -> NDArray[np.uint64]:
    """Odd numbers: x -> x * factor (mod 2**64) orders the hashes anew."""
    return np.random.default_rng(seed).integers(0, 2**64, count, np.uint64) | np.uint64(1)


def _bands(threshold: float) -> tuple[int, int]:
    """(bands, rows): as many rows as the hashes allow while (1 - threshold**rows)**bands, what is missed, stays below MISSED."""
    if not 0 < threshold <= 1:
        raise KgrecError(f"threshold = {threshold} is no Jaccard similarity; give a number above 0, at most 1")
    needed = [(ceil(log(MISSED) / log1p(-min(threshold**rows, 1 - 1e-9))), rows) for rows in range(1, 33)]
    return max((n for n in needed if n[0] * n[1] <= HASHES), key=lambda n: n[1], default=needed[0])


def _band(least: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(rows, n) -> (n,) one key per column."""
    key = np.zeros(least.shape[1], np.uint64)
    for row in least:
        key = _mix(key * _ODD + row)
    return key


def _joined(
    labels: NDArray[np.int64], members: sp.csr_matrix, one: NDArray[np.int64], two: NDArray[np.int64], threshold: float
) -> NDArray[np.int64]:
    """Labels after joining the pairs whose sets are alike; pairs that are joined already are not compared."""
    apart = np.flatnonzero(labels[one] != labels[two])
    if not len(apart):
        return labels
    one, two = one[apart], two[apart]
    both = np.asarray(members[one].multiply(members[two]).sum(1)).ravel()
    size = np.diff(members.indptr)
    alike = both >= threshold * (size[one] + size[two] - both) - 1e-9
    ends = np.unique(np.stack([labels[one[alike]], labels[two[alike]]]), return_inverse=True)
    nodes, (source, target) = ends[0], ends[1].reshape(2, -1)
    graph = sp.coo_matrix((np.ones(len(source), bool), (source, target)), shape=(len(nodes), len(nodes)))
    part = sp.csgraph.connected_components(graph, directed=False)[1]
    representative = np.arange(len(labels))
    representative[nodes] = nodes[np.unique(part, return_index=True)[1]][part]
    return representative[labels]


def _jaccard(one: frozenset[int], two: frozenset[int]) -> float:
    both = len(one & two)
    return both / (len(one) + len(two) - both)
