"""A text looks at its rarest neighbours, and beyond them."""

from __future__ import annotations

import numpy as np
import torch

from kgrec_core.encoder.attention import Attention
from kgrec_core.graph import candidates
from tests.encoder.test_fusions import of, text
from tests.encoder.test_propagate import Own


def test_the_rarest_neighbours_are_looked_at_and_a_second_hop_reaches_further(chairs):
    graph, tasks = chairs
    one, two = (of(lambda hops=hops: Attention(text=text(), hops=hops, sample=2), graph, tasks)[0] for hops in (1, 2))
    items = candidates(graph, tasks[0])
    met = one._sampled(items, one.relations_)
    first = [(one.relations_[r].name, row) for o, r, row in zip(met.owner, met.relation, met.rows, strict=True) if o == 0]
    assert first == [("has", 1), ("made_by", 0)], "red is what every item has"
    assert one.reads_knowledge and not one.deeper_.requires_grad and two.deeper_.requires_grad
    with torch.no_grad():
        plain = two._vectors(graph, "colour", np.array([0]), 2)
        two.deeper_.fill_(1.0)
        assert not torch.allclose(plain, two._vectors(graph, "colour", np.array([0]), 2)), "red has seen what is red"


def test_weights_of_neighbours_sum_to_one():
    encoder, graph, tasks = of(lambda: Attention(text=Own(), entity=Own()))
    items = candidates(graph, tasks[0])
    met = encoder._sampled(items, encoder.relations_)
    vectors, place = encoder._neighbours(graph, met, 1)
    with torch.no_grad():
        torch.testing.assert_close(encoder._attended(encoder.text(items), met, vectors[place]).sum(1), torch.ones(12))
