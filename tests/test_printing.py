"""printing: whatever a name holds, a terminal gets characters that one sees, one line where one is promised, and the same JSON."""

from __future__ import annotations

import json
import logging

import click
import pytest
from click.testing import CliRunner

from kgrec_core.cli.domain import LazyGroup
from kgrec_core.errors import KgrecError, choices, line, visible
from kgrec_core.printing import columns, say, say_json

HOSTILE = "mug\x1b]0;pwned\x07\x1b[2J\x9b31m\r\nid\tprice\u202e\u2066evil\u200b\ufeff\x00\x7f\ud800"
RAW = [chr(c) for c in (*range(9), *range(11, 32), *range(127, 160), 0xAD, 0x200B, 0x202E, 0x2066, 0xFEFF, 0xD800, 0xE0041)]


def printed(act) -> str:
    return CliRunner().invoke(click.Command("x", callback=act)).stdout


def test_nothing_raw_is_printed():
    told = printed(lambda: say(HOSTILE))
    assert not set(told) & set(RAW) and "\\x1b]0;pwned\\x07" in told and "\\u202e" in told
    shown = printed(lambda: say_json({HOSTILE: [HOSTILE, "红色杯子 👨‍👩‍👧 é"]}))
    assert not set(shown) & set(RAW) and "红色杯子 👨‍👩‍👧 é" in shown
    assert json.loads(shown) == {HOSTILE: [HOSTILE, "红色杯子 👨‍👩‍👧 é"]}


def test_a_cell_is_one_line():
    told = columns([("id", "name"), ("1", HOSTILE), ("22", "plain")])
    assert len(told.splitlines()) == 3 and not set(told) & set(RAW)


@pytest.mark.parametrize("make", [KgrecError, lambda text: choices("item", text, [text, "other"])])
def test_an_error_is_one_visible_line(make):
    told = str(make(HOSTILE))
    assert len(told.splitlines()) == 1 and not set(told) & set(RAW)


def test_what_one_sees_stays():
    assert visible(line("红色杯子 é 👨‍👩‍👧 عربى a\u200cb")) == "红色杯子 é 👨‍👩‍👧 عربى a\u200cb"
    assert (visible("a\nb\tc"), line("a\nb\tc")) == ("a\nb\tc", "a b c")


def test_messages_are_visible_too(capfd):
    def warn() -> None:
        logging.getLogger("kgrec").warning("%s has no text", HOSTILE)

    group = LazyGroup("toy", {})
    group.add_command(click.Command("warn", callback=warn))
    group.list_commands = lambda ctx: ["warn"]
    group.get_command = lambda ctx, word: click.Command("warn", callback=warn)
    with pytest.raises(SystemExit):
        group.main(["warn"])
    assert not set(capfd.readouterr().err) & set(RAW)
