"""Mined negatives are the hardest that are surely wrong."""

from __future__ import annotations

import pytest
import torch

from kgrec_core.training.options import Train


def test_mined_negatives_are_the_hardest_that_are_surely_wrong(tuned, board):
    from kgrec_core.graph import Nodes
    from kgrec_core.head.rank import Rank
    from kgrec_core.training.loop import Learner

    encoder = tuned(Train(epochs=0))[1].encoder
    learner = Learner(encoder, {"buys": Rank()}, board.tasks, board.views["train"], Train(batch=12, mined=2, mined_margin=0.001))
    learner.refresh()
    learner.refreshed()
    of = learner.vectors.objectives[0].of
    graph = board.views["train"].graph
    with torch.no_grad():
        every = encoder(of.queries.nodes.take(of.owner)) @ encoder(Nodes(graph, "item", torch.arange(12).numpy(), "candidate")).T
    known = graph.adjacent(board.task.relation, of.queries.nodes.take(of.owner).rows)
    for pair in range(len(of)):
        mine = set(known.rows[known.indptr[pair] : known.indptr[pair + 1]].tolist())
        limit = every[pair, of.target[pair]] - 0.001 * every[pair, of.target[pair]].abs()
        right = [i for i in every[pair].argsort(descending=True).tolist() if i not in mine and every[pair, i] <= limit][:2]
        assert of.hard_[pair][: len(right)].tolist() == right and (of.hard_[pair][len(right) :] == -1).all()
    step = of.step(0)
    assert {*of.hard_[of.pairs(0)].ravel().tolist()} - {-1} <= set(step.candidates.rows.tolist())
    assert bool(torch.isfinite(step.batch.logq).all())


@pytest.mark.parametrize(("head", "told"), [("Classes", True), ("Rank", False)])
def test_where_nothing_ranks_it_is_said_that_none_are_mined(toy, board, caplog, head, told):
    from kgrec_core.head.rank import Rank
    from kgrec_core.training.loop import Learner

    Learner(
        toy.Latest(), {"buys": toy.Classes() if head == "Classes" else Rank()}, board.tasks, board.views["train"], Train(batch=12, mined=2)
    )
    assert ("train.mined: nothing that is learned ranks" in caplog.text) == told
