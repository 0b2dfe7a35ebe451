"""The words of a condition: text from outside -> a tree of nothing but what a condition may hold.

Functions, sub-queries, comments and whatever else SQL has are refused word by word before anything is parsed; so is what is too long or
too deep for a parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from kgrec_core.errors import no_column

LENGTH, DEPTH, WORDS = 20_000, 32, 5_000  # characters; brackets, NOTs and signs within each other; words and signs
ALLOWED = "comparison, AND, OR, NOT, IN (list), BETWEEN, LIKE, ~, IS NULL and + - * / %"
_OPERATORS = {"AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "ILIKE", "IS", "NULL", "TRUE", "FALSE"}
_BEFORE_BRACKET = {"AND", "OR", "NOT", "IN", "BETWEEN"}
_SIGNS = {"(", ")", ",", "=", "==", "<>", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "~", "!~", "~*", "!~*"}


class Fault(Exception):
    """What is wrong with a condition; `condition` adds whose it is."""


def parsed(where: str, schema: Mapping[str, pl.DataType], of: str) -> Any:
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
        raise Fault(f"it is no condition; write one such as \"price < 5 AND colour = 'red'\"; columns of {of}: {', '.join(schema)}")
    return tree


def _checked(tokens: Iterable[Any], schema: Mapping[str, pl.DataType], of: str) -> list[Any]:
    """The tokens, every word that is no operator as the column that it names."""
    from sqlglot.tokens import Token, TokenType

    out, tokens, depth, signs, nots = [], list(tokens), 0, 0, 0
    if len(tokens) > WORDS:
        raise Fault(f"it has {len(tokens):,} words and signs, and {WORDS:,} are allowed")
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        word, kind = token.text.upper(), token.token_type
        if token.comments:
            raise Fault("it holds a comment; leave that out")
        if kind == TokenType.NUMBER and not re.fullmatch(r"[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?", token.text):
            raise Fault(f"{token.text[:40]!r} is no number")
        depth += (token.text == "(") - (token.text == ")")
        signs = signs + 1 if token.text in ("-", "+") else 0
        nots = 0 if word in ("AND", "OR", "(", ")", ",") else nots + (word == "NOT")
        if max(depth, signs, nots) > DEPTH:
            raise Fault(f"more than {DEPTH} brackets, NOTs or signs stand within each other; write it flatter")
        quoted = kind == TokenType.IDENTIFIER
        named = quoted or (word not in _OPERATORS and re.match(r"\w", word) and not kind.name.endswith("STRING"))
        begins = following is not None and ((word == "!" and following.text[0] == "~") or (word == "." and following.text[0].isdecimal()))
        if kind in (TokenType.STRING, TokenType.NUMBER) or begins or (not named and word in _OPERATORS | _SIGNS):
            if following is not None and following.text == "(" and word in _OPERATORS - _BEFORE_BRACKET:
                raise Fault(f"{word} is followed by a bracket")
            out.append(token)
        elif not named:
            raise Fault(f"{token.text[:20]!r} is not allowed in a condition; allowed are columns, numbers, 'texts', {ALLOWED}")
        elif following is not None and following.text == "(" and following.token_type == TokenType.L_PAREN:
            raise Fault(f"{token.text[:40]} (...) is a function or a query, and none is allowed; allowed are columns, {ALLOWED}")
        elif token.text not in schema:
            raise Fault(str(no_column(repr(token.text[:60]), token.text[:60], of, schema)))
        else:
            out.append(Token(TokenType.IDENTIFIER, token.text, token.line, token.col, token.start, token.end))
    return out
