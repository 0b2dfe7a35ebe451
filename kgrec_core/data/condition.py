"""A `where`: a condition on the columns of one table, in a small part of SQL, parsed and compiled to a polars expression.

    price < 5 AND (colour IN ('red', 'blue') OR name LIKE 'lamp%') AND "sold on" IS NOT NULL

Columns, numbers, texts, TRUE and FALSE; = <> < <= > >=; AND, OR, NOT; IN (list), BETWEEN, LIKE, ILIKE, ~ (a regular expression),
IS NULL; + - * / % on numbers. It is text from outside: functions, sub-queries, comments and whatever else SQL has are refused before
anything is parsed, as are conditions too long or too deep for a parser.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import polars as pl
from polars.exceptions import PolarsError

from kgrec_core.errors import KgrecError, no_column

LENGTH, DEPTH, WORDS = 20_000, 32, 5_000  # characters; brackets, NOTs and signs within each other; words and signs
_OPERATORS = {"AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "ILIKE", "IS", "NULL", "TRUE", "FALSE"}
_BEFORE_BRACKET = {"AND", "OR", "NOT", "IN", "BETWEEN"}
_SIGNS = {"(", ")", ",", "=", "==", "<>", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "~", "!~", "~*", "!~*"}
_ON_TWO: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    **{"EQ": operator.eq, "NEQ": operator.ne, "LT": operator.lt, "LTE": operator.le, "GT": operator.gt, "GTE": operator.ge},
    **{"Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Div": operator.truediv, "Mod": operator.mod},
}
_KINDS = {
    "number": "a number",
    "text": "text",
    "truth": "true or false",
    "time": "a time",
    "null": "NULL",
    "other": "neither number nor text",
}


class Condition(NamedTuple):
    """text: as a database takes it, names quoted (PostgreSQL's dialect). expr: Boolean, null where SQL says unknown.

    columns: that it names. numbers: those of text that it compares with numbers; a word in one of them is null.
    """

    text: str
    expr: pl.Expr
    columns: tuple[str, ...]
    numbers: tuple[str, ...]


def condition(where: str, schema: Mapping[str, pl.DataType], setting: str, of: str) -> Condition:
    """Parse a condition on the columns of `of` (a file, a kind). setting: who asked, for messages.

    Empty text and NaN are NULL. Raises KgrecError for what is no such condition, an unknown column, and kinds that do not compare.
    """
    if not isinstance(where, str):
        raise KgrecError(f'{setting} = {where!r}: a condition is a text such as "price < 5"')
    shown = f"{setting} = {where[:200]!r}{'...' if len(where) > 200 else ''}"
    if len(where) > LENGTH:
        raise KgrecError(f"{shown} has {len(where):,} characters, and {LENGTH:,} are allowed; filter the file before, or join a table")
    try:
        compiled = _Compiler(schema)
        tree = _parsed(where, schema, of)
        kind, expr = compiled.of(tree)
        _wanted(kind, "truth", where)
        if not compiled.columns:
            raise _Fault(f"it names no column; columns: {', '.join(schema)}")
        pl.DataFrame(schema=dict(schema)).select_seq(expr)  # threads of polars would be missing after a fork
    except _Fault as fault:
        raise KgrecError(f"{shown}: {fault}") from None
    except PolarsError as error:
        raise KgrecError(f"{shown} cannot be applied to {of}: {str(error).splitlines()[0][:160]}") from None
    return Condition(tree.sql("postgres", identify=True), expr, tuple(compiled.columns), tuple(compiled.numbers))


class _Fault(Exception):
    """What is wrong with a condition; `condition` adds whose it is."""


def _parsed(where: str, schema: Mapping[str, pl.DataType], of: str) -> Any:
    """The tree, of words that `_checked` has let pass."""
    from sqlglot import exp
    from sqlglot.dialects.postgres import Postgres
    from sqlglot.errors import ErrorLevel, SqlglotError

    try:
        tokens = _checked(Postgres().tokenize(where), schema, of)
        (tree,) = Postgres().parser(error_level=ErrorLevel.RAISE).parse_into(exp.Condition, tokens, where)
    except (SqlglotError, RecursionError, ValueError):  # a half surrogate is no text
        tree = None
    if tree is None:
        raise _Fault(f"it is no condition; write one such as \"price < 5 AND colour = 'red'\"; columns of {of}: {', '.join(schema)}")
    return tree


def _checked(tokens: Iterable[Any], schema: Mapping[str, pl.DataType], of: str) -> list[Any]:
    """The tokens, every word that is no operator as the column that it names."""
    from sqlglot.tokens import Token, TokenType

    out, tokens, depth, signs, nots = [], list(tokens), 0, 0, 0
    if len(tokens) > WORDS:
        raise _Fault(f"it has {len(tokens):,} words and signs, and {WORDS:,} are allowed")
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        word, kind = token.text.upper(), token.token_type
        if token.comments:
            raise _Fault("it holds a comment; leave that out")
        depth += (token.text == "(") - (token.text == ")")
        signs = signs + 1 if token.text in ("-", "+") else 0
        nots = 0 if word in ("AND", "OR", "(", ")", ",") else nots + (word == "NOT")
        if max(depth, signs, nots) > DEPTH:
            raise _Fault(f"more than {DEPTH} brackets, NOTs or signs stand within each other; write it flatter")
        quoted = kind == TokenType.IDENTIFIER
        named = quoted or (word not in _OPERATORS and re.match(r"\w", word) and not kind.name.endswith("STRING"))
        begins = following is not None and ((word == "!" and following.text[0] == "~") or (word == "." and following.text[0].isdecimal()))
        if kind in (TokenType.STRING, TokenType.NUMBER) or begins or (not named and word in _OPERATORS | _SIGNS):
            if following is not None and following.text == "(" and word in _OPERATORS - _BEFORE_BRACKET:
                raise _Fault(f"{word} is followed by a bracket")
            out.append(token)
        elif not named:
            raise _Fault(f"{token.text[:20]!r} is not allowed in a condition; allowed are columns, numbers, 'texts', {_allowed()}")
        elif following is not None and following.text == "(" and following.token_type == TokenType.L_PAREN:
            raise _Fault(f"{token.text[:40]} (...) is a function or a query, and none is allowed; allowed are columns, {_allowed()}")
        elif token.text not in schema:
            raise _Fault(str(no_column(repr(token.text[:60]), token.text[:60], of, schema)))
        else:
            out.append(Token(TokenType.IDENTIFIER, token.text, token.line, token.col, token.start, token.end))
    return out


def _allowed() -> str:
    return "comparison, AND, OR, NOT, IN (list), BETWEEN, LIKE, ~, IS NULL and + - * / %"


class _Compiler:
    """A tree -> its kind ("number", "text", "truth", "time", "null", "other") and the expression."""

    def __init__(self, schema: Mapping[str, pl.DataType]) -> None:
        self.schema = schema
        self.columns: dict[str, None] = {}
        self.numbers: dict[str, None] = {}

    def of(self, node: Any, depth: int = 0) -> tuple[str, pl.Expr]:
        from sqlglot import exp

        if depth > 4 * DEPTH:
            raise _Fault("it is too deep; write it flatter")
        part = lambda child: self.of(child, depth + 1)  # noqa: E731
        match node:
            case exp.Paren():
                return part(node.this)
            case exp.Column() if isinstance(node.this, exp.Identifier) and not node.table:
                return self._column(node.name)
            case exp.Literal() | exp.Boolean() | exp.Null():
                value = _literal(node)
                return _kind(value), pl.lit(value)
            case exp.And() | exp.Or():
                truths = [self._truth(child, part) for child in node.flatten()]
                return "truth", (pl.all_horizontal if isinstance(node, exp.And) else pl.any_horizontal)(truths)
            case exp.Not():
                return "truth", ~self._truth(node.this, part)
            case exp.Neg():
                return "number", -self._number(node.this, part)
            case exp.Add() | exp.Sub() | exp.Mul() | exp.Div() | exp.Mod():
                found = _ON_TWO[type(node).__name__](
                    *(self._number(child, part).cast(pl.Float64) for child in (node.this, node.expression))
                )
                return "number", pl.when(found.is_finite()).then(found)
            case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
                (one, two), _ = self._alike([node.this, node.expression], part)
                return "truth", _ON_TWO[type(node).__name__](one, two)
            case exp.Between():
                (value, low, high), _ = self._alike([node.this, node.args["low"], node.args["high"]], part)
                return "truth", (value >= low) & (value <= high)
            case exp.In() if node.expressions and not (node.args.get("query") or node.args.get("field") or node.args.get("unnest")):
                return "truth", self._among(node, part)
            case exp.Is():
                return "truth", self._is(node, part)
            case exp.Like() | exp.ILike() | exp.RegexpLike() | exp.RegexpILike():
                found = self._pattern(node, part)
                return "truth", ~found if node.args.get("negate") else found
        raise _Fault(f"{_shown(node)[:60]!r} is not allowed in a condition; allowed are columns, {_allowed()}")

    def _column(self, name: str) -> tuple[str, pl.Expr]:
        self.columns[name] = None
        dtype, column = self.schema[name], pl.col(name)
        if dtype in (pl.String, pl.Categorical, pl.Enum):
            column = column.cast(pl.String)
            return "text", pl.when(column != "").then(column)
        if dtype.is_numeric():
            return "number", column if dtype.is_integer() else column.cast(pl.Float64).fill_nan(None)
        if isinstance(dtype, pl.Datetime) and dtype.time_zone:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return ("truth" if dtype == pl.Boolean else "time" if dtype in (pl.Date, pl.Datetime) else "other"), column

    def _truth(self, node: Any, part: Callable) -> pl.Expr:
        kind, expr = part(node)
        _wanted(kind, "truth", _shown(node))
        return expr

    def _number(self, node: Any, part: Callable) -> pl.Expr:
        kind, expr = part(node)
        if kind == "text":
            return self._read(node, "number")
        _wanted(kind, "number", _shown(node))
        return expr

    def _alike(self, nodes: list[Any], part: Callable) -> tuple[list[pl.Expr], str]:
        """Expressions of one kind, so that they compare: a text column beside numbers is read as numbers, a text beside times as a time."""
        found = [part(node) for node in nodes]
        kinds = {kind for kind, _ in found}
        if "null" in kinds:
            raise _Fault("nothing is equal to NULL or more than it; write IS NULL or IS NOT NULL")
        for wanted in ("number", "time"):
            if kinds == {wanted, "text"}:
                return [
                    self._read(node, wanted) if kind == "text" else expr for node, (kind, expr) in zip(nodes, found, strict=True)
                ], wanted
        if len(kinds) > 1 or kinds == {"other"}:
            told = [f"{_shown(node)[:40]} is {_KINDS[kind]}" for node, (kind, _) in zip(nodes, found, strict=True)]
            raise _Fault(f"{' and '.join(told)}, which cannot be compared")
        return [expr for _, expr in found], kinds.pop()

    def _read(self, node: Any, wanted: str) -> pl.Expr:
        """A text as a number or a time."""
        from sqlglot import exp

        while isinstance(node, exp.Paren):
            node = node.this
        if wanted == "number" and isinstance(node, exp.Column):
            self.numbers[node.name] = None
            return pl.col(node.name).cast(pl.String).cast(pl.Float64, strict=False).fill_nan(None)
        if wanted == "time" and isinstance(node, exp.Literal):
            try:
                time = datetime.fromisoformat(node.this)
                return pl.lit(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time)
            except (ValueError, OverflowError):
                raise _Fault(f"{node.this[:40]!r} is no time; write '2024-03-01' or '2024-03-01 12:30'") from None
        raise _Fault(f"{_shown(node)[:40]} is text, and is compared with {_KINDS[wanted]}; a number stands without quotes")

    def _among(self, node: Any, part: Callable) -> pl.Expr:
        values = [_literal(value) for value in node.expressions]
        if len(kinds := {_kind(value) for value in values}) > 1 or kinds <= {"null", "truth"}:
            raise _Fault("a list after IN holds numbers or 'texts' only, all of one kind")
        (value, *_), kind = self._alike([node.this, node.expressions[0]], part)
        if kind == "time":
            values = [self._read(other, kind) for other in node.expressions]
            return pl.any_horizontal([value == other for other in values])
        whole = (
            all(isinstance(number, int) for number in values) and node.this.name in self.schema and self.schema[node.this.name].is_integer()
        )
        dtype = pl.String if kind == "text" else pl.Int64 if whole else pl.Float64
        return value.cast(dtype, strict=False).is_in(pl.Series(values, dtype=dtype, strict=False).implode())

    def _is(self, node: Any, part: Callable) -> pl.Expr:
        from sqlglot import exp

        _, expr = part(node.this)
        if isinstance(node.expression, exp.Null):
            found = expr.is_null()
        elif isinstance(node.expression, exp.Boolean):
            found = (self._truth(node.this, part) == node.expression.this).fill_null(False)
        else:
            raise _Fault("after IS stands NULL, NOT NULL, TRUE or FALSE")
        return ~found if node.args.get("negate") else found

    def _pattern(self, node: Any, part: Callable) -> pl.Expr:
        from sqlglot import exp

        kind, text = part(node.this)
        _wanted(kind, "text", _shown(node.this))
        if not isinstance(node.expression, exp.Literal) or not node.expression.is_string:
            raise _Fault("a pattern is a text in single quotes")
        pattern = node.expression.this
        if isinstance(node, exp.Like | exp.ILike):
            pattern = "(?s)^" + "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in pattern) + "$"
        ignoring = isinstance(node, exp.ILike | exp.RegexpILike)
        return text.str.contains(f"(?i){pattern}" if ignoring else pattern)


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
        raise _Fault(f"{_shown(node)[:40]} stands where a number or a 'text' belongs")
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
        raise _Fault(f"{text[:60]!r} is {_KINDS[kind]} and {what}; {remedy}")
