"""Which column is which: by its name, and nothing in silence where two may be meant."""

from __future__ import annotations

import pytest

from kgrec_core.data.columns import open_columns
from kgrec_core.errors import KgrecError

KNOWN = {"news": {"text": "text body summary", "label": "label name", "by": "author name"}}


def opened(folder, header, **given):
    (folder / "news.csv").write_text(f"{header}\n{','.join('abcdef'[: header.count(',') + 1])}\n")
    return open_columns(folder / "news.csv", "news", given, KNOWN, ["text"]).names


def test_another_column_that_may_be_meant_is_told_and_the_one_that_is_read(tmp_path, caplog):
    assert opened(tmp_path, "Body,label,text,Summary,other") == {"text": "text", "label": "label"}
    assert caplog.messages == ['news.csv: "Body" and "Summary" may be its text, too; "text" is read; to name another: data.columns.text']
    caplog.clear()
    assert opened(tmp_path, "Body,label,text", text="Body") == {"text": "Body", "label": "label"}
    assert opened(tmp_path, "text,label,name") == {"text": "text", "label": "label", "by": "name"}  # each is somebody's
    assert not caplog.messages


def test_two_columns_of_one_name_are_refused_where_it_is_read(tmp_path):
    told = r'news: columns "The-Text" and "the text" are both its text; rename one, or name one: data.columns.text = "The-Text"'
    known = {"news": {"text": "thetext"}}
    (tmp_path / "news.csv").write_text("The-Text,the text\na,b\n")
    with pytest.raises(KgrecError, match=told):
        open_columns(tmp_path / "news.csv", "news", {}, known, ["text"])
    assert open_columns(tmp_path / "news.csv", "news", {"text": "the text"}, known, ["text"]).names == {"text": "the text"}


def test_a_zone_and_a_format_that_are_none_are_refused_whether_there_are_times_or_not(tmp_path):
    (tmp_path / "news.csv").write_text("text\na\n")
    file = open_columns(tmp_path / "news.csv", "news", {}, KNOWN, ["text"])
    assert file.timed("Europe/London", "%d.%m.%Y").form == "%d.%m.%Y"
    for zone, form, wrong in (("Moon", None, 'data.time_zone = "Moon"'), (None, "%H:%M", 'data.time_format = "%H:%M" tells no year')):
        with pytest.raises(KgrecError, match=wrong):
            file.timed(zone, form)
