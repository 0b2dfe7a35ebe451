"""What speaks for an answer: the channels that place it highest, in words."""

from __future__ import annotations

import numpy as np

from kgrec_core.retrieval.cooccurrence import Cooccurrence
from kgrec_core.retrieval.ease import Ease
from kgrec_core.retrieval.merge import Merge
from kgrec_core.retrieval.popular import Popular
from kgrec_core.retrieval.repeat import Repeat
from kgrec_core.run.reasons import phrases, reasons


def test_the_channels_that_place_it_highest_are_named():
    inner = Merge(channels={"ease": Ease(), "together": Cooccurrence()}, weights={"ease": 0.1})
    said = phrases(Merge(channels={"own": Repeat(), "all": Popular(), "inner": inner}))
    assert set(said) == {"own", "all", "ease", "together"}
    columns = {
        "own": np.array([3.0, np.nan, 0.0]),
        "all": np.array([1.0, 10.0, 2.0]),
        "ease": np.array([0.9, 0.2, np.nan]),
        "together": np.array([0.0, 0.0, 0.0]),
    }
    assert reasons(said, columns, 3) == [f"{Repeat.says}, {Ease.says}", Popular.says, ""]


def test_nothing_is_said_where_nothing_is_known():
    assert reasons({}, {}, 2) == ["", ""]
    assert reasons({"own": "chosen before"}, {"own": np.full(2, np.nan)}, 2) == ["", ""]
