"""A file of text as bytes in UTF-8 with "\\n": packed, in UTF-16 or with the line ends of old Macs it is read all the same."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from polars.exceptions import PanicException

from kgrec_core.errors import KgrecError

HEAD = 1 << 16
_OTHERS = {
    b"PK\x03\x04": "an Excel workbook or a zip archive; save the sheet as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save the sheet as CSV",
    b"PAR1": "a Parquet file; call it .parquet",
    b"\x1f\x8b": "packed by gzip; call it .gz",
    b"%PDF": "a PDF; save its table as CSV",
    b"SQLite": "an SQLite database; export the table as CSV",
}
_MARKS = {b"\xff\xfe\x00\x00": "utf-32", b"\x00\x00\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def opened(path: Path) -> BinaryIO:
    """The bytes as they are, unpacked."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def text_file(path: Path) -> BinaryIO:
    """To be read as UTF-8 with "\\n". Raises KgrecError for a damaged archive, another kind of file and broken UTF-16."""
    with readable(path):
        file = opened(path)
        head = file.read(HEAD)
        if what := _other(head):
            file.close()
            raise KgrecError(f"{path.name} is no text but {what}")
        code, old = _code(head), b"\r" in head and b"\n" not in head
        marked = head.startswith(codecs.BOM_UTF8)
        if code is None and not old and not marked:
            file.seek(0)
            return file
        with file:
            whole = head + file.read()
        try:
            text = whole.removeprefix(codecs.BOM_UTF8) if code is None else whole.decode(code).removeprefix("\ufeff").encode()
        except UnicodeError as error:
            raise KgrecError(
                f"{path.name} is not whole {code.upper()}: {error.reason}; save the file as UTF-8, e.g. iconv -f {code} -t utf-8 {path.name}"
            ) from None
        return BytesIO(text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if old or b"\n" not in text else text)


def refuse_foreign(path: Path) -> None:
    """For who reads a file in place as it grows: raises KgrecError where it is no text in UTF-8 with "\\n", and says how to make it so."""
    with readable(path), opened(path) as file:
        head = file.read(HEAD)
    if what := _other(head):
        raise KgrecError(f"{path.name} is no text but {what}")
    if code := _code(head):
        raise KgrecError(f"{path.name} is in {code.upper()}; save it as UTF-8, e.g. iconv -f {code} -t utf-8 {path.name}")
    if b"\n" not in head and b"\r" in head.rstrip(b"\r"):
        raise KgrecError(f"{path.name} has the line ends of old Macs; write them anew, e.g. tr '\\r' '\\n' < {path.name}")


def scanned(path: Path) -> Path | BytesIO:
    """What polars reads: the file itself where that is UTF-8 already."""
    with text_file(path) as file, readable(path):
        plain = path.suffix != ".gz" and not isinstance(file, BytesIO)
        return path if plain else BytesIO(file.read())


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what systems and unpackers say into one line. A reader written in Rust may panic, which is no Exception."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise KgrecError(f"{path.name} is damaged, it cannot be unpacked ({error}); copy it again") from None
    except OSError as error:
        raise KgrecError(f"{path.name} cannot be read: {error.strerror or ' '.join(str(error).split())[:160]}") from None
    except PanicException as error:
        raise KgrecError(f"{path.name} is damaged ({' '.join(str(error).split())[:120]}); copy it again") from None


def _other(head: bytes) -> str | None:
    return next((what for mark, what in _OTHERS.items() if head.startswith(mark)), None)


def _code(head: bytes) -> str | None:
    """The encoding where it is none that UTF-8 readers take; without a mark at the start UTF-16 shows by its zeros."""
    for mark, code in _MARKS.items():
        if head.startswith(mark):
            return code
    even, odd = head[::2].count(0), head[1::2].count(0)
    if len(head) < 4 or max(even, odd) * 3 < len(head) // 2 or min(even, odd):
        return None
    return "utf-16-le" if odd else "utf-16-be"
