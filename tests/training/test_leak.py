"""The candidate leak: who bought an item must not tell an encoder of candidates which edges of the batch are asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kgrec_core.graph import Dataset, Nodes, Task
from kgrec_core.interfaces import Encoder
from kgrec_core.split import Split, split
from kgrec_core.testing import BUYS, checkerboard
from kgrec_core.training.examples import Examples
from kgrec_core.training.options import Train

USERS = 24


class Buyers(Encoder):
    """A user is itself, an item the users who bought it, as far as it may know: their product says whether it knows the edge."""

    dim = USERS

    def forward(self, nodes: Nodes) -> torch.Tensor:
        out = torch.zeros(len(nodes), USERS)
        if nodes.kind == "user":
            out[torch.arange(len(nodes)), torch.from_numpy(nodes.rows)] = 1
        else:
            bought = nodes.read(BUYS)
            out[torch.from_numpy(bought.owner), torch.from_numpy(bought.rows)] = 1
        return out


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("by", ["last", "random"])
def test_no_candidate_knows_an_edge_that_its_batch_asks_for(dated, by):
    graph = checkerboard(USERS)[0]
    if not dated:
        graph = graph.with_edges({r: t.drop("time") if r == BUYS else t for r, t in graph.relations.items()})
    task, encoder = Task("buys", BUYS), Buyers()
    view = split(Dataset(graph, (task,)), Split(by=by, test=0.2, validation=0.2))["train"]
    examples = Examples(view.graph, task, (task,), view.queries["buys"], Train(batch=6))
    known = 0.0
    for number in range(examples.batches):
        step = examples.step(number)
        scores = encoder(step.queries) @ encoder(step.candidates).T
        asked = scores[np.arange(len(scores)), step.batch.positive.numpy()]
        known += float(encoder(step.candidates).sum())
        assert not asked.any(), f"batch {number}: a candidate knows who is asked about"
    assert known > 0  # it does read what it may
