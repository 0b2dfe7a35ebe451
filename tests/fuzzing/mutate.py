"""Ways in which texts, bytes, JSON, arrays and tables go wrong; all of them drawn from a seeded generator."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import polars as pl

MARKS = [
    "\0",
    "\x1b[31m",
    "\x1b]0;x\x07",
    "\n",
    "\r",
    "\t",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\u00a0",
    "\u200b",
    "\ud800",
    "e\u0301",
    "𝔘",
    "'",
    '"',
    "`",
    "\\",
]
WORDS = [
    "",
    " ",
    "null",
    "None",
    "NaN",
    "inf",
    "-inf",
    "1e308",
    "1e400",
    "-0",
    "0x10",
    "１２",
    "1,234.5",
    "1.234,5",
    "9" * 40,
    "2^62",
    "true",
    "=1+1",
    "@x",
]
TIMES = ["0000-00-00", "9999-12-31T23:59:60Z", "1969-12-31", "-1", str(2**62), "2024-02-30", "24:00", "2024-03-31T02:30:00 Europe/Berlin"]
NUMBERS = [
    0,
    1,
    -1,
    2,
    3,
    7,
    127,
    255,
    2**16,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32,
    2**40,
    2**62,
    2**63 - 1,
    -(2**63),
    1e300,
    float("nan"),
    float("inf"),
    0.5,
]


def word(draw: Random, own: Sequence[str] = ()) -> str:
    kind = draw.randrange(8)
    if own and kind < 3:
        return draw.choice(own)
    if kind == 3:
        return draw.choice(MARKS) * draw.choice((1, 1, 3, 200))
    if kind == 4:
        return draw.choice(TIMES)
    if kind == 5:
        return str(draw.choice(NUMBERS))
    return draw.choice(WORDS)


def text(draw: Random, whole: str, own: Sequence[str] = (), times: int = 4) -> str:
    """A text cut, doubled, mixed up and with foreign words in it. own: words that belong to what is asked."""
    for _ in range(draw.randint(1, times)):
        a, b = sorted((draw.randint(0, len(whole)), draw.randint(0, len(whole))))
        b = min(b, a + draw.choice((1, 1, 3, 10, 100)))
        kind = draw.randrange(6)
        if kind == 0:
            whole = whole[:a] + whole[b:]
        elif kind == 1:
            whole = whole[:b] + whole[a:b] * draw.choice((1, 2, 30)) + whole[b:]
        elif kind == 2:
            whole = whole[:a]
        elif kind == 3:
            whole = whole[:a] + word(draw, own) + whole[b:]
        else:
            whole = whole[:a] + word(draw, own) + whole[a:]
    return whole


def data(draw: Random, whole: bytes, own: Sequence[str] = ()) -> bytes:
    """Bytes flipped, cut, moved and overwritten, or the text in them mutated."""
    if draw.random() < 0.3:
        return text(draw, whole.decode("utf-8", "replace"), own).encode("utf-8", "replace")
    out = bytearray(whole)
    for _ in range(draw.choice((1, 1, 2, 5, 30))):
        kind, at = draw.randrange(6), draw.randrange(len(out) + 1)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del out[at : at + draw.choice((1, 4, 50, len(out)))]
        elif kind == 2:
            out[at:at] = out[at // 2 : at // 2 + draw.choice((1, 8, 100))]
        elif kind == 3:
            out[at : at + 4] = draw.randbytes(4)
        elif kind == 4:
            out[at : at + 8] = (draw.choice((0, 1, -1, 2**31, 2**40, 2**62, -(2**63)))).to_bytes(8, "little", signed=True)
        else:
            out[at:at] = word(draw, own).encode("utf-8", "replace")
    return bytes(out)


def value(draw: Random, own: Sequence[str] = ()) -> Any:
    kind = draw.randrange(9)
    deep: Any = [[[[{}]]]]
    plain = [None, True, {}, [], word(draw, own), draw.choice(NUMBERS), deep, {word(draw, own): 1}, [word(draw, own), draw.choice(NUMBERS)]]
    return plain[kind]


def tree(draw: Random, whole: Any, own: Sequence[str] = ()) -> Any:
    """JSON with one or two of its nodes replaced, removed or moved."""
    whole = copy.deepcopy(whole)
    for _ in range(draw.choice((1, 1, 2))):
        node, path = whole, []
        while isinstance(node, dict | list) and node and (not path or draw.random() < 0.8):
            key = draw.choice(list(node)) if isinstance(node, dict) else draw.randrange(len(node))
            path.append((node, key))
            node = node[key]
        if not path:
            return value(draw, own)
        (holder, key), kind = path[-1], draw.randrange(4)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(node, str):
            holder[key] = text(draw, node, own, 2)
        elif kind == 2 and isinstance(node, int | float) and not isinstance(node, bool):
            holder[key] = draw.choice((node + 1, -node, node * 2**20, draw.choice(NUMBERS)))
        else:
            holder[key] = value(draw, own)
    return whole


def arrays(draw: Random, whole: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One array with other values, another shape, another type, or gone."""
    out = {name: array.copy() for name, array in whole.items()}
    name = draw.choice(list(out))
    array, kind = out[name], draw.randrange(8)
    if kind == 0:
        del out[name]
    elif kind == 1 and array.size:
        out[name] = array[: draw.randrange(len(array))] if array.ndim else array
    elif kind == 2:
        out[name] = np.concatenate([array, array]) if array.ndim else array
    elif kind == 3:
        out[name] = array.astype(draw.choice((np.int8, np.int32, np.int64, np.float16, np.float32, np.float64, np.uint8, bool)))
    elif kind == 4 and array.ndim:
        out[name] = array.reshape(draw.choice(((-1,), (1, -1), (-1, 1), (array.size, 1))))
    elif kind == 5:
        out[f"{name}{draw.choice(MARKS)}"[:9].encode("utf-8", "replace").decode()] = array
    elif array.size:
        flat = array.reshape(-1)
        for _ in range(draw.choice((1, 1, 5))):
            with np.errstate(all="ignore"):
                number = draw.choice(NUMBERS)
                flat[draw.randrange(len(flat))] = np.array(number).astype(array.dtype)
    return out


def _utf8(draw: Random) -> str:
    return word(draw).encode("utf-8", "replace").decode()


def table(draw: Random, whole: pl.DataFrame) -> pl.DataFrame:
    """A table with other values, nulls, other types or without a column."""
    name, kind = draw.choice(whole.columns), draw.randrange(7)
    column = whole[name]
    if kind == 0:
        return whole.drop(name)
    if kind == 1:
        return whole.with_columns(column.cast(draw.choice((pl.String, pl.Int8, pl.UInt64, pl.Float32)), strict=False).alias(name))
    if kind == 2:
        return pl.concat([whole, whole])
    if kind == 3:
        return whole.rename({name: _utf8(draw)[:20]}) if _utf8(draw) not in whole.columns else whole
    if kind == 4 or not len(whole):
        return whole.head(draw.randrange(len(whole) + 1))
    values = column.to_list()
    values[draw.randrange(len(values))] = (
        None if kind == 5 else (_utf8(draw) if column.dtype == pl.String else draw.choice((0, 15, 16, 99, 2**31)))
    )
    return whole.with_columns(pl.Series(name, values, dtype=column.dtype, strict=False))


def document(draw: Random, whole: bytes, own: Sequence[str] = ()) -> bytes:
    """A JSON file: its tree mutated, or its bytes."""
    if draw.random() < 0.2:
        return data(draw, whole, own)
    if draw.random() < 0.03:
        return b"[" * 100_000
    return json.dumps(tree(draw, json.loads(whole), own)).encode()
