"""Where news comes from: `follow` gives the events of a JSONL or CSV file that grows, of standard input, or of an RSS or Atom feed.

for event, offset in follow("news.jsonl", offset, dead_letters=Path("refused.jsonl")):
    ...                                       # keep `offset` with what was made of the event; a restart goes on behind it

No line stops the stream: what is no event goes to the dead-letter file with its reason.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from kgrec_core import KgrecError
from kgrec_core.domain import choices, match, opened, readable
from kgrec_finance.articles.columns import KNOWN
from kgrec_finance.feeds.dead_letters import DeadLetters
from kgrec_finance.feeds.events import Event, Reader, Refused, Seen
from kgrec_finance.feeds.lines import Line, Position, lines

log = logging.getLogger("kgrec")
Form = Literal["jsonl", "csv", "rss"]
LONGEST = 4 << 20  # bytes of a line
RECORD = 200  # lines of one CSV record: a quote that nobody closes must not swallow the rest of the stream


def follow(
    source: str | Path,
    offset: str | None = None,
    *,
    form: Form | None = None,
    columns: Mapping[str, str] | None = None,
    time_zone: str | None = None,
    time_format: str | None = None,
    dead_letters: Path | DeadLetters | None = None,
    seen: Seen | None = None,
    wait: bool = True,
    poll: float = 1.0,
    stop: Callable[[], bool] = lambda: False,
    reader: Reader | None = None,
) -> Iterator[tuple[Event, str]]:
    """Events in the order of the source, each with the offset behind it.

    source: a file, "-" (standard input) or the address of a feed. form: None = by its name; standard input is JSONL.
    offset: of an event that was given before; None = from the start. Standard input cannot go back: it starts where it stands.
    columns, time_zone, time_format: see `Reader`, which may be given whole instead. seen: ids that were given before; the caller keeps
        `seen.state()` with the offset where duplicates shall be known across a restart, too.
    wait: go on when the source ends, looking every `poll` seconds until `stop()`; else the end of the source is the end.

    Raises KgrecError: no such file, one that is no text in UTF-8, an offset of another kind, a CSV file whose header lacks a text or a
    time or names one column twice, dead letters that cannot be written.
    """
    form = form or _form(str(source))
    if form not in ("jsonl", "csv", "rss"):
        raise choices("form of a feed", form, ("jsonl", "csv", "rss"))
    reader = reader or Reader(columns, time_zone=time_zone, time_format=time_format)
    refused = dead_letters if isinstance(dead_letters, DeadLetters) else DeadLetters(dead_letters)
    seen = Seen() if seen is None else seen
    if form == "rss":
        from kgrec_finance.feeds.rss import entries

        yield from entries(str(source), offset, reader, refused, seen, wait=wait, poll=poll, stop=stop)
        return
    found = lines(source, _position(offset), wait=wait, poll=poll, longest=LONGEST, stop=stop)
    records = _objects(found) if form == "jsonl" else _rows(found, source, offset, wait, reader.columns)
    for fields, line in records:
        try:
            if isinstance(fields, Refused):
                raise fields
            event = reader.event(fields)
        except Refused as reason:
            if not (line.whole or line.torn or str(source) == "-"):
                log.warning("%s ends within a line at byte %s; the line is read when it is whole", source, line.start)
                return
            refused.add(str(source), line.start, str(reason), line.data.decode("utf-8", "replace"))
            continue
        if seen.add(event.id):
            yield event, json.dumps(line.after._asdict())


def _form(source: str) -> str:
    name = source.lower().removesuffix(".gz")
    if source == "-" or name.rsplit(".", 1)[-1] in ("jsonl", "ndjson", "json", "log"):
        return "jsonl"
    if name.rsplit(".", 1)[-1] in ("csv", "tsv", "txt"):
        return "csv"
    if "://" not in source and name.rsplit(".", 1)[-1] not in ("xml", "rss", "atom", "rdf"):
        raise KgrecError(f"feed: {source} is none; name a .jsonl, .csv or .xml file, - for JSON lines on standard input, or an address")
    return "rss"


def _position(offset: str | None) -> Position | None:
    if offset is None:
        return None
    try:
        return Position(**json.loads(offset))
    except (ValueError, TypeError):
        raise KgrecError(f"offset {offset[:60]!r} is none of a file; give one that `follow` gave for this source") from None


def _objects(found: Iterator[Line]) -> Iterator[tuple[Mapping[str, Any] | Refused, Line]]:
    for line in found:
        if not line.data.strip():
            continue
        yield _object(line), line


def _object(line: Line) -> Mapping[str, Any] | Refused:
    if line.cut:
        return Refused(f"the line is longer than {LONGEST:,} bytes")
    try:
        value = json.loads(line.data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Refused(f"it is not UTF-8 (byte {error.start} of the line)")
    except (ValueError, RecursionError) as error:
        return Refused(f"broken JSON: {error}"[:200] if line.whole else "the source stopped within the line")
    return value if isinstance(value, dict) else Refused("it is no JSON object")


def _rows(
    found: Iterator[Line], source: str | Path, offset: str | None, wait: bool, columns: Mapping[str, str]
) -> Iterator[tuple[Mapping[str, Any] | Refused, Line]]:
    """Records of a CSV file; one may go over several lines within quotes. Every file has a header of its own."""
    header, separator = _header(_first(Path(source)), source, columns) if offset is not None and str(source) != "-" else ([], ",")
    held: list[Line] = []
    for line in found if wait else chain(found, [None]):
        if line is not None and line.start == 0:
            header, separator = _header(line, source, columns)
            continue
        held += [line] if line is not None else []
        final = line is None or line.torn
        while held:
            if not held[0].data.strip():
                del held[0]
            elif (taken := _record(held, header, separator, final)) is None:
                break
            else:
                fields, record, size = taken
                del held[:size]
                yield fields, record


def _record(held: list[Line], header: list[str], separator: str, final: bool) -> tuple[Mapping[str, Any] | Refused, Line, int] | None:
    """The first record of the lines and how many of them it takes; None = its quote is still open.

    Where several lines make no record, the first is at fault and the others are read again.
    """
    quotes = 0
    for size, line in enumerate(held, 1):
        quotes += line.data.count(b'"')
        if quotes % 2 == 0:
            data = b"\n".join(part.data for part in held[:size])
            record = Line(data, held[0].start, line.after, line.whole, line.torn, any(part.cut for part in held[:size]))
            row = _row(record, header, separator)
            if size == 1 or not isinstance(row, Refused):
                return row, record, size
            break
    else:
        if len(held) < RECORD and not final and not held[0].cut:
            return None
    return Refused("a quote is not closed"), held[0], 1


def _row(line: Line, header: list[str], separator: str) -> Mapping[str, Any] | Refused:
    if line.cut:
        return Refused(f"the line is longer than {LONGEST:,} bytes")
    try:
        csv.field_size_limit(LONGEST * RECORD)
        values = next(csv.reader(line.data.decode("utf-8").splitlines(keepends=True), delimiter=separator))
    except (UnicodeDecodeError, csv.Error, StopIteration) as error:
        return Refused(f"it cannot be read as CSV: {error}"[:200])
    if len(values) != len(header):
        return Refused(f"{len(values)} fields where the header has {len(header)}" if line.whole else "the source stopped within the line")
    return dict(zip(header, values, strict=True))


def _header(line: Line, source: str | Path, columns: Mapping[str, str]) -> tuple[list[str], str]:
    """Its names and what parts them. What every row would be refused for is said at once."""
    text = line.data.decode("utf-8-sig", "replace")
    separator = max(",;\t|", key=text.count)
    csv.field_size_limit(LONGEST * RECORD)
    try:
        names = next(csv.reader([text], delimiter=separator), [])
    except csv.Error as error:
        raise KgrecError(f"{source} row 1: the header cannot be read ({error}); correct it") from None
    if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise KgrecError(f'{source} row 1: column "{twice}" stands twice in the header; rename one of them')
    for ours, theirs in columns.items() if line.whole else ():
        if theirs not in names:
            raise choices(f"column of {source}", theirs, names, f"correct --column {ours}")
    known = match(KNOWN["articles"], "articles", names, columns)
    for name in ("text", "time") if line.whole else ():
        if not {name, "title" if name == "text" else name} & known.keys():
            raise KgrecError(f"{source}: no column is recognised as {name}; name it with --column {name}=...; columns: {', '.join(names)}")
    return names, separator


def _first(path: Path) -> Line:
    with readable(path):
        try:
            file = opened(path)
        except FileNotFoundError:
            raise KgrecError(f"feed: there is no file {path}; name one that is or will be written to, or - for standard input") from None
        with file:
            data = file.readline()
    return Line(data.rstrip(b"\r\n"), 0, Position(len(data)))
