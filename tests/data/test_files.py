"""Files that no UTF-8 reader takes: read as they are meant, or refused in one line that says what they are."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from kgrec_core.data.files import refuse_foreign
from kgrec_core.data.reading import column_names, read
from kgrec_core.data.rows import rows
from kgrec_core.errors import KgrecError

TEXT = 'sku,name\nA1,Mug\nB2,"Café, blue"\n'
RIGHT = [("A1", "Mug"), ("B2", "Café, blue")]
LINES = "".join(json.dumps({"sku": sku, "name": name}, ensure_ascii=False) + "\n" for sku, name in RIGHT)
ASKED = {"id": "sku", "text": "name"}


def both(path: Path) -> list[list[tuple]]:
    """By the reader of whole tables and by that of rows in bulk."""
    table = read(path, ASKED, "data.entities.item").frame.rows()
    found = [(row["sku"], row["name"]) for row in rows(path, "--in")]
    return [table, found]


@pytest.mark.parametrize("encode", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("name", "text"), [("products.csv", TEXT), ("products.jsonl", LINES)])
def test_encodings_and_line_ends_are_read_as_they_are(tmp_path, encode, ends, name, text):
    path = tmp_path / name
    path.write_bytes(text.replace("\n", ends).encode(encode))
    assert both(path) == [RIGHT, RIGHT]
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert both(packed) == [RIGHT, RIGHT]


def test_rows_keep_their_numbers_in_old_line_ends(tmp_path):
    path = tmp_path / "products.csv"
    path.write_bytes(b"sku,name\rA1,Mug\r\rB2,Cup\r")
    assert read(path, ASKED, "data").rows.to_list() == [2, 4]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"PK\x03\x04rest", "is no text but an Excel workbook"),
        ("a.csv", b"PAR1rest", "is no text but a Parquet file; call it .parquet"),
        ("a.csv", gzip.compress(TEXT.encode(), mtime=0), "is no text but packed by gzip; call it .gz"),
        ("a.csv", TEXT.encode("utf-16")[:-1], "is not whole UTF-16"),
        ("a.csv", b"\xff\xfe" + b"\x00\xd8" * 9, "is not whole UTF-16"),
        ("a.csv.gz", b"no archive", "is damaged, it cannot be unpacked"),
        ("a.csv.gz", gzip.compress(TEXT.encode() * 99, mtime=0)[:-20], "is damaged, it cannot be unpacked"),
        ("a.jsonl.gz", gzip.compress(LINES.encode() * 99, mtime=0)[:-20], "is damaged, it cannot be unpacked"),
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"sku,name\nA1,caf\xe9\n", "is not UTF-8"),
        ("a.jsonl", b'{"sku": ' * 50_000, "row 1"),
        ("a.parquet", b"PAR1" + b"\x00" * 60 + b"PAR1", "a.parquet"),
        ("a.parquet", b"no parquet", "a.parquet"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, name, content, told):
    path = tmp_path / name
    path.write_bytes(content)
    for attempt in (lambda: read(path, ASKED, "data"), lambda: column_names(path, "data")):
        with pytest.raises(KgrecError) as caught:
            attempt()
            read(path, ASKED, "data")
        assert told in str(caught.value) and "\n" not in str(caught.value)
    assert all(isinstance(row, KgrecError) for row in _rows(path))


def _rows(path: Path) -> list:
    try:
        return list(rows(path, "--in"))
    except KgrecError:
        return []


def test_a_parquet_file_with_a_damaged_page_is_one_line(tmp_path):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"sku": [str(i) for i in range(5_000)], "name": ["x" * (i % 50) for i in range(5_000)]}).write_parquet(path)
    whole = path.read_bytes()
    for cut in range(8, len(whole) - 8, max(1, len(whole) // 40)):
        path.write_bytes(whole[:cut] + b"\xff\x00\xff\x7f" + whole[cut + 4 :])
        for attempt in (lambda: read(path, ASKED, "data"), lambda: list(rows(path, "--in"))):
            try:
                attempt()
            except KgrecError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("encode", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_who_reads_in_place_refuses_what_would_have_to_be_decoded(tmp_path, encode, ends):
    path = tmp_path / "feed.jsonl"
    path.write_bytes(LINES.replace("\n", ends).encode(encode))
    if encode.startswith("utf-8") and ends != "\r":
        return refuse_foreign(path)
    with pytest.raises(KgrecError, match=r"iconv -f utf-|has the line ends of old Macs"):
        refuse_foreign(path)
    return None


def test_a_line_whose_end_is_half_written_is_no_old_mac(tmp_path):
    (tmp_path / "feed.jsonl").write_bytes(b'{"a": 1}\r')
    refuse_foreign(tmp_path / "feed.jsonl")
