"""A state file belongs to one monitor at a time, with its settings and its model."""

from __future__ import annotations

import os

import pytest
from kgrec_finance.feeds.events import Event
from kgrec_finance.monitoring.monitor import Monitor
from kgrec_finance.monitoring.settings import Settings
from kgrec_finance.monitoring.state import State

from kgrec_core import DAY, KgrecError

QUICK = Settings(rate=2.0)


def test_the_second_monitor_is_refused_by_name(tmp_path):
    with State(tmp_path / "s", write=True):
        with pytest.raises(KgrecError, match=f"belongs to the monitor that runs as process {os.getpid()}"):
            State(tmp_path / "s", write=True)
        State(tmp_path / "s", write=False).close()
    State(tmp_path / "s", write=True).close()


def test_other_settings_another_model_and_foreign_files_are_refused(tmp_path):
    with State(tmp_path / "s", write=True) as state:
        Monitor(state, QUICK, model="a").take("feed", [(Event("1", DAY, "Up.", None, {}), "1")])
        with pytest.raises(KgrecError, match=r"was begun with rate = 2\.0"):
            Monitor(state, Settings.of(QUICK.state() | {"rate": 1.0}), model="a")
        with pytest.raises(KgrecError, match="was begun with a, not b"):
            Monitor(state, QUICK, model="b")
    (tmp_path / "odd").write_text("not a database at all" * 100)
    for write in (True, False):
        with pytest.raises(KgrecError, match="is no state file of a monitor"):
            State(tmp_path / "odd", write=write)
    with pytest.raises(KgrecError, match="there is no state file"):
        State(tmp_path / "none", write=False)
