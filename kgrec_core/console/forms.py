"""From a verb's request type to a form, and from what was typed in back to the values that its endpoint takes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin

from kgrec_core.errors import KgrecError
from kgrec_core.recipe.parameters import REQUIRED
from kgrec_core.requests import Field
from kgrec_core.serving.body import Limits
from kgrec_core.serving.problem import Refused
from kgrec_core.serving.schema import example_of, is_local, offered

FIRST = 4  # fields that are seen at once, beside those that must be given
TICKED = "explain"  # asked for on a page, where there is room for it
Form = Mapping[str, list[str]]
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})([.][0-9]{1,12})?")


class Input(NamedTuple):
    """One field as a page shows it. kind: "text", "long" (several lines), "rows", "number", "whole", "choice" or "tick"."""

    name: str
    label: str
    hint: str
    kind: str
    value: str
    example: str
    required: bool
    choices: tuple[str, ...] = ()


def inputs(request: type, form: Form | None = None, language: str = "") -> tuple[list[Input], list[Input]]:
    """What is seen at once, and what is folded away; with what was typed in before. language: of the page, which answers are
    asked in where there is a choice."""
    example, seen, folded = example_of(request), [], []
    for field in _fields(request).values():
        one = _input(field, form, example.get(field.name), language)
        at_once = one.required or field.name == TICKED or sum(not of.required for of in seen) < FIRST
        (seen if at_once else folded).append(one)
    return seen, folded


def values(request: type, form: Form, limits: Limits) -> dict[str, Any]:
    """JSON values of what was typed in; what was left empty is left out. Raises Refused for a table that is none."""
    found: dict[str, Any] = {}
    for name, field in _fields(request).items():
        told, kind = form.get(name, [""])[0].replace("\r\n", "\n").replace("\r", "\n"), _kind(field)
        if kind == "tick":
            found[name] = name in form
        elif not told.strip():
            continue
        elif kind == "rows":
            found[name] = table(told, name)
        elif kind in ("number", "whole"):
            found[name] = _number(told.strip(), name, kind)
        else:
            found[name] = _many(field, told) if field.many else told.strip("\n")
    if len(found) > limits.number:
        raise Refused(400, "the form has too many fields")
    return found


def table(text: str, name: str) -> list[dict[str, Any]]:
    """Rows of a pasted table, its first line the columns' names; parted by tabs, as spreadsheets give it, or by commas."""
    rows = list(csv.DictReader(io.StringIO(text.strip("\n")), delimiter="\t" if "\t" in text.partition("\n")[0] else ","))
    if not rows:
        raise Refused(400, f"{name}: the first line names the columns, each further line is a row")
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise Refused(400, f"{name} line {number}: it has not as many cells as the first line names columns")
    columns = {column: _column([row[column].strip() for row in rows]) for column in rows[0]}
    return [{column: cells[i] for column, cells in columns.items() if cells[i] != ""} for i in range(len(rows))]


def _column(cells: list[str]) -> list[Any]:
    """Numbers where every cell is one as it is written; 007 is a name."""
    if not all(_NUMBER.fullmatch(cell) for cell in cells if cell):
        return list(cells)
    return ["" if not cell else float(cell) if "." in cell else int(cell) for cell in cells]


def _fields(request: type) -> dict[str, Field]:
    return {name: field for name, field in offered(request).items() if not field.how.get("hidden")}


def _input(field: Field, form: Form | None, example: Any, language: str) -> Input:
    kind, required = _kind(field), field.default is REQUIRED
    plain = None if required or field.many else field.default
    if form is not None:
        value = form.get(field.name, [""])[0]
    elif kind == "tick":
        value = "on" if plain or field.name == TICKED else ""
    else:
        value = "" if plain is None else str(plain)
    if form is None and kind == "choice" and field.name == "language" and language in _choices(field):
        value = language
    label = field.name.replace("_", " ")
    return Input(field.name, label, field.doc, kind, value, _written(example), required, _choices(field))


def _kind(field: Field) -> str:
    if is_local(field):
        return "rows"
    if field.wanted is bool:
        return "tick"
    if get_origin(field.wanted) is Literal:
        return "choice"
    if field.wanted in (int, float):
        return "whole" if field.wanted is int else "number"
    return "long" if field.how.get("long") or (field.many and _whole(field)) else "text"


def _choices(field: Field) -> tuple[str, ...]:
    if get_origin(field.wanted) is not Literal:
        return ()
    return (*(() if field.default is REQUIRED else ("",)), *map(str, get_args(field.wanted)))


def _whole(field: Field) -> bool:
    """Whether each line is one value, commas and all."""
    return bool(field.how.get("repeat") or field.how.get("argument")) or get_origin(field.wanted) is not tuple


def _many(field: Field, told: str) -> list[str]:
    parts = told.split("\n") if _whole(field) else told.replace("\n", ",").split(",")
    return [part.strip() for part in parts if part.strip()]


def _number(told: str, name: str, kind: str) -> int | float:
    try:
        return int(told) if kind == "whole" else float(told)
    except ValueError:
        raise KgrecError(f"{name} = {told[:40]!r}: it takes a {'whole ' if kind == 'whole' else ''}number") from None


def _written(example: Any) -> str:
    if example is None or isinstance(example, bool) or (isinstance(example, list) and any(isinstance(one, dict) for one in example)):
        return ""
    if isinstance(example, Mapping):
        return ", ".join(f"{name}={value}" for name, value in example.items())
    return ",".join(map(str, example)) if isinstance(example, list) else str(example)
