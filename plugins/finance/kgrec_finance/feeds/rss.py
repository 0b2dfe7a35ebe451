"""RSS and Atom feeds (feedparser, extra `rss`): asked again and again, what was given before is known by its id."""

from __future__ import annotations

import html
import json
import logging
import re
from calendar import timegm
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from kgrec_core import KgrecError
from kgrec_finance.feeds.dead_letters import DeadLetters
from kgrec_finance.feeds.events import Event, Reader, Refused, Seen
from kgrec_finance.feeds.lines import pause

log = logging.getLogger("kgrec")
_TAG = re.compile(r"<[^<>]*>")
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
    etag = modified = None
    delay = poll
    while True:
        found = parse(source, etag=etag, modified=modified)
        if found.get("bozo") and not found.entries:
            log.warning("%s cannot be read (%s); it is asked again in %.0f s", source, found.get("bozo_exception"), delay)
            if not wait:
                raise KgrecError(f"{source} cannot be read as a feed ({found.get('bozo_exception')}); check the address")
            delay = min(2 * delay, 3600)
        else:
            etag, modified, delay = found.get("etag"), found.get("modified"), poll
        for entry in sorted(found.entries, key=lambda e: e.get("published_parsed") or e.get("updated_parsed") or ()):
            id = entry.get("id") or entry.get("link") or entry.get("title") or ""
            if id in given:
                continue
            given = [*given, id][-KEPT:]
            try:
                event = reader.event(_fields(entry, id))
            except Refused as reason:
                refused.add(source, 0, str(reason), json.dumps(_fields(entry, id), ensure_ascii=False))
                continue
            if seen.add(event.id):
                yield event, json.dumps({"ids": given}, ensure_ascii=False)
        if not wait or not pause(delay, stop):
            return


def _fields(entry: Any, id: str) -> dict[str, Any]:
    stamp = entry.get("published_parsed") or entry.get("updated_parsed")
    time = f"{timegm(stamp)}" if stamp else entry.get("published") or entry.get("updated")
    told = {name: html.unescape(_TAG.sub(" ", entry.get(name) or "")) for name in ("title", "summary")}
    outlet = (entry.get("source") or {}).get("title") or urlsplit(entry.get("link") or "").hostname
    return {"id": id, "time": time, "title": told["title"], "text": told["summary"], "link": entry.get("link"), "source": outlet}
