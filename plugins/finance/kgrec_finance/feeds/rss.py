"""RSS and Atom feeds (feedparser, extra `rss`): asked again and again, what was given before is known by its id."""

from __future__ import annotations

import html
import io
import json
import logging
import re
import zlib
from calendar import timegm
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kgrec_core import KgrecError
from kgrec_finance.feeds.dead_letters import DeadLetters
from kgrec_finance.feeds.events import Event, Reader, Refused, Seen
from kgrec_finance.feeds.lines import pause
from kgrec_finance.feeds.web import Unanswered, checked, get, shown

log = logging.getLogger("kgrec")
_TAG = re.compile(r"<[^<>]*>")
_ENTITY = re.compile(rb"<!ENTITY\s*([^>]*)>?", re.IGNORECASE)
_HARMLESS = re.compile(rb"""[\w.-]+\s+(?:"(?:&\#\w{1,8};|[^&%"]{0,40})"|'(?:&\#\w{1,8};|[^&%']{0,40})')\s*""")
SECONDS, LARGEST = 30.0, 16 << 20  # of one look at a feed, and bytes of it
KEPT = 500  # ids of the latest entries in an offset: more than a feed shows at once


def entries(
    source: str,
    offset: str | None,
    reader: Reader,
    refused: DeadLetters,
    seen: Seen,
    *,
    wait: bool,
    poll: float,
    stop: Callable[[], bool],
    parse: Callable[..., Any] | None = None,
) -> Iterator[tuple[Event, str]]:
    """Events of the feed, the oldest of every look first; a feed that cannot be reached is asked again later, ever more slowly.

    parse: feedparser.parse by default. Raises KgrecError where feedparser is not installed or the offset is none of a feed.
    """
    if parse is None:
        try:
            from feedparser import parse
        except ImportError:
            raise KgrecError('feeds: RSS needs the package feedparser; pip install "./plugins/finance[rss]"') from None
    try:
        given: list[str] = json.loads(offset)["ids"] if offset else []
    except (ValueError, TypeError, KeyError):
        raise KgrecError(f"offset {str(offset)[:60]!r} is none of a feed; give one that `follow` gave for this source") from None
    name, delay = shown(source) if "://" in source else source, poll
    asked: dict[str, str | None] = {}
    while True:
        try:
            listed, delay = _listed(source, asked, parse), poll
        except Unanswered as reason:
            if not wait:
                raise KgrecError(f"{name} cannot be read as a feed ({reason}); check the address") from None
            log.warning("%s cannot be read (%s); it is asked again in %.0f s", name, reason, delay)
            listed, delay = [], min(2 * delay, 3600)
        for entry in sorted(listed, key=lambda e: e.get("published_parsed") or e.get("updated_parsed") or ()):
            id = entry.get("id") or entry.get("link") or entry.get("title") or ""
            if id in given:
                continue
            given = [*given, id][-KEPT:]
            try:
                event = reader.event(_fields(entry, id))
            except Refused as reason:
                refused.add(name, 0, str(reason), json.dumps(_fields(entry, id), ensure_ascii=False))
                continue
            if seen.add(event.id):
                yield event, json.dumps({"ids": given}, ensure_ascii=False)
        if not wait or not pause(delay, stop):
            return


def _listed(source: str, asked: dict[str, str | None], parse: Callable[..., Any]) -> list[Any]:
    """What the feed shows now. asked: headers by which only news are sent, as the last answer gave them. Raises Unanswered."""
    told, body = _fetched(source, asked)
    if told:
        asked |= {"If-None-Match": told.get("etag"), "If-Modified-Since": told.get("last-modified")}
    found = parse(io.BytesIO(body), response_headers={"content-location": shown(source), **told} if "://" in source else told)
    if body and found.get("bozo") and not found.entries and (broken := found.get("bozo_exception")) is not None:
        raise Unanswered(str(broken))
    return found.entries


def _fetched(source: str, asked: Mapping[str, str | None]) -> tuple[dict[str, str], bytes]:
    """(headers, body) of what stands there now; nothing where it is as it was. Raises Unanswered."""
    told: dict[str, str] = {}
    if "://" in source:
        headers = {"User-Agent": "kgrec-finance", "Accept-Encoding": "gzip", **{name: value for name, value in asked.items() if value}}
        answer = get(checked(source), headers, seconds=SECONDS, largest=LARGEST)
        if answer.status == 304:
            return {}, b""
        if answer.status != 200:
            raise Unanswered(f"answered {answer.status}")
        told, body = dict(answer.headers), answer.body
        if told.pop("content-encoding", "").lower() == "gzip":
            body = _unpacked(body)
    else:
        try:
            with Path(source).open("rb") as file:
                body = file.read(LARGEST + 1)
        except OSError as error:
            raise Unanswered(str(error.strerror)) from None
    if len(body) > LARGEST:
        raise Unanswered(f"it has more than {LARGEST:,} bytes")
    if any(not _HARMLESS.fullmatch(of) for of in _ENTITY.findall(body.replace(b"\0", b""))):
        raise Unanswered("it declares entities that expand or that stand elsewhere; no feed needs them")
    return told, body


def _unpacked(body: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(body, LARGEST + 1)
    except zlib.error as error:
        raise Unanswered(f"its gzip is damaged ({error})") from None


def _fields(entry: Any, id: str) -> dict[str, Any]:
    stamp = entry.get("published_parsed") or entry.get("updated_parsed")
    time = f"{timegm(stamp)}" if stamp else entry.get("published") or entry.get("updated")
    told = {name: html.unescape(_TAG.sub(" ", entry.get(name) or "")) for name in ("title", "summary")}
    outlet = (entry.get("source") or {}).get("title") or urlsplit(entry.get("link") or "").hostname
    return {"id": id, "time": time, "title": told["title"], "text": told["summary"], "link": entry.get("link"), "source": outlet}
