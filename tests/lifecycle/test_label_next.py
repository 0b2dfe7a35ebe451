"""Which text to label next: the files around the choice. What is chosen is in tests/teaching/test_few_labels.py."""

from __future__ import annotations

import os

import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.lifecycle.label_next import Next, _refuse, _write
from kgrec_core.teaching.unlabelled import texts_of

FOUND = Next(["Where is it?", "=1+1"], ["where", "sum"], [0.2, 0.4], "next.csv", 2)


def test_labels_are_not_written_over(tmp_path):
    out = tmp_path / "next.csv"
    for _ in range(2):  # what nobody has labelled may be chosen anew
        _refuse(out, tmp_path / "q.txt")
        _write(out, FOUND)
    out.write_text(out.read_text().replace("Where is it?,", "Where is it?,delivery"))
    with pytest.raises(KgrecError, match=r"next.csv holds 1 labels, which would be lost; learn from them, move it away, or name another"):
        _refuse(out, tmp_path / "q.txt")
    out.write_bytes(b"text;label\nWhere;caf\xe9\n")  # as a spreadsheet saves it
    with pytest.raises(KgrecError, match="is not UTF-8"):
        _refuse(out, tmp_path / "q.txt")
    for there in (b"", b"a,b\n1,2\n", b"text,label\n"):
        out.write_bytes(there)
        _refuse(out, tmp_path / "q.txt")


def test_a_place_that_is_none_is_refused_before_anything_is_asked(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "q.csv").write_text("text\nWhere?\n")
    os.mkfifo(tmp_path / "pipe.csv")
    for name, told in (
        ("folder.csv", "is a folder"),
        ("q.csv", "is the file that is read"),
        ("pipe.csv", "is a pipe or a device"),
        ("run.live.sqlite", "no format of --out is called '.sqlite'"),
        ("next.parquet", "known: .csv"),
    ):
        with pytest.raises(KgrecError, match=told):
            _refuse(tmp_path / name, tmp_path / "q.csv")
    assert sorted(os.listdir(tmp_path)) == ["folder.csv", "pipe.csv", "q.csv"]


def test_a_list_of_texts_is_read_as_tables_are(tmp_path):
    for name, held in (
        ("bom.txt", b"\xef\xbb\xbfWhere?\r\nWho?\r\n"),
        ("wide.txt", "Where?\nWho?".encode("utf-16")),
        ("mac.TXT", b"Where?\rWho?\r"),
    ):
        (tmp_path / name).write_bytes(held)
        assert texts_of(tmp_path / name, "--texts") == ["Where?", "Who?"], name
    (tmp_path / "latin.txt").write_bytes(b"Where?\ncaf\xe9\n")
    (tmp_path / "zip.txt").write_bytes(b"PK\x03\x04 and more")
    (tmp_path / "folder.txt").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")  # would be waited for
    for name, told in (
        ("latin.txt", "latin.txt line 2: byte 0xe9 at offset 10 is not UTF-8"),
        ("zip.txt", "is no text but an Excel workbook or a zip archive"),
        ("folder.txt", "--texts = .*folder.txt is a folder; name a file in it"),
        ("pipe.txt", "is a pipe or a device"),
        ("lattin.txt", "did you mean 'latin.txt'.*correct --texts"),
        ("nowhere/q.txt", r'--texts = ".*q.txt": there is no folder [^;]*nowhere$'),
    ):
        with pytest.raises(KgrecError, match=told):
            texts_of(tmp_path / name, "--texts")
