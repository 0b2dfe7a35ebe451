"""What is written for somebody is whole or not there, and takes nothing away that is no file of theirs."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.outputs import output


def put(out: Path, text: str = "new", **how) -> None:
    with output(out, **how) as place:
        place.write_text(text)


def test_what_goes_wrong_leaves_what_was_there(tmp_path):
    out = tmp_path / "next.csv"
    out.write_text("old")
    with pytest.raises(KeyboardInterrupt), output(out) as place:
        place.write_text("ha")
        raise KeyboardInterrupt
    assert out.read_text() == "old" and os.listdir(tmp_path) == ["next.csv"]
    put(out)
    assert out.read_text() == "new" and os.listdir(tmp_path) == ["next.csv"]


def test_a_link_stays_one_and_a_mode_too(tmp_path):
    (tmp_path / "week.csv").write_text("old")
    (tmp_path / "week.csv").chmod(0o640)
    (tmp_path / "now.csv").symlink_to("week.csv")
    put(tmp_path / "now.csv")
    assert (tmp_path / "now.csv").is_symlink() and (tmp_path / "week.csv").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "week.csv").stat().st_mode) == 0o640


def test_what_is_no_place_is_refused_and_nothing_is_left(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "q.txt").write_text("read")
    os.mkfifo(tmp_path / "pipe.csv")
    for name, told in (
        ("folder", "folder is a folder; name another file with --out"),
        ("pipe.csv", "pipe.csv is a pipe or a device"),  # as /dev/null is, which a rename would replace
        ("q.txt", "q.txt is the file that is read"),
        ("nowhere/next.csv", "cannot be written .there is no folder .*nowhere.; make it, or name another"),
        ("q.txt/next.csv", "there is no folder .*q.txt"),
        (f"{'a' * 300}.csv", "cannot be written .File name too long"),
        ("nul\0.csv", "cannot be written"),
    ):
        with pytest.raises(KgrecError, match=told):
            put(tmp_path / name, read=tmp_path / "q.txt")
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe.csv", "q.txt"] and (tmp_path / "q.txt").read_text() == "read"
    assert stat.S_ISFIFO((tmp_path / "pipe.csv").stat().st_mode)


def test_a_full_disk_leaves_nothing(tmp_path):
    with pytest.raises(KgrecError, match=r"next.csv cannot be written .No space left on device"), output(tmp_path / "next.csv") as place:
        place.write_text("ha")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert os.listdir(tmp_path) == []
