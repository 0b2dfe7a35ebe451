"""What a part's constructor takes: its annotated parameters are the keys of its recipe table.

Written once, in the constructor; `kgrec show` prints them and `kgrec_core.recipe.binding` checks recipes against them.
"""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from kgrec_core.errors import KgrecError
from kgrec_core.recipe.components import KINDS

MAPPINGS = (dict, Mapping)
REQUIRED = inspect.Parameter.empty


class Parameter(NamedTuple):
    """One key of a part. `default` is REQUIRED where there is none."""

    name: str
    wanted: Any
    default: Any
    doc: str


def parameters(factory: Callable[..., Any]) -> dict[str, Parameter]:
    """The keys that a part takes, in the order of its constructor; `doc` comes from "name: text" lines of its docstring.

    Raises KgrecError when an annotation cannot be resolved.
    """
    try:
        plain_class = isinstance(factory, type) and not is_dataclass(factory)
        hints = get_type_hints(factory.__init__ if plain_class else factory, include_extras=True)  # type: ignore[misc]
        signature = inspect.signature(factory).parameters.values()
    except (NameError, TypeError, ValueError, AttributeError) as error:
        name = getattr(factory, "__qualname__", repr(factory))
        raise KgrecError(f"{name}: its constructor cannot be read ({error}); import what annotations name at module level") from error
    named = [p for p in signature if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    docs = documented(inspect.getdoc(factory) or "", [p.name for p in named])
    made = {f.name: f.default_factory() for f in fields(factory) if f.default_factory is not MISSING} if is_dataclass(factory) else {}
    return {p.name: Parameter(p.name, hints.get(p.name, Any), made.get(p.name, p.default), docs.get(p.name, "")) for p in named}


def spell(wanted: Any) -> str:
    """A type in a user's words."""
    origin, args = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return " | ".join(map(toml, args))
    if origin is Annotated:
        return f"{spell(args[0])} {args[1]}"
    if origin in (Union, types.UnionType):
        return " | ".join(spell(a) for a in args)
    if origin is not None:
        return f"{getattr(origin, '__name__', origin)}[{', '.join('...' if a is ... else spell(a) for a in args)}]"
    return toml(None) if wanted is types.NoneType else getattr(wanted, "__name__", str(wanted))


def expand(key: Parameter) -> list[Parameter]:
    """The key and, where it takes dataclasses, their keys too: entities -> entities.NAME.file, entities.NAME.id, ..."""
    wanted, name = without_none(key.wanted), key.name
    if (get_origin(wanted) or wanted) in MAPPINGS and get_args(wanted):
        wanted, name = get_args(wanted)[1], f"{name}.NAME"
    if not is_dataclass(wanted):
        return [key]
    below = [expand(p._replace(name=f"{name}.{p.name}")) for p in parameters(wanted).values()]  # type: ignore[arg-type]
    return [key, *(p for ps in below for p in ps)]


def part_kind(wanted: Any) -> str | None:
    """The kind of part that an annotation asks for, through `| None`; None for anything else."""
    wanted = without_none(wanted)
    kind = getattr(wanted, "__name__", "").lower()
    home = "training.objective" if kind == "objective" else "interfaces"
    return kind if kind in (*KINDS, "objective") and wanted.__module__ == f"kgrec_core.{home}" else None


def part_mapping(wanted: Any) -> str | None:
    """The kind K of part in Mapping[str, K]; objectives have a table of their own around them."""
    wanted = without_none(wanted)
    kind = part_kind(get_args(wanted)[1]) if get_origin(wanted) in MAPPINGS else None
    return kind if kind in KINDS else None


def without_none(wanted: Any) -> Any:
    """X of `X | None`."""
    if get_origin(wanted) in (Union, types.UnionType):
        rest = [a for a in get_args(wanted) if a is not types.NoneType]
        return rest[0] if len(rest) == 1 else wanted
    return wanted


def may_be_none(wanted: Any) -> bool:
    """Whether the word "none" means None for an annotation: X | None, unless X is a Literal with a "none" of its own."""
    options = get_args(wanted) if get_origin(wanted) in (Union, types.UnionType) else ()
    return types.NoneType in options and not any("none" in get_args(o) for o in options if get_origin(o) is Literal)


def toml(value: Any) -> str:
    """A value as a recipe would have it; None is "none" there."""
    return json.dumps("none" if value is None else value, ensure_ascii=False, default=str)


def documented(text: str, names: list[str]) -> dict[str, str]:
    """What a docstring says about each name: "name: text" or "one, two: text", at the start of a line or of a sentence."""
    name = "|".join(map(re.escape, names))
    heads = list(re.finditer(rf"(?:^|(?<=[.;] ))((?:(?:{name}), )*(?:{name})): ", text, re.MULTILINE))
    ends = [head.start() for head in heads[1:]] + [len(text)] * bool(heads)
    told = [" ".join(text[head.end() : end].partition("\n\n")[0].split()) for head, end in zip(heads, ends, strict=True)]
    return {name: doc for head, doc in zip(heads, told, strict=True) for name in head[1].split(", ")}
