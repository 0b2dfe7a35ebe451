"""What reads no vectors learns the same whatever the encoder: once from the same tables, with the same settings, kept in the graph's memo."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Task

if TYPE_CHECKING:
    from kgrec_core.interfaces import Encode, Retrieval


def settings(part: object) -> Hashable | None:
    """What a part was constructed with, for comparison; None where a value is not plain, so that it cannot be told."""
    try:
        return tuple((name, _frozen(value)) for name, value in sorted(vars(part).items()) if name[0] != "_" and name[-1] != "_")
    except TypeError:
        return None


def learn_once(part: Retrieval, how: Hashable, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
    """Give a part with the settings `how` what it, or one like it, has learned of this graph. Raises KgrecError where `learn` sets what it may not."""

    def learned() -> dict[str, Any]:
        stays = {*part.placed, *part.settled}
        other, plain = copy.copy(part), {name: v for name, v in vars(part).items() if name[-1] != "_" or name in stays}
        vars(other).clear()
        vars(other).update(plain)
        other.learn(graph, task, candidates, encode)
        found = {name: value for name, value in vars(other).items() if name not in plain or value is not plain[name]}
        for name in found:
            if name[-1] != "_" or name in part.placed:
                raise KgrecError(f"{type(part).__name__}.learn sets {name}; what is learned ends in an underscore, settings stay")
        return found

    which = hashlib.blake2b(np.ascontiguousarray(candidates.rows, np.int64), digest_size=16).digest()
    kind = getattr(type(part), "bare_", type(part))  # the same with and without a guard around it
    settled = tuple(None if (of := getattr(part, name, None)) is None else np.asarray(of).tobytes() for name in part.settled)
    key, holds = (kind, how, settled, task, graph.as_of, graph.ordered, which), part.holds(graph, task)
    vars(part).update(graph.memo.get(key, holds, learned))
    part.key_, part.holds_ = key, holds


def _frozen(value: Any) -> Hashable:
    if isinstance(value, Mapping):
        return tuple((key, _frozen(value[key])) for key in sorted(value))
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    if value is None or isinstance(value, (bool, int, float, str, Path)):
        return type(value), value
    raise TypeError(f"{value!r} is no plain value")
