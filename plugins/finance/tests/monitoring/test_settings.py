"""Settings of a monitor: spans in words, and what is none is named."""

from __future__ import annotations

import json

import pytest
from kgrec_finance.monitoring.settings import Settings, span, spelled

from kgrec_core import DAY, KgrecError

HOUR = DAY // 24


def test_spans_and_settings():
    quick = Settings(window=HOUR, cooldown=3 * HOUR, rate=2.0)
    assert span("15m") == 900_000_000 and span("1.5h") == 5_400_000_000 and spelled(span("2w")) == "2w"
    for wrong in (
        {"rate": 0.0},
        {"learn": HOUR},
        {"detectors": ("cusom:volume",)},
        {"window": 0},
        {"keep": 1},
        {"detectors": ("cusum:mood",)},
    ):
        with pytest.raises(KgrecError):
            Settings.of(Settings().state() | wrong)
    with pytest.raises(KgrecError, match="is no span of time"):
        span("soon")
    assert Settings.of(json.loads(json.dumps(quick.state()))) == quick
