"""From a recipe's table to a constructor's arguments: the annotations say which keys there are and what they take.

Everything is checked before anything is built: `Binder` gives a tree of `Call`s, `make` builds it, innermost part first. A parameter
`X | None` takes `key = "none"`, also over an earlier layer's value; TOML has no null.
"""

from __future__ import annotations

import datetime
import math
import os
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import kgrec_core
from kgrec_core.errors import Faults, KgrecError, choices
from kgrec_core.recipe.components import Component
from kgrec_core.recipe.parameters import (
    MAPPINGS,
    REQUIRED,
    Parameter,
    may_be_none,
    parameters,
    part_kind,
    part_mapping,
    spell,
    toml,
    without_none,
)
from kgrec_core.recipe.ranges import Range
from kgrec_core.recipe.registry import Foreign, Registry, load

SCALARS = (bool, int, float, str, Path, datetime.date, datetime.datetime)
LISTS = {list: list, tuple: tuple, set: set, frozenset: frozenset, Sequence: tuple, Iterable: tuple, Collection: tuple}
Where = tuple[str, ...]


class Leaf(NamedTuple):
    """A value of a recipe, with the folder that its relative paths start from and the layer that set it."""

    value: Any
    folder: Path
    source: str


Table = dict[str, Any]  # of Leaf or Table


class Secret(NamedTuple):
    """`env:NAME`: read when the part is built, so that it is never written anywhere."""

    name: str
    where: Where
    wanted: type


class Call(NamedTuple):
    """A constructor and its converted arguments, which may hold further Calls and Secrets. part: kind, name, place and owner of a part."""

    factory: Callable[..., Any]
    arguments: dict[str, Any]
    part: tuple[str, str, str, str] | None = None


def tree(raw: Any, folder: Path, source: str) -> Any:
    """Parsed TOML with a Leaf for everything that is no table."""
    return {key: tree(value, folder, source) for key, value in raw.items()} if isinstance(raw, Mapping) else Leaf(raw, folder, source)


def plain(node: Any) -> Any:
    """The inverse of `tree`."""
    return {key: plain(value) for key, value in node.items()} if isinstance(node, dict) else node.value


def make(node: Any) -> Any:
    """Build a tree of Calls; parts come with a guard. Raises KgrecError when a secret's variable is not set, and for what a part raises."""
    if isinstance(node, Call):
        arguments = {key: make(value) for key, value in node.arguments.items()}
        if node.part is None:
            return node.factory(**arguments)
        from kgrec_core.guard import watched

        origin = watched.Origin(*node.part)
        if origin.kind in watched.METHODS:  # without torch
            return watched.built(node.factory, arguments, origin)
        from kgrec_core.guard.around import built

        return built(node.factory, arguments, origin)
    if isinstance(node, Secret):
        if node.name not in os.environ:
            raise KgrecError(f"{'.'.join(node.where)} = 'env:{node.name}': the environment variable {node.name} is not set; export it")
        return node.wanted(os.environ[node.name])
    if isinstance(node, dict):
        return {key: make(value) for key, value in node.items()}
    return type(node)(make(value) for value in node) if type(node) in LISTS else node


class Binder:
    """Checks tables against constructors. `written` collects, by place, values written out: absolute paths, `use` as `plugin/name`."""

    def __init__(self, registry: Registry | None = None, load: Callable[[Any, str], Callable[..., Any]] = load) -> None:
        """load: how a part's constructor is come by, (component, kind) -> what has its parameters."""
        self.registry, self.load, self.written = registry, load, {}

    def part(self, kind: str, node: Any, where: Where) -> Call:
        """The part that a table with `use` describes."""
        place = ".".join(where)
        if not isinstance(node, dict):
            raise _mistyped(node, f"a table [{place}] with `use`", where)
        use = node.get("use")
        if not isinstance(use, Leaf) or not isinstance(use.value, str):
            raise KgrecError(f'[{place}] has no `use`; name the {kind}: use = "..." (`kgrec list {kind}` shows what there is)')
        assert self.registry is not None
        try:
            component = self.registry.component(kind, use.value, [use.folder])
            factory = self.load(component, kind)
        except KgrecError as error:
            raise KgrecError(f"{place}.use = {use.value!r} ({use.source}): {error}") from error
        if self.load is load:  # a stand-in has no bases
            _check_kind(kind, factory, place, use)
        if ":" not in use.value:
            self.written[(*where, "use")] = self.registry.full(kind, use.value)
        found = self.call(factory, {key: value for key, value in node.items() if key != "use"}, where, f"kgrec show {kind} {use.value}")
        return found._replace(part=(kind, use.value, place, self._owner(kind, use.value, component)))

    def _owner(self, kind: str, use: str, component: Component[Any]) -> str:
        """Distribution and version of a part, or the file it is from."""
        if isinstance(component, Foreign):
            return str(component.file)
        plugin = self.registry.owner(self.registry.full(kind, use))
        return f"{plugin.distribution} {plugin.version}"

    def call(self, factory: Callable[..., Any], table: Table, where: Where, see: str = "") -> Call:
        """`factory` with the table's values as arguments. Raises KgrecError with all mistakes of the table."""
        place, known = ".".join(where), parameters(factory)
        open_ended = [p for p in known.values() if part_mapping(p.wanted)]
        if len(open_ended) > 1:
            raise KgrecError(f"{spell(factory)}: {' and '.join(p.name for p in open_ended)} both take sub-tables of any name; only one may")
        named = {name: p for name, p in known.items() if p not in open_ended}
        arguments: dict[str, Any] = {}
        faults = Faults()
        for key, node in table.items():
            with faults:
                if key in named:
                    arguments[key] = None
                    arguments[key] = self.convert(named[key].wanted, node, (*where, key))
                elif open_ended and isinstance(node, dict):
                    kind = part_mapping(open_ended[0].wanted)
                    check_name(key, place)
                    arguments.setdefault(open_ended[0].name, {})[key] = self.part(str(kind), node, (*where, key))
                else:
                    source = _source(node)
                    if (moved := getattr(factory, "moved", None)) and (instead := moved(key, place)):
                        raise KgrecError(f"{place}.{key} ({source}) is no key of [{place}]: {instead}")
                    raise choices(f"key of [{place}]", key, named, f"it stands in {source}" + (f"; see `{see}`" if see else ""))
        for parameter in known.values():
            with faults:
                if parameter.name not in arguments and parameter.default is REQUIRED:
                    raise KgrecError(_missing(parameter, place))
        faults.refuse()
        return Call(factory, arguments)

    def convert(self, wanted: Any, node: Any, where: Where) -> Any:
        """The value as the annotation wants it; "none" is None where that may be. Raises KgrecError naming place, value, type and layer."""
        if isinstance(node, Leaf) and node.value == "none" and may_be_none(wanted):
            return None
        wanted = without_none(wanted)
        origin, args = get_origin(wanted), get_args(wanted)
        if wanted in (Any, object):
            return plain(node)
        if origin is Annotated:
            value = self.convert(args[0], node, where)
            if any(isinstance(of, Range) and not of.holds(value) for of in args[1:]):
                raise _mistyped(node, spell(wanted), where)
            return value
        if origin in (Union, types.UnionType):
            return self._either(wanted, args, node, where)
        if kind := part_kind(wanted):
            return self.part(kind, node, where)
        if is_dataclass(wanted) or (origin or wanted) in MAPPINGS:
            if not isinstance(node, dict):
                raise _mistyped(node, f"a table [{'.'.join(where)}]", where)
            if is_dataclass(wanted):
                return self.call(wanted, node, where)
            value_type = args[1] if args else Any
            found, faults = {}, Faults()
            for key, value in node.items():
                with faults:
                    found[key] = self.convert(value_type, value, (*where, key))
            faults.refuse()
            return found
        if isinstance(node, dict):
            raise _mistyped(node, f"{spell(wanted)}, not a table", where)
        if (origin or wanted) in LISTS:
            return self._list(wanted, node, where)
        return self._scalar(wanted, node, where)

    def _either(self, wanted: Any, args: tuple[Any, ...], node: Any, where: Where) -> Any:
        options = [a for a in args if a is not types.NoneType and _takes_table(a) == isinstance(node, dict)] or list(args)
        exact = [a for a in options if isinstance(node, Leaf) and a is type(node.value)]
        if len(options) == 1:
            return self.convert(options[0], node, where)
        for option in exact + options:
            try:
                return self.convert(option, node, where)
            except KgrecError:
                continue  # the next alternative may fit; if none does, the error below names them all
        raise _mistyped(node, spell(wanted), where)

    def _list(self, wanted: Any, node: Leaf, where: Where) -> Any:
        kind, args = get_origin(wanted) or wanted, get_args(wanted)
        fixed = kind is tuple and args and args[-1] is not ...
        if not isinstance(node.value, list):
            alone = not fixed and type(node.value) in args
            raise _mistyped(node, f"a list, {toml([node.value])}" if alone else spell(wanted), where)
        if fixed and len(node.value) != len(args):
            raise _mistyped(node, f"{spell(wanted)}, {len(args)} values", where)
        types_ = args if fixed else [args[0] if args else Any] * len(node.value)
        items = [tree(value, node.folder, node.source) for value in node.value]
        values = [self.convert(t, item, (*where, str(i))) for i, (t, item) in enumerate(zip(types_, items, strict=True))]
        nested = {i: self.written.pop((*where, str(i))) for i in range(len(items)) if (*where, str(i)) in self.written}
        if nested:
            self.written[where] = [nested.get(i, value) for i, value in enumerate(node.value)]
        return LISTS[kind](values)

    def _scalar(self, wanted: Any, node: Leaf, where: Where) -> Any:
        value = node.value
        if get_origin(wanted) is Literal:
            if any(type(value) is type(a) and value == a for a in get_args(wanted)):
                return value
            raise _mistyped(node, spell(wanted), where)
        if wanted not in SCALARS:
            raise KgrecError(f"{'.'.join(where)}: a recipe cannot give a {spell(wanted)}; the part's annotation must be a plain type")
        if wanted in (str, Path) and isinstance(value, str) and value.startswith("env:"):
            return Secret(value.removeprefix("env:"), where, wanted)
        if wanted is Path and isinstance(value, str):
            path = node.folder / Path(value).expanduser()
            self.written[where] = str(path)
            return path
        if wanted is str and isinstance(value, datetime.date | datetime.time):  # TOML's unquoted dates
            return value.isoformat()
        if wanted is float and type(value) is int:
            return float(value)
        if type(value) is not wanted:
            raise _mistyped(node, spell(wanted), where)
        if wanted is float and not math.isfinite(value):
            raise _mistyped(node, "a finite number", where)
        return value


def check_name(name: str, place: str) -> None:
    """A task or a part within a part is named in a recipe, and a folder of the run has that name."""
    if not re.fullmatch(r"[^\W_][^/\\\0-\x1f\x7f]{0,99}", name):
        raise KgrecError(
            f"{place}: {name[:40]!r} is no name; it begins with a letter or a digit, has no / and \\ and at most 100 characters"
        )


def _takes_table(wanted: Any) -> bool:
    return bool(part_kind(wanted)) or is_dataclass(wanted) or (get_origin(wanted) or wanted) in MAPPINGS


def _check_kind(kind: str, factory: Any, place: str, use: Leaf) -> None:
    if not isinstance(factory, type):
        return
    if kind == "data":  # whose base would import torch
        right, how = hasattr(factory, "load"), "it needs a method load"
    else:
        base = getattr(kgrec_core, "Source" if kind == "knowledge" else kind.capitalize())
        right, how = issubclass(factory, base), f"derive it from kgrec_core.{base.__name__}"
    if not right:
        raise KgrecError(f"{place}.use = {use.value!r} ({use.source}): {factory.__name__} is no {kind}; {how}")


def _missing(parameter: Parameter, place: str) -> str:
    if part_mapping(parameter.wanted):
        return f"[{place}] needs a part: add a sub-table [{place}.NAME] with `use` (any name)"
    if kind := part_kind(parameter.wanted):
        return f"[{place}] needs the {kind} '{parameter.name}': add a sub-table [{place}.{parameter.name}] with `use`"
    return f"[{place}] needs the key '{parameter.name}' ({spell(parameter.wanted)})"


def _source(node: Any) -> str:
    while isinstance(node, dict) and node:
        node = next(iter(node.values()))
    return node.source if isinstance(node, Leaf) else "the recipe"


def _mistyped(node: Any, wanted: str, where: Where) -> KgrecError:
    place = ".".join(where)
    given = f"{place} = {toml(node.value)} ({node.source})" if isinstance(node, Leaf) else f"[{place}] ({_source(node)})"
    return KgrecError(f"{given}: it takes {wanted}")
