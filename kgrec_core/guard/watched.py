"""The part of the guard that needs no torch: around what loads data and knows things, and how a class of its own is put around a part.

So a part stays what it is (`isinstance`, attributes, what the graph's memo knows it by). What it raises becomes one line with its kind,
name, plugin and version.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any, NamedTuple

from kgrec_core import devices
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Graph
from kgrec_core.guard import datasets
from kgrec_core.knowledge.source import Source
from kgrec_core.recipe.builtin import DOMAINS
from kgrec_core.recipe.discovery import strict, why

Look = Callable[..., str]  # (part, returned, *arguments) -> what is wrong with it, "" = nothing


class Origin(NamedTuple):
    """Who a part is. name: as the recipe has it; place: where in it; owner: distribution and version, or the file it is from."""

    kind: str
    name: str
    place: str = ""
    owner: str = ""

    @property
    def core(self) -> bool:
        return self.owner.startswith("kgrec-core ")

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}'" + (f" ({self.owner})" if self.owner else "")


def built(factory: Callable[..., Any], arguments: dict[str, Any], origin: Origin) -> Any:
    """A data part or a source, guarded. Raises KgrecError with its name where its constructor raises or gives something else."""
    part = made(factory, arguments, origin, Source if origin.kind == "knowledge" else object)
    return dressed(part, origin, _around)


def made(factory: Callable[..., Any], arguments: dict[str, Any], origin: Origin, base: type) -> Any:
    """A part as its constructor gives it. Raises KgrecError where that raises or it is none of its kind."""
    part = tried(origin, f"[{origin.place}]" if origin.place else "made", factory, **arguments)
    if not isinstance(part, base):
        raise KgrecError(f"{origin}: its factory gives a {type(part).__name__}, no {base.__name__}")
    return part


def dressed(part: Any, origin: Origin, methods: Callable[[type, Origin], Mapping[str, Callable[..., Any]]]) -> Any:
    """The part itself, of a class of its own from now on, whose methods are these. Raises KgrecError where it is no object of a class."""
    bare = getattr(type(part), "bare_", type(part))
    try:
        object.__setattr__(part, "__class__", _class(bare, origin, methods))
    except TypeError as error:
        raise KgrecError(f"{origin}: its factory gives a {type(part).__name__}, no object of a class of its own ({error})") from error
    return part


@cache
def _class(bare: type, origin: Origin, methods: Callable[[type, Origin], Mapping[str, Callable[..., Any]]]) -> type:
    own = {"bare_": bare, "origin_": origin, "__module__": bare.__module__, "__qualname__": bare.__qualname__, "__doc__": bare.__doc__}
    return type(bare.__name__, (bare,), {"__slots__": (), **own, **methods(bare, origin)})


def looked_at(bare: type, origin: Origin, looks: Mapping[str, Look | None]) -> dict[str, Callable[..., Any]]:
    """The methods that are there, each watched."""
    return {name: _watched(origin, name, getattr(bare, name), look) for name, look in looks.items() if hasattr(bare, name)}


def tried(origin: Origin, doing: str, call: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
    """What a call gives. Raises KgrecError with the part and what it was doing, whatever the call raised."""
    try:
        return call(*args, **named)
    except (KgrecError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        if strict() or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or (devices.world() > 1 and devices.lost(error)):
            raise  # a full disk and a process that is gone are no part's fault, and told elsewhere
        raise KgrecError(f"{origin}: {doing}: {why(error)}") from error


def _watched(origin: Origin, name: str, method: Callable[..., Any], look: Look | None) -> Callable[..., Any]:
    """A method that tells who it is when it fails, and whose return is looked at: look(part, returned, *arguments) -> fault."""

    @wraps(method)
    def watched(self: Any, *args: Any, **named: Any) -> Any:
        found = tried(origin, name, method, self, *args, **named)
        if look is not None and (fault := look(self, found, *args, **named)):
            raise KgrecError(f"{origin}: {name}: {fault}")
        return found

    return watched


def _loaded(part: Any, found: Any) -> str:
    """Others' data are loaded a second time; ours are by the kit, and without a task get the remedy that `loading` knows."""
    if part.origin_.owner.partition(" ")[0] in ("kgrec-core", *DOMAINS.values()):
        return "" if isinstance(found, Dataset) and not found.tasks else datasets.dataset(found)
    return datasets.dataset(found) or datasets.repeated(found, tried(part.origin_, "load", part.bare_.load, part))


def _told(part: Source, found: Any, *args: Any, **named: Any) -> str:
    return "" if isinstance(found, Graph) else f"it must give a Graph, the delta; it gives a {type(found).__name__}"


METHODS: dict[str, dict[str, Look | None]] = {
    "data": {"load": _loaded, "labelled": None},
    "knowledge": {"learn": None, "read": _told, "save": None, "load": None},
}


def _around(bare: type, origin: Origin) -> dict[str, Callable[..., Any]]:
    return looked_at(bare, origin, METHODS[origin.kind])
