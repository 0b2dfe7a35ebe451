"""Encoders side by side: scores add up by weight, and what learns nothing is silent while the others learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kgrec_core.encoder.concat import Concat
from kgrec_core.encoder.tfidf import Tfidf
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Nodes, candidates
from kgrec_core.interfaces import Encoder
from kgrec_core.testing import checkerboard


class Rows(Encoder):
    """A vector that learns, per row and kind."""

    def __init__(self, dim: int = 5) -> None:
        super().__init__()
        self.dim, self.vectors = dim, torch.nn.Parameter(torch.randn(24, dim, generator=torch.Generator().manual_seed(0)))

    def prepare(self, graph, tasks):
        """Nothing to learn before training."""

    def forward(self, nodes):
        return torch.nn.functional.normalize(self.vectors[torch.from_numpy(nodes.rows)], dim=1)

    def refresh(self, graph, new=None):
        """No table."""


@pytest.fixture
def world():
    graph, tasks = checkerboard()
    encoders = {"rows": Rows(), "words": Tfidf(width=8)}
    whole = Concat(encoders=encoders, weights={"rows": 3.0}).eval()
    whole.prepare(graph, tasks)
    whole.refresh(graph)
    return whole, encoders, Nodes(graph, "user", np.arange(8), "query"), candidates(graph, tasks[0])


def test_a_score_is_the_weighted_sum_of_the_scores(world):
    whole, encoders, users, items = world
    assert whole.dim == 13
    expected = 0.75 * encoders["rows"](users) @ encoders["rows"](items).T + 0.25 * encoders["words"](users) @ encoders["words"](items).T
    torch.testing.assert_close(whole(users) @ whole(items).T, expected)


def test_while_training_only_what_learns_is_heard(world):
    whole, encoders, users, items = world
    whole.train()
    torch.testing.assert_close(whole(users) @ whole(items).T, encoders["rows"](users) @ encoders["rows"](items).T)
    encoders["rows"].requires_grad_(False)
    assert whole(users)[:, 5:].abs().sum() > 0


def test_what_is_silent_is_not_asked(world, monkeypatch):
    whole, encoders, users, _ = world
    whole.train()
    monkeypatch.setattr(encoders["words"], "forward", lambda nodes: pytest.fail("asked"))
    assert not whole(users)[:, 5:].any() and whole.blocks == ((5, 1.0), (8, 0.0))


def test_the_blocks_are_those_of_its_encoders(world):
    whole = world[0]
    assert whole.blocks == ((5, 0.75**0.5), (8, 0.5))
    around = Concat(encoders={"a": whole, "b": Rows(4)}).eval().blocks
    assert [width for width, _ in around] == [5, 8, 4]
    np.testing.assert_allclose([length**2 for _, length in around], [0.375, 0.125, 0.5])


def test_wrong_weights_and_no_encoder_are_told(world):
    graph, tasks = checkerboard()
    with pytest.raises(KgrecError, match="wrods"):
        Concat(encoders={"words": Tfidf()}, weights={"wrods": 1.0}).prepare(graph, tasks)
    for weights in ({"words": 0.0}, {"words": -1.0}):
        with pytest.raises(KgrecError, match="0 or more, and not all of them 0"):
            Concat(encoders={"words": Tfidf()}, weights=weights).prepare(graph, tasks)
    with pytest.raises(KgrecError, match="no encoder in it"):
        Concat(encoders={}).prepare(graph, tasks)
