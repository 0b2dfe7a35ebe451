"""A moment in any form that feeds write; what is none is refused."""

from __future__ import annotations

import pytest
from kgrec_finance.feeds.events import Reader, Refused


@pytest.mark.parametrize(
    ("written", "settings", "expected"),
    [
        ("2024-05-01T12:00:00+02:00", {}, 1_714_557_600_000_000),
        ("2024-05-01 12:00:00.5Z", {}, 1_714_564_800_500_000),
        ("Wed, 01 May 2024 12:00:00 GMT", {}, 1_714_564_800_000_000),
        ("Wed May 01 12:00:00 +0000 2024", {}, 1_714_564_800_000_000),
        (1714564800, {}, 1_714_564_800_000_000),
        ("1714564800123", {}, 1_714_564_800_123_000),
        (1714564800123456, {}, 1_714_564_800_123_456),
        (1714564800.25, {}, 1_714_564_800_250_000),
        ("2024-05-01 12:00", {"time_zone": "Europe/Berlin"}, 1_714_557_600_000_000),
        ("2024年5月1日", {"time_zone": "Asia/Shanghai"}, 1_714_492_800_000_000),
        ("2024-05-01 12:00:00 UTC", {}, 1_714_564_800_000_000),
        ("2024-05-01 12:00:00.000 +0000", {}, 1_714_564_800_000_000),
        ("Wed, 01 May 2024 12:00:00 -0000", {}, 1_714_564_800_000_000),
        ("Wed, 01 May 2024 14:00:00 CEST", {"time_zone": "UTC"}, 1_714_564_800_000_000),
        ("Wed, 01 May 2024 21:00:00 JST", {"time_zone": "UTC"}, 1_714_564_800_000_000),
        ("May 1, 2024 5:00 PM", {"time_zone": "UTC"}, 1_714_582_800_000_000),
        ("01.05.2024 12:00", {"time_format": "%d.%m.%Y %H:%M", "time_zone": "UTC"}, 1_714_564_800_000_000),
    ],
)
def test_times(written, settings, expected):
    assert Reader(**settings).moment(written) == expected


@pytest.mark.parametrize(
    "written", [None, "", "soon", "Wed, 01 May 2024 12:00:00 BST", "2024-05-01 12:00:00", True, "12", "2024-13-01T00:00:00Z", {}, "1" * 400]
)
def test_no_times(written):
    with pytest.raises(Refused):
        Reader().moment(written)


def test_a_second_field_that_may_be_meant_is_told_once(caplog):
    reader = Reader()
    for number in range(2):
        event = reader.event({"time": 1714564800, "text": f"Rain {number}", "summary": "Sun"})
        assert event.text == f"Rain {number}"
    assert caplog.messages == ['feed: "summary" may be its text, too; "text" is read; to name another: --column text=...']
    caplog.clear()
    Reader({"text": "summary"}).event({"time": 1714564800, "text": "Rain", "summary": "Sun"})
    assert not caplog.messages
