"""One line of a feed -> an event, or the reason why it is none."""

from __future__ import annotations

import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple, Self
from zoneinfo import ZoneInfo, available_timezones

from kgrec_core import DAY, KgrecError
from kgrec_core.domain import NOBODY, choices, identifier, identity, microseconds, plain, plain_name, refuse_form, rivals
from kgrec_finance.articles.columns import KNOWN

log = logging.getLogger("kgrec")
EARLIEST = 631_152_000_000_000  # 1990-01-01: what is older is a broken clock
SHAPES = 100  # sets of fields that are looked at, so that a poisoned feed fills no memory
FIELDS = ("id", "time", "title", "text", "company", "source")
_SPACE = re.compile(r"[\s\x00-\x1f]+")


class Event(NamedTuple):
    """time: microseconds UTC. companies: as the feed names them, None where it does not. raw: the fields as they came, texts cut.
    outlet: who tells it, folded; "" where the feed does not say."""

    id: str
    time: int
    text: str
    companies: tuple[str, ...] | None
    raw: Mapping[str, Any]
    outlet: str = ""


class Refused(Exception):
    """Why a line is no event."""


class Seen:
    """The ids of the last `limit` events. `state` and `of`: a list for JSON, so that a restart knows them too."""

    def __init__(self, limit: int = 50_000) -> None:
        self.limit = limit
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, id: str) -> bool:
        """Whether it is new."""
        key = blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        if key in self._ids:
            self._ids.move_to_end(key)
            return False
        self._ids[key] = None
        if len(self._ids) > self.limit:
            self._ids.popitem(last=False)
        return True

    def state(self) -> list[str]:
        return list(self._ids)

    @classmethod
    def of(cls, state: Iterable[str], limit: int = 50_000) -> Self:
        new = cls(limit)
        new._ids.update(dict.fromkeys(state))
        return new


def _whole(value: Any) -> Any:
    """Texts, at any depth, without half characters, which no file and no table takes (JSON can write them)."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_whole(name): _whole(of) for name, of in value.items()}
    return [_whole(of) for of in value] if isinstance(value, list) else value


def _lacking(name: str, fields: Iterable[str]) -> str:
    return f"it has no {name}; name its field with --column {name}=...; fields: {', '.join(map(str, fields))[:120]}"


class Reader:
    """Fields -> Event.

    columns: our field (FIELDS) -> theirs, where it is not a common name. time_zone: of times without one; None = they are refused.
    time_format: "s", "ms", "us" or a strftime format. longest: characters of a text, the rest is cut. ahead: microseconds that an event
    may lie in the future. now: the clock, microseconds; where it goes backwards, its latest time counts.
    """

    def __init__(
        self,
        columns: Mapping[str, str] | None = None,
        *,
        time_zone: str | None = None,
        time_format: str | None = None,
        longest: int = 20_000,
        ahead: int = DAY // 24,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        for name in columns or {}:
            if name not in FIELDS:
                raise choices("field of an event", name, FIELDS)
        if time_zone is not None and time_zone not in available_timezones():
            raise KgrecError(f'time_zone = "{time_zone}" is no time zone; give a name like "UTC" or "Europe/London"')
        try:
            refuse_form(time_format)
        except ValueError as error:
            raise KgrecError(error) from None
        self.columns, self.zone, self.form = dict(columns or {}), ZoneInfo(time_zone) if time_zone else None, time_format
        self.longest, self.ahead, self.now, self._latest = longest, ahead, now, 0
        self._told: set[str] = set()  # once, not for every event
        self._shapes: set[frozenset[str]] = set()  # sets of fields that were looked at for it, the first few

    def _rivals(self, fields: Mapping[str, Any], taken: Mapping[str, str]) -> dict[str, list[str]]:
        """Ours -> fields that may be meant as well; asked once for every set of fields, not for every event."""
        if len(self._shapes) >= SHAPES or (shape := frozenset(fields)) in self._shapes:
            return {}
        self._shapes.add(shape)
        return rivals(KNOWN["articles"], taken, list(fields), self.columns)

    def event(self, fields: Mapping[str, Any]) -> Event:
        """Raises Refused."""
        try:
            fields = _whole(fields)
        except RecursionError:
            raise Refused("its fields lie too deep within each other") from None
        free = {plain_name(name): name for name in reversed(list(fields))}
        found, absent, taken = {}, set(), {}
        for name in FIELDS:
            theirs = self.columns.get(name) or next((free[key] for key in KNOWN["articles"][name].split() if key in free), None)
            found[name] = fields.get(theirs)
            absent |= {name} - ({name} if theirs in fields else set())
            taken |= {name: theirs} if theirs in fields else {}
        for name, others in self._rivals(fields, taken).items():
            if name not in self._told:
                self._told.add(name)
                log.warning(
                    'feed: "%s" may be its %s, too; "%s" is read; to name another: --column %s=...', others[0], name, taken[name], name
                )
        told = {name: found[name] for name in ("title", "text") if found[name] is not None}
        if odd := next((name for name, value in told.items() if isinstance(value, dict | list | bool)), None):
            raise Refused(f"the {odd} is no text but {json.dumps(told[odd], ensure_ascii=False)[:60]}")
        parts = (_SPACE.sub(" ", plain(str(value)[: self.longest + 1])).strip() for value in told.values())
        text = ". ".join(dict.fromkeys(filter(None, parts)))[: self.longest]
        if not text:
            raise Refused(_lacking("text", fields) if absent >= {"text", "title"} else "the text is empty")
        if "time" in absent:
            raise Refused(_lacking("time", fields))
        when = self.moment(found["time"])
        self._latest = max(self._latest, self.now())
        if when > self._latest + self.ahead:
            raise Refused(f"it lies in the future ({found['time']})")
        if when < EARLIEST:
            raise Refused(f"it is older than 1990 ({found['time']})")
        id = "" if found["id"] is None else identifier(found["id"])
        id = identity("a", f"{when}|{text}") if id == "" or id.lower() in NOBODY else id
        named = found["company"]
        named = str(named).split("|") if isinstance(named, str | int) else named if isinstance(named, list) else ()
        companies = tuple(dict.fromkeys(filter(None, (str(name).strip() for name in named))))
        raw = {k: v[: self.longest] if isinstance(v, str) else v for k, v in fields.items()}
        outlet = found["source"]
        outlet = outlet.get("name") or outlet.get("id") or outlet.get("title") if isinstance(outlet, dict) else outlet
        outlet = " ".join(str(outlet).casefold().split())[:100] if isinstance(outlet, str | int) else ""
        return Event(id, when, text, companies or None, raw, outlet)

    def moment(self, value: Any) -> int:
        """Microseconds UTC of ISO text, RFC 2822 text, unix times or what time_format says. Raises Refused."""
        if value is None or isinstance(value, bool) or str(value).strip() == "":
            raise Refused("it has no time")
        written = str(value).strip()
        try:
            return microseconds(written, self.zone, self.form)
        except ValueError as reason:
            remedy = '; set time_zone to what it means, e.g. "UTC"' if str(reason) == "has no time zone" else ""
            raise Refused(f'time "{written[:40]}" {reason}{remedy}') from None
