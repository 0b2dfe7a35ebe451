"""Progress in a file or a pipe is lines that come while the work goes on; nothing where machines read."""

from __future__ import annotations

import re

from kgrec_core.cli.progress import progress_bar


def lines(said: str) -> list[str]:
    return [re.sub(r"^ *\d+ s  ", "", line) for line in said.splitlines()]


def test_a_log_gets_a_line_for_each_stage_and_each_tenth_of_it(capsys):
    with progress_bar(quiet=False) as progress:
        progress("loading data", 0, 0)
        assert lines(capsys.readouterr().err) == ["loading data"]
        for done in range(21):
            progress("fine-tuning", done, 20)
            progress.note("fine-tuning", f"loss {20 - done}")
    said = lines(capsys.readouterr().err)
    assert said[:2] == ["fine-tuning 0/20", "fine-tuning 2/20 loss 19"]
    assert said[-1] == "fine-tuning 20/20 loss 1" and len(said) == 11


def test_a_stage_that_begins_again_is_told_again(capsys):
    with progress_bar(quiet=False) as progress:
        for _ in range(2):  # as of trials, and of the members of an ensemble
            for done in (0, 1, 2):
                progress("fine-tuning", done, 2)
    assert lines(capsys.readouterr().err) == ["fine-tuning 0/2", "fine-tuning 1/2", "fine-tuning 2/2"] * 2


def test_nothing_is_shown_where_machines_read(capsys):
    with progress_bar(quiet=True) as progress:
        progress("loading data", 0, 0)
        progress.note("loading data", "3 files")
    assert capsys.readouterr() == ("", "")
