"""What comes from the network, read with limits: bytes, seconds, depth, numbers. Whatever is beyond them is refused before any work."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any, NamedTuple

from starlette.requests import ClientDisconnect, Request

from kgrec_core.serving.problem import Refused

_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


class Limits(NamedTuple):
    """bytes: of a body; seconds: until it has arrived; depth: of nested JSON; requests: in one body; number: the largest whole number
    that a request may hold (k and its like)."""

    bytes: int = 2**20
    seconds: float = 10.0
    depth: int = 16
    requests: int = 256
    number: int = 1_000


async def read(request: Request, limits: Limits) -> bytes:
    """The body; `request.state.whole` is when it was there. Raises Refused: 413 for more bytes than allowed, by the announced length where there is one; 408 for a slow one."""
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > limits.bytes:
        raise _large(limits)
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for part in request.stream():
                size += len(part)
                if size > limits.bytes:
                    raise _large(limits)
                parts.append(part)
    except TimeoutError:
        raise Refused(408, f"the body had not arrived after {limits.seconds:g} s; send it at once") from None
    except ClientDisconnect:
        raise Refused(408, "the caller left before the body had arrived") from None
    request.state.whole = time.perf_counter()
    return b"".join(parts)


def parsed(body: bytes, limits: Limits) -> dict[str, Any]:
    """A JSON object. Raises Refused 400 for anything else, for half characters, and for one that is nested too deep; that is seen before it is parsed."""
    depth = deepest = 0
    for sign in _TEXT.sub(b"", body):
        if sign in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in b"]}":
            depth -= 1
    if deepest > limits.depth:
        raise Refused(400, f"the JSON is nested {deepest} deep; {limits.depth} are allowed")
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise Refused(400, f"the body is no UTF-8 (byte {error.start}); encode it so") from None
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON ({error}); send an object such as {{}}") from None
    if _HALF.search(body) and (half := re.search("[\ud800-\udfff]", json.dumps(found, ensure_ascii=False))):
        raise Refused(400, f"the body holds half a character ({half.group()}), which no file can keep; send both halves, or UTF-8 as it is")
    if not isinstance(found, dict):
        raise Refused(400, 'the body is no JSON object; send the request\'s fields as one, or several as {"requests": [...]}')
    return found


def refuse_large_numbers(fields: dict[str, Any], limits: Limits) -> None:
    """Raises Refused 400 for a whole number beyond the limit; one written as text is refused when it is read as a number."""
    for name, value in fields.items():
        if (isinstance(value, int) and abs(value) > limits.number) or (isinstance(value, float) and abs(value) > 1e15):
            raise Refused(400, f"{name} = {str(value)[:40]} is more than a request may ask for ({limits.number:,})")


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _large(limits: Limits) -> Refused:
    return Refused(413, f"the body has more than {limits.bytes:,} bytes; send fewer requests at once")
