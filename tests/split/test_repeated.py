"""Targets that come back are doubted where they are never recommended."""

from __future__ import annotations

from kgrec_core.split import Split, repeated, split
from tests.split.test_views import TASK, WAYS, world


def test_much_that_comes_back_is_doubted_where_it_is_never_recommended(caplog):
    views, how = [(u, i, t) for t in range(20) for u, i in ((t % 6, t % 6), ((t + 1) % 6, t % 6))], Split(**WAYS["time"].__dict__)
    (said,) = repeated.doubted(split(world(views), how), [TASK])
    assert said == caplog.messages[-1] and "had met before" in said and said.endswith("set data.tasks.buys.repeats = true")
    assert not repeated.doubted(split(world(views), how), [TASK._replace(repeats=True)])
    once = [(u, (u + t // 4) % 6, t) for t in range(0, 20, 4) for u in range(6)]
    assert not repeated.doubted(split(world(once), how), [TASK])
