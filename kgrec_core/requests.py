"""What a verb takes: the fields of its request, a frozen dataclass. Command line, Python, files of rows and JSON all come through `made`.

    @dataclass(frozen=True)
    class Recommend:
        \"\"\"Products for a customer.

        user: a known customer. k: how many products.

        Example: kgrec ecommerce recommend --user 7 -k 5
        \"\"\"

        user: str | None = None
        k: int = field(default=10, metadata={"option": "-k"})

A field is a str, int, float, bool, Path, Literal, tuple[X, ...] or Mapping[str, str], or any of these | None. What a value must
be beyond its type is said in the request's `__post_init__`, by a KgrecError. Metadata of a field, all optional:

argument: True = positional on the command line; a tuple as the last one takes all words that are left.
option: the option's name ("--company", or several: ("-k", "--top")), where it is not the field's own.
repeat: True = a tuple is given by the option several times, instead of once as "a,b".
metavar: what stands for the value in --help. envvar: a variable that gives it where the command line does not.
long: True = a text of several lines, where there is room to write.
known: "source" or "target" = `--all` fills it with every known id of the first task's queries or candidates.
stdin: True = "-" on the command line reads standard input. hidden: True = for Python only.
local: True = names something of the machine that answers (an address, a secret), as a Path does: not taken from the network.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from inspect import cleandoc, get_annotations
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from kgrec_core.errors import KgrecError, choices
from kgrec_core.recipe.parameters import REQUIRED, documented, parameters, spell, toml, without_none

PLAIN = frozenset({str, int, bool, types.NoneType})  # with numbers nearly all that an answer consists of
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Field(NamedTuple):
    """One field. annotation: as written; `default` is REQUIRED where there is none; how: its metadata."""

    name: str
    annotation: Any
    default: Any
    doc: str
    how: Mapping[str, Any]

    @property
    def wanted(self) -> Any:
        """X of `X | None`."""
        return without_none(self.annotation)

    @property
    def many(self) -> bool:
        """Whether it takes several values."""
        return get_origin(self.wanted) in (tuple, Mapping, dict)

    @property
    def options(self) -> list[str]:
        """What the command line calls it."""
        if self.how.get("argument"):
            return [self.how.get("metavar") or self.name.upper()]
        names = self.how.get("option", f"--{self.name.replace('_', '-')}")
        return [names] if isinstance(names, str) else list(names)


@cache
def fields_of(request: type) -> dict[str, Field]:
    """The fields of a request by name, in their order. A field's text may stand in the docstring of the base that has it."""
    how = {of.name: of.metadata for of in fields(request)}
    told: dict[str, str] = {}
    for base in request.__mro__:
        told = documented(cleandoc(base.__dict__.get("__doc__") or ""), list(how)) | told
    own = get_annotations(request)  # a base's come after those of the request itself
    every = sorted(parameters(request).values(), key=lambda of: of.name not in own)
    return {p.name: Field(p.name, p.wanted, p.default, told.get(p.name, ""), how[p.name]) for p in every}


def about(request: type) -> tuple[str, str]:
    """What a request's docstring says besides its fields: the text, and its last paragraph where that begins with "Example"."""
    names = list(fields_of(request))
    paragraphs = [p for p in cleandoc(request.__doc__ or "").split("\n\n") if not (names and documented(p, names))]
    example = paragraphs.pop() if paragraphs and paragraphs[-1].startswith("Example") else ""
    return "\n\n".join(paragraphs), example


def made(request: type, values: Mapping[str, Any], word: str = "", typed: bool = False) -> Any:
    """A request of values as they come: text of a command line or a table, JSON, Python's own.

    typed: on a command line, whose names messages then use. None is the default where it is no value of the field.

    Raises KgrecError for an unknown name, a lacking or a mistyped value, and whatever the request itself refuses.
    """
    known, word = fields_of(request), word or request.__name__
    called = {name: field._replace(name=field.options[0]) if typed else field for name, field in known.items()}
    for name in values:
        if name not in known:
            raise choices(f"field of {word}", name, known)
    for field in known.values():
        if field.default is REQUIRED and values.get(field.name) is None:
            raise KgrecError(f"{word} needs {called[field.name].name}: {field.doc or spell(field.wanted)}")
    lacking = {name for name, value in values.items() if value is None and known[name].default not in (None, REQUIRED)}
    return request(**{n: None if v is None else convert(called[n], v) for n, v in values.items() if n not in lacking})


def convert(field: Field, value: Any) -> Any:
    """A value as the field wants it."""
    wanted, of = field.wanted, get_args(field.wanted)
    if not field.many:
        return _scalar(field, wanted, value)
    if get_origin(wanted) is tuple:
        return tuple(_scalar(field, of[0], part) for part in _parts(value, field.how.get("repeat") or field.how.get("argument")))
    if isinstance(value, Mapping):
        return {str(key): _scalar(field, of[1], part) for key, part in value.items()}
    numbers = of[1] in (int, float)  # the last sign is then the one before the number: brand=ACME=2
    pairs = [str(part).rpartition("=") if numbers else str(part).partition("=") for part in _parts(value, numbers)]
    if odd := next((name for name, sign, _ in pairs if not sign), None):
        raise KgrecError(f"{field.name} = {toml(odd)}: write NAME=VALUE")
    return {name: _scalar(field, of[1], part) for name, _, part in pairs}


def as_data(value: Any) -> Any:
    """A result as JSON has it: its own `to_json()`, or the fields of a dataclass or NamedTuple; also inside lists and mappings."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # JSON has no NaN
    if type(value) in PLAIN:
        return value
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return as_data(asdict(value))
    if hasattr(value, "_asdict"):
        return {name: as_data(part) for name, part in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(name): as_data(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_data(part) for part in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _parts(value: Any, whole: Any) -> list[Any]:
    """Of a list; of a text: a JSON list, or what commas part unless the text is one `whole` value."""
    if not isinstance(value, str):
        return list(value) if isinstance(value, list | tuple | set) else [value]
    if value.startswith("["):
        try:
            return list(json.loads(value))
        except ValueError:
            pass  # a text that only begins like a list
    return [value] if whole else [part.strip() for part in value.split(",") if part.strip()]


def _scalar(field: Field, wanted: Any, value: Any) -> Any:
    if wanted is Any or get_origin(wanted) in (Union, types.UnionType):
        return value
    if get_origin(wanted) is Literal:
        found = [choice for choice in get_args(wanted) if str(choice) == str(value)]
        if not found:
            raise choices(field.name, str(value), map(str, get_args(wanted)))
        return found[0]
    whole = isinstance(value, float) and value.is_integer()  # a column with empty cells turns numbers and ids into floats
    try:
        if wanted is bool:
            return WORDS[str(value).lower()]
        if wanted is int and (whole or isinstance(value, int | str)) and not isinstance(value, bool):
            return int(value)
        if wanted is float and isinstance(value, int | float | str) and not isinstance(value, bool):
            return float(value)
        if wanted is str and not isinstance(value, Mapping | list | tuple):
            return str(int(value)) if whole else str(value)
        if wanted is Path and isinstance(value, str | Path):
            return Path(value)
        if wanted not in (bool, int, float, str, Path) and isinstance(wanted, type) and isinstance(value, wanted):
            return value
    except (ValueError, KeyError):
        pass  # said below, as for any other value that is none of the type
    raise KgrecError(f"{field.name} = {toml(value)}: it takes {spell(wanted)}")
