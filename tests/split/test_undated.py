"""Without a time nothing came before anything else."""

from __future__ import annotations

from kgrec_core.graph import Dataset, Task
from kgrec_core.split import Split, split
from tests.split.test_views import BASE, BUYS, ITEMS, LIKES, TASK, USERS, VIEWS, edges, world


def test_undated_tasks_of_one_source_tell_training_nothing_of_each_other():
    data = world([(u, u % ITEMS) for u in range(USERS)], [(u, 0, 5) for u in range(USERS)], dated=False)
    both = Dataset(
        data.graph.with_edges({**data.graph.relations, LIKES: edges([(u, 1) for u in range(USERS)], ("source", "target"))}),
        (TASK, Task("likes", LIKES)),
    )
    train = split(both, Split(by="column", column="part"))["train"]
    for task in ("buys", "likes"):
        nodes = train.queries[task].nodes
        assert len(nodes)
        assert not len(nodes.read(BUYS).rows) and not len(nodes.read(LIKES).rows)
    assert len(train.queries["buys"].nodes.read(VIEWS).rows)  # buys names views as its history


def test_undated_last_is_an_order_and_no_clock(caplog):
    graph = split(world(BASE, dated=False), Split(by="last"))["train"].graph
    assert "task buys: user-buys->item has no time, so nothing says what of user-views->item came before" in caplog.text
    assert graph.dated(BUYS) and not graph.clocked(BUYS) and graph.clocked(VIEWS)
    assert split(world(BASE), Split(by="last"))["train"].graph.clocked(BUYS)
