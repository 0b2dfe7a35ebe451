"""From a verb's request type to what its endpoint takes: a JSON schema for OpenAPI, and values from JSON that `made` reads.

A field that names something of the server's own (a file, an address, a secret: a Path, or metadata `local`) is not taken from the
network. Where a verb cannot do without its file, the endpoint takes the file's rows instead: a list of objects.
"""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from kgrec_core.errors import KgrecError, choices
from kgrec_core.recipe.parameters import REQUIRED
from kgrec_core.requests import Field, about, fields_of, made

PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}


@cache
def offered(request: type) -> dict[str, Field]:
    """The fields that the network may give."""
    return {name: field for name, field in fields_of(request).items() if not is_local(field) or field.default is REQUIRED}


@cache
def _of_files(request: type) -> frozenset[str]:
    """The fields that are given as the rows of a file."""
    return frozenset(name for name, field in offered(request).items() if is_local(field))


def schema(request: type, number: int) -> dict[str, Any]:
    """Of one request. number: the largest whole number."""
    fields = offered(request)
    found: dict[str, Any] = {
        "type": "object",
        "properties": {n: _field(f, number) for n, f in fields.items()},
        "additionalProperties": False,
    }
    if required := [name for name, field in fields.items() if field.default is REQUIRED]:
        found["required"] = required
    if example := example_of(request):
        found["example"] = example
    return found


def example_of(request: type) -> dict[str, Any]:
    """The request of the docstring's command, as JSON; {} where that cannot be read."""
    _, told = about(request)
    fields = offered(request)
    command = re.search(r"kgrec \S+ \S+(.*)", told)
    try:
        words = shlex.split(command.group(1)) if command else []
    except ValueError:
        return {}
    options = {option: field for field in fields.values() for option in field.options if not field.how.get("argument")}
    arguments = [field for field in fields.values() if field.how.get("argument")]
    found: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        if word.startswith("-"):
            field = options.get(word)
            if field is None:
                words = words[1:] if word == "--run" else words
            elif field.wanted is bool:
                found[field.name] = True
            elif words:
                found[field.name] = _example(field, words.pop(0))
        elif arguments:
            field = arguments.pop(0)
            found[field.name] = [{}] if is_local(field) else _example(field, word)
    return found


@contextmanager
def requests_of(request: type, values: list[Mapping[str, Any]], word: str) -> Iterator[list[Any]]:
    """The requests, or a KgrecError in the place of each that is none; rows lie in a file meanwhile."""
    rows = any(given.get(name) is not None for given in values for name in _of_files(request))
    with tempfile.TemporaryDirectory(prefix="kgrec-") if rows else nullcontext("") as name:
        found: list[Any] = []
        for number, given in enumerate(values):
            try:
                found.append(_made(request, given, word, Path(name) / f"rows{number}.jsonl"))
            except KgrecError as error:
                found.append(error)
        yield found


def _made(request: type, given: Mapping[str, Any], word: str, file: Path) -> Any:
    if stray := [name for name in given if name not in offered(request)]:
        raise choices(f"field of {word}", str(stray[0]), offered(request))
    values = dict(given)
    for name in _of_files(request):
        if (rows := values.get(name)) is not None:
            if not isinstance(rows, list) or not rows or not all(isinstance(row, Mapping) for row in rows):
                raise KgrecError(f"{word}: {name} takes the rows of the file, a list of objects such as [{{...}}]")
            file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            values[name] = file
    try:
        return made(request, values, word)
    except (TypeError, ValueError, OverflowError) as error:
        raise KgrecError(f"{word}: {error}") from None


def is_local(field: Field) -> bool:
    """Whether it names something of the server's own."""
    return bool(field.how.get("local")) or field.wanted is Path or Path in get_args(field.wanted)


def _field(field: Field, number: int) -> dict[str, Any]:
    found = {"type": "array", "items": {"type": "object"}, "minItems": 1} if is_local(field) else _type(field.wanted, number)
    if field.doc:
        found["description"] = field.doc
    if field.default is None:
        found = {"anyOf": [found, {"type": "null"}]} | ({"description": found.pop("description")} if "description" in found else {})
    elif isinstance(field.default, str | int | float | bool):
        found["default"] = field.default
    return found


def _type(wanted: Any, number: int) -> dict[str, Any]:
    if get_origin(wanted) is tuple:
        return {"type": "array", "items": _type(get_args(wanted)[0], number)}
    if get_origin(wanted) in (Mapping, dict):
        return {"type": "object", "additionalProperties": _type(get_args(wanted)[1], number)}
    if get_origin(wanted) is Literal:
        return {"enum": list(get_args(wanted))}
    found: dict[str, Any] = {"type": PLAIN[wanted]} if wanted in PLAIN else {}
    return found | ({"minimum": -number, "maximum": number} if wanted is int else {})


def _example(field: Field, word: str) -> Any:
    if field.many:
        if get_origin(field.wanted) is tuple:
            return [word] if field.how.get("repeat") or field.how.get("argument") else word.split(",")
        name, _, value = word.partition("=")
        return {name: value}
    return field.wanted(word) if field.wanted in (int, float) else word
