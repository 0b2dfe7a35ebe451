"""The guard around a part: the same object, of a class that is its own but looks at what each method of the contract returns.

So a part stays what it is (`isinstance`, `inside()`, attributes, what the graph's memo knows it by), wherever it is asked from: from
the host, from a re-ranker around it, from a fusion. What it raises becomes one line with its kind, name, plugin and version.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Task
from kgrec_core.guard import checks, watched
from kgrec_core.guard.watched import Origin, dressed, looked_at, made, tried
from kgrec_core.interfaces import Asked, Encode, Encoder, Filter, Head, Hits, Retrieval, Vectors
from kgrec_core.training.objective import Objective

BASES = {"encoder": Encoder, "head": Head, "retrieval": Retrieval, "objective": Objective}
_asking = threading.local()  # `part`: which one this thread asks; what that asks of itself needs no second look


def built(factory: Callable[..., Any], arguments: dict[str, Any], origin: Origin) -> Any:
    """A part, guarded. Raises KgrecError with its name where its constructor raises or gives something else."""
    if origin.kind in watched.METHODS:
        return watched.built(factory, arguments, origin)
    return guarded(made(factory, arguments, origin, BASES.get(origin.kind, object)), origin)


def guarded(part: Any, origin: Origin) -> Any:
    """The part itself, from now on looked at. Raises KgrecError where it is no object of a class of its own."""
    return dressed(part, origin, _methods)


def _methods(bare: type, origin: Origin) -> dict[str, Callable[..., Any]]:
    methods = looked_at(bare, origin, {**watched.METHODS, **METHODS}[origin.kind])
    return methods | _asked(bare, origin) if origin.kind == "retrieval" else methods


# --- what is looked at, by kind and method; None: only that it raises nothing foreign --------------------------------------------------
def _dim(part: Encoder, found: Any, *args: Any, **named: Any) -> str:
    dim = getattr(part, "dim", None)
    return "" if isinstance(dim, int | np.integer) and dim > 0 else f"`dim` must be the width of the vectors now, it is {dim!r}"


def _encoded(part: Encoder, found: Any, nodes: Nodes) -> str:
    return checks.vectors(found, len(nodes), part.dim)


def _projected(part: Head, found: Any, x: Any, nodes: Nodes) -> str:
    return checks.vectors(found, len(nodes))


def _lost(part: Any, found: Any, *args: Any, **named: Any) -> str:
    return checks.loss(found)


def _learned(part: Retrieval, found: Any, queries: Queries, vectors: Any) -> str:
    width = found.rows.shape[-1] if isinstance(found, Hits) else 0
    return checks.hits(found, len(queries.nodes), width, _size(part, queries.nodes))


METHODS: dict[str, dict[str, Callable[..., str] | None]] = {
    "encoder": {"prepare": _dim, "forward": _encoded, "refresh": None, "save": None, "load": _dim},
    "head": {"prepare": None, "start": None, "project": _projected, "loss": _lost, "save": None, "load": None},
    "objective": {"prepare": None, "step": None, "loss": _lost, "finish": None},
    "retrieval": {"save": None},
}


# --- a retrieval knows its task from `build` on, stands around others, and is asked in two ways -------------------------------------------
def _asked(bare: type[Retrieval], origin: Origin) -> dict[str, Callable[..., Any]]:
    """The other methods of a retrieval."""

    def build(self: Retrieval, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        if not self.learns and (inside := _learning(self)):
            raise KgrecError(
                f"{origin}: {inside[0].origin_} in it has to be fitted; a re-ranker around it says `learns` and passes `fit` on to it"
            )
        self._task = task
        tried(origin, "build", bare.build, self, graph, task, candidates, encode)

    def fit(self: Retrieval, queries: Queries, vectors: Vectors | None) -> Hits:
        inside = [(part, vars(part).get("_fits", 0)) for part in _learning(self)]
        found = tried(origin, "fit", bare.fit, self, queries, vectors)
        self._fits = vars(self).get("_fits", 0) + 1
        for part, before in inside:
            if vars(part).get("_fits", 0) == before:
                raise KgrecError(f"{origin}: fit does not pass on to {part.origin_}, which is in it and has to be fitted")
        if fault := _learned(self, found, queries, vectors):
            raise KgrecError(f"{origin}: fit: {fault}")
        return found

    def search(
        self: Retrieval, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None
    ) -> Hits:
        return _once(self, "search", lambda: bare.search(self, queries, vectors, k, allowed, exclude), queries, k, allowed, exclude)

    def score(self: Retrieval, queries: Nodes, vectors: Vectors | None, pairs: Ragged) -> Vectors:
        return _once(self, "score", lambda: bare.score(self, queries, vectors, pairs), pairs)

    def ask(self: Retrieval, queries: Nodes, vectors: Vectors | None) -> Asked:
        asked = tried(origin, "ask", bare.ask, self, queries, vectors)
        return asked if type(asked) is Asked or getattr(_asking, "part", None) is self else _Looked(asked)

    def extended(self: Retrieval, graph: Graph, new: Nodes, encode: Encode) -> Retrieval:
        other = tried(origin, "extended", bare.extended, self, graph, new, encode)
        if not isinstance(other, Retrieval):
            raise KgrecError(f"{origin}: extended gives a {type(other).__name__}, no Retrieval")
        if other is not self:
            guarded(other, origin)._task = self._task
        return other

    def load(self: Retrieval, folder: Path, graph: Graph, task: Task) -> None:
        self._task = task
        tried(origin, "load", bare.load, self, folder, graph, task)

    return {f.__name__: wraps(getattr(bare, f.__name__))(f) for f in (build, fit, search, score, ask, extended, load)}


class _Looked(Asked):
    """Queries put to a guarded retrieval that has a way of its own to be asked."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked.part, asked.queries, asked.vectors)
        self.asked = asked

    def search(self, k: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> Hits:
        return _once(self.part, "search", lambda: self.asked.search(k, allowed, exclude), self.queries, k, allowed, exclude)

    def score(self, pairs: Ragged) -> Vectors:
        return _once(self.part, "score", lambda: self.asked.score(pairs), pairs)


def _once(part: Retrieval, name: str, ask: Callable[[], Any], *given: Any) -> Any:
    """What a search or a scoring gives, looked at unless this part is asking itself.

    Of a single query, the core's own channels below a re-ranker go unlooked: the kit holds them to the same, every fit looks at them for
    many queries at once, and twelve looks would be 2 % of an answer. What the re-ranker gives is looked at.
    """
    outer = getattr(_asking, "part", None)
    if outer is part:
        return ask()
    _asking.part = part
    try:
        found = tried(part.origin_, name, ask)
    finally:
        _asking.part = outer
    if name == "score":
        fault = checks.scores(found, *given)
    else:
        queries, k, allowed, exclude = given
        if outer is not None and len(queries) == 1 and part.origin_.core:
            return found
        fault = checks.hits(found, len(queries), k, _size(part, queries), allowed, exclude)
    if fault:
        raise KgrecError(f"{part.origin_}: {name}: {fault}")
    return found


def _learning(part: Retrieval) -> list[Retrieval]:
    """What is inside it, comes from a recipe too, and learns by `fit`."""
    return [inner for inner in part.inside() if inner is not part and inner.learns and hasattr(inner, "origin_")]


def _size(part: Retrieval, nodes: Nodes) -> int:
    """Rows of the target kind."""
    return nodes.graph.size(part._task.relation.target)
