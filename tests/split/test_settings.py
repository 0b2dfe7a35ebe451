"""A split that cannot be made is refused in one line."""

from __future__ import annotations

import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset
from kgrec_core.split import Split, split
from tests.split.test_views import BASE, BUYS, HAS, TASK, world


@pytest.mark.parametrize(
    ("how", "message", "dated"),
    [
        (
            Split(by="random", test=1e-9),
            "the test part of task buys is empty; of 56 edges chance left it none; give more of them, a larger share",
            False,
        ),
        (Split(test="2090-01-01", validation="1d"), 'split by "time": the validation part of task buys is empty', True),
        (Split(test="2090-01-01", validation="2089-01-01"), "its edges go from 1970-01-01 00:00:00", True),
        (Split(test="1970-01-01", validation="1970-01-02"), "must be earlier than split.test (1970-01-01 00:00:00)", True),
        (Split(test="2010-13-45", validation="1d"), 'split.test = "2010-13-45" is no date; write', True),
        (Split(test="1d", validation="soon"), 'split.validation = "soon" is no date', True),
        (Split(validation="1d"), "split.test is missing", True),
        (Split(test="1d", validation="1d"), 'has no time; give it one or set split.by = "random"', False),
        (Split(by="random", test=20), "split.test = 20 must be a share between 0 and 1", True),
        (Split(by="targets", test=1.0), "split.test = 1.0 must be a share", True),
        (Split(by="column", column="fold"), "split.column = 'fold' is no column of user-buys->item, which has source, target", True),
        (Split(by="column", column="fold"), "nor of user; it has id, part, house", True),
        (Split(by="column", column="house"), "holds 'h0'; it may hold train, validation, test", True),
        (Split(by="random", group="flat"), 'split.group = "flat" is no column of user; it has id, part, house', True),
    ],
)
def test_a_wrong_setting_is_one_line(how, message, dated):
    with pytest.raises(KgrecError) as caught:
        split(world(BASE, dated=dated), how)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_relation_without_edges_or_without_a_table_is_named():
    graph = world(BASE).graph
    with pytest.raises(KgrecError, match="has no edges to split"):
        split(Dataset(graph.with_edges({BUYS: graph.relations[BUYS].head(0)}), (TASK,)), Split(by="last"))
    with pytest.raises(KgrecError, match="user-buys->item is not in the graph"):
        split(Dataset(graph.with_edges({HAS: graph.relations[HAS]}), (TASK,)), Split(by="last"))
