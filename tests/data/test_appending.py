"""A line at the end of a file: after one that a crash cut off, and where there is no room."""

from __future__ import annotations

import os

import pytest

from kgrec_core.data.appending import append


def test_a_line_after_one_that_was_cut_off_is_a_line_of_its_own(tmp_path):
    file = tmp_path / "new" / "log.jsonl"
    append(file, "one")
    with file.open("a") as torn:
        torn.write('{"half')
    append(file, "two", sync=False)
    assert file.read_text() == 'one\n{"half\ntwo\n' and file.stat().st_mode & 0o777 == 0o600


def test_what_found_no_room_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "write", lambda handle, body: len(body) - 1)
    with pytest.raises(OSError, match="full"):
        append(tmp_path / "log.jsonl", "one")
