"""A `where`: a condition on the columns of one table, in a small part of SQL, parsed and then computed by Arrow.

    price < 5 AND (colour IN ('red', 'blue') OR name LIKE 'lamp%') AND "sold on" IS NOT NULL

Columns, numbers, texts, TRUE and FALSE; = <> < <= > >=; AND, OR, NOT; IN (list), BETWEEN, LIKE, ILIKE, ~ (a regular expression),
IS NULL; + - * / % on numbers. It is text from outside: functions, sub-queries, comments and whatever else SQL has are refused before
anything is parsed, as are conditions too long or too deep for a parser. Arrow computes in the thread that asks; polars would use threads
of its own, which a forked process does not have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kgrec_core.data.sql import ALLOWED, DEPTH, LENGTH, Fault, parsed
from kgrec_core.errors import KgrecError

_KINDS = {
    "number": "a number",
    "text": "text",
    "truth": "true or false",
    "time": "a time",
    "null": "NULL",
    "other": "neither number nor text",
}


Read = Callable[[pl.Series], pl.Series]


@dataclass(frozen=True)
class Condition:
    """text: as a database takes it, names quoted (PostgreSQL's dialect). columns: that it names.

    numbers: those of text that it compares with numbers; a word in one of them is null.
    """

    text: str
    columns: tuple[str, ...]
    numbers: tuple[str, ...]
    tree: Any
    read: Read

    def meets(self, table: pl.DataFrame) -> NDArray[np.bool_]:
        """(len(table),) the rows for which it holds; where SQL says unknown it does not."""
        _, found = _Computer(table, self.read).of(self.tree)
        return np.broadcast_to(np.asarray(pc.fill_null(found, False)), len(table)).astype(bool)


def _floats(values: pl.Series) -> pl.Series:
    return values.cast(pl.Float64, strict=False)


def condition(where: str, schema: Mapping[str, pl.DataType], setting: str, of: str, read: Read = _floats) -> Condition:
    """Parse a condition on the columns of `of` (a file, a kind). setting: who asked, for messages. read: a column of text as numbers.

    Empty text and NaN are NULL. Raises KgrecError for what is no such condition, an unknown column, and kinds that do not compare.
    """
    if not isinstance(where, str):
        raise KgrecError(f'{setting} = {where!r}: a condition is a text such as "price < 5"')
    shown = f"{setting} = {where[:200]!r}{'...' if len(where) > 200 else ''}"
    if len(where) > LENGTH:
        raise KgrecError(f"{shown} has {len(where):,} characters, and {LENGTH:,} are allowed; filter the file before, or join a table")
    try:
        computer = _Computer(pl.DataFrame(schema=dict(schema)), read)
        tree = parsed(where, schema, of)
        kind, _ = computer.of(tree)
        _wanted(kind, "truth", where)
        if not computer.columns:
            raise Fault(f"it names no column; columns: {', '.join(schema)}")
    except Fault as fault:
        raise KgrecError(f"{shown}: {fault}") from None
    except (pa.ArrowException, OverflowError) as error:
        raise KgrecError(f"{shown} cannot be applied to {of}: {str(error)[:160]}") from None
    return Condition(tree.sql("postgres", identify=True), tuple(computer.columns), tuple(computer.numbers), tree, read)


class _Computer:
    """A tree -> its kind ("number", "text", "truth", "time", "null", "other") and its values: an Arrow array, or a scalar."""

    def __init__(self, table: pl.DataFrame, read: Read) -> None:
        self.table, self.read = table, read
        self.columns: dict[str, None] = {}
        self.numbers: dict[str, None] = {}

    def of(self, node: Any, depth: int = 0) -> tuple[str, Any]:
        from sqlglot import exp

        if depth > 4 * DEPTH:
            raise Fault("it is too deep; write it flatter")
        part = lambda child: self.of(child, depth + 1)  # noqa: E731
        match node:
            case exp.Paren():
                return part(node.this)
            case exp.Column() if isinstance(node.this, exp.Identifier) and not node.table:
                return self._column(node.name)
            case exp.Literal() | exp.Boolean() | exp.Null():
                value = _literal(node)
                return _kind(value), pa.scalar(value, TEXT if isinstance(value, str) else None)
            case exp.And() | exp.Or():
                truths = [self._truth(child, part) for child in node.flatten()]
                return "truth", reduce(pc.and_kleene if isinstance(node, exp.And) else pc.or_kleene, truths)
            case exp.Not():
                return "truth", pc.invert(self._truth(node.this, part))
            case exp.Neg():
                return "number", pc.negate(self._number(node.this, part))
            case exp.Add() | exp.Sub() | exp.Mul() | exp.Div() | exp.Mod():
                one, two = (pc.cast(self._number(child, part), pa.float64(), safe=False) for child in (node.this, node.expression))
                return "number", _null_where(pc.invert(pc.is_finite(found := _ON_TWO[type(node).__name__](one, two))), found)
            case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
                pair, _ = self._alike([node.this, node.expression], part)
                return "truth", _ON_TWO[type(node).__name__](*pair)
            case exp.Between():
                (value, low, high), _ = self._alike([node.this, node.args["low"], node.args["high"]], part)
                return "truth", pc.and_kleene(pc.greater_equal(value, low), pc.less_equal(value, high))
            case exp.In() if node.expressions and not (node.args.get("query") or node.args.get("field") or node.args.get("unnest")):
                return "truth", self._among(node, part)
            case exp.Is():
                return "truth", self._is(node, part)
            case exp.Like() | exp.ILike() | exp.RegexpLike() | exp.RegexpILike():
                found = self._pattern(node, part)
                return "truth", pc.invert(found) if node.args.get("negate") else found
        raise Fault(f"{_shown(node)[:60]!r} is not allowed in a condition; allowed are columns, {ALLOWED}")

    def _column(self, name: str) -> tuple[str, Any]:
        if name not in self.table.columns:  # a word such as IN where a column belongs
            raise Fault(f"{name!r} stands where a column belongs; a column of this name is written in double quotes")
        self.columns[name] = None
        values = self.table[name]
        if values.dtype in (pl.String, pl.Categorical, pl.Enum):
            text = _arrow(values.cast(pl.String))
            return "text", _null_where(pc.equal(text, pa.scalar("", TEXT)), text)
        if values.dtype in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32):
            return "number", _arrow(values.cast(pl.Int64))
        if values.dtype.is_numeric():
            return "number", _numbers(values)
        if values.dtype in (pl.Date, pl.Datetime):
            return "time", pc.cast(_arrow(values), TIME)
        return ("truth" if values.dtype == pl.Boolean else "other"), _arrow(values)

    def _truth(self, node: Any, part: Callable) -> Any:
        kind, values = part(node)
        _wanted(kind, "truth", _shown(node))
        return values

    def _number(self, node: Any, part: Callable) -> Any:
        kind, values = part(node)
        if kind == "text":
            return self._read(node, "number")
        _wanted(kind, "number", _shown(node))
        return values

    def _alike(self, nodes: list[Any], part: Callable) -> tuple[list[Any], str]:
        """Values of one kind, so that they compare: a text column beside numbers is read as numbers, a text beside times as a time."""
        found = [part(node) for node in nodes]
        kinds = {kind for kind, _ in found}
        if "null" in kinds:
            raise Fault("nothing is equal to NULL or more than it; write IS NULL or IS NOT NULL")
        for wanted in ("number", "time"):
            if kinds == {wanted, "text"}:
                return [
                    self._read(node, wanted) if kind == "text" else values for node, (kind, values) in zip(nodes, found, strict=True)
                ], wanted
        if len(kinds) > 1 or kinds == {"other"}:
            told = [f"{_shown(node)[:40]} is {_KINDS[kind]}" for node, (kind, _) in zip(nodes, found, strict=True)]
            raise Fault(f"{' and '.join(told)}, which cannot be compared")
        values = [values for _, values in found]
        if kinds == {"number"} and len({each.type for each in values}) > 1:
            values = [pc.cast(each, pa.float64(), safe=False) for each in values]
        return values, kinds.pop()

    def _read(self, node: Any, wanted: str) -> Any:
        """A text as a number or a time."""
        from sqlglot import exp

        while isinstance(node, exp.Paren):
            node = node.this
        if wanted == "number" and isinstance(node, exp.Column):
            self.numbers[node.name] = None
            return _numbers(self.read(self.table[node.name].cast(pl.String)))
        if wanted == "time" and isinstance(node, exp.Literal):
            try:
                time = datetime.fromisoformat(node.this)
                return pa.scalar(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time, TIME)
            except (ValueError, OverflowError):
                raise Fault(f"{node.this[:40]!r} is no time; write '2024-03-01' or '2024-03-01 12:30'") from None
        raise Fault(f"{_shown(node)[:40]} is text, and is compared with {_KINDS[wanted]}; a number stands without quotes")

    def _among(self, node: Any, part: Callable) -> Any:
        values = [_literal(value) for value in node.expressions]
        if len(kinds := {_kind(value) for value in values}) > 1 or kinds <= {"null", "truth"}:
            raise Fault("a list after IN holds numbers or 'texts' only, all of one kind")
        (value, *_), kind = self._alike([node.this, node.expressions[0]], part)
        if kind == "time":
            among = pa.array([self._read(other, kind).as_py() for other in node.expressions], TIME)
        elif kind == "number":
            whole = all(isinstance(number, int) for number in values) and value.type == pa.int64()
            value, among = (pc.cast(each, pa.int64() if whole else pa.float64(), safe=False) for each in (value, pa.array(values)))
        else:
            among = pa.array(values, TEXT)
        return _null_where(pc.is_null(value), pc.is_in(value, value_set=among))

    def _is(self, node: Any, part: Callable) -> Any:
        from sqlglot import exp

        _, values = part(node.this)
        if isinstance(node.expression, exp.Null):
            found = pc.is_null(values)
        elif isinstance(node.expression, exp.Boolean):
            found = pc.fill_null(pc.equal(self._truth(node.this, part), pa.scalar(bool(node.expression.this))), False)
        else:
            raise Fault("after IS stands NULL, NOT NULL, TRUE or FALSE")
        return pc.invert(found) if node.args.get("negate") else found

    def _pattern(self, node: Any, part: Callable) -> Any:
        from sqlglot import exp

        kind, text = part(node.this)
        _wanted(kind, "text", _shown(node.this))
        if not isinstance(node.expression, exp.Literal) or not node.expression.is_string:
            raise Fault("a pattern is a text in single quotes")
        pattern = node.expression.this
        if isinstance(node, exp.Like | exp.ILike):
            pattern = "(?s)^" + "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in pattern) + "$"
        pc.match_substring_regex(pa.scalar("", TEXT), pattern)  # a table without rows would not look at it
        return pc.match_substring_regex(text, pattern, ignore_case=isinstance(node, exp.ILike | exp.RegexpILike))


TEXT, TIME = pa.large_string(), pa.timestamp("us")
_ON_TWO: dict[str, Callable[[Any, Any], Any]] = {
    **{"EQ": pc.equal, "NEQ": pc.not_equal, "LT": pc.less, "LTE": pc.less_equal, "GT": pc.greater, "GTE": pc.greater_equal},
    **{"Add": pc.add, "Sub": pc.subtract, "Mul": pc.multiply, "Div": pc.divide},
    "Mod": lambda a, b: pc.subtract(a, pc.multiply(b, pc.trunc(pc.divide(a, b)))),
}


def _arrow(values: pl.Series) -> Any:
    return values.to_arrow(compat_level=pl.CompatLevel.oldest())


def _numbers(values: pl.Series) -> Any:
    values = _arrow(values.cast(pl.Float64))
    return _null_where(pc.is_nan(values), values)


def _null_where(odd: Any, values: Any) -> Any:
    return pc.if_else(odd, pa.scalar(None, values.type), values)


def _shown(node: Any) -> str:
    """As a person would have written it."""
    return re.sub(r'"(\w+)"', r"\1", node.sql("postgres"))


def _literal(node: Any) -> float | int | str | bool | None:
    from sqlglot import exp

    if isinstance(node, exp.Paren):
        return _literal(node.this)
    if isinstance(node, exp.Neg) and isinstance(value := _literal(node.this), int | float):
        return -value
    if isinstance(node, exp.Null):
        return None
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if not isinstance(node, exp.Literal):
        raise Fault(f"{_shown(node)[:40]} stands where a number or a 'text' belongs")
    if node.is_string:
        return node.this
    number = float(node.this)
    return int(node.this) if node.this.isdecimal() and number < 2**63 else number


def _kind(value: object) -> str:
    return {bool: "truth", str: "text", type(None): "null"}.get(type(value), "number")


def _wanted(kind: str, wanted: str, text: str) -> None:
    if kind != wanted:
        remedy = 'write one such as "price < 5"' if wanted == "truth" else "compare it with = or <"
        what = "no condition" if wanted == "truth" else f"not {_KINDS[wanted]}"
        raise Fault(f"{text[:60]!r} is {_KINDS[kind]} and {what}; {remedy}")
