"""The logits, the loss against torch's own, where classes start from, and what is promised of every head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Nodes, Task, candidates
from kgrec_core.head.classify import FILE, Classify
from kgrec_core.interfaces import Batch
from kgrec_core.testing import HAS, check_head, checkerboard

GRAPH = checkerboard().graph
COLOUR = Task("colour", HAS)
COLOURS = candidates(GRAPH, COLOUR)


def ready(dim: int = 3, **settings) -> Classify:
    head = Classify(**settings)
    head.prepare(GRAPH, COLOUR, dim)
    return head


def random_batch(n: int = 7, m: int = 5) -> tuple[torch.Tensor, torch.Tensor, Batch]:
    draw = torch.Generator().manual_seed(1)
    q, c = torch.randn(n, 4, generator=draw), torch.randn(m, 4, generator=draw)
    share = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05])
    positive = torch.randint(0, m, (n,), generator=draw)
    return q, c, Batch(positive, torch.zeros(n, m, dtype=torch.bool), share.log(), torch.rand(n, generator=draw))


@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.1}, {"class_weights": "balanced"}])
def test_it_keeps_what_is_promised_of_a_head(settings):
    check_head(lambda: Classify(**settings))


def test_the_dot_product_of_the_projections_is_the_logit():
    head, x = ready(temperature=0.1), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(head.weight_.norm(dim=1), torch.ones(2))
    with torch.no_grad():
        head.bias_.copy_(torch.tensor([0.5, -2.0]))
    queries = Nodes(GRAPH, "item", np.arange(4), "query")
    for rows in ([0, 1], [1]):
        logits = head.project(x, queries) @ head.project(None, Nodes(GRAPH, "colour", np.array(rows), "candidate")).T
        torch.testing.assert_close(logits, x @ head.weight_[rows].T / 0.1 + head.bias_[rows])
    with pytest.raises(KgrecError, match="colour row 2 came after the fit"):
        head.project(None, Nodes(GRAPH, "colour", np.array([0, 2]), "candidate"))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_torchs_cross_entropy(smoothing):
    q, c, batch = random_batch()
    each = cross_entropy(q @ c.T, batch.positive, reduction="none", label_smoothing=smoothing)
    found = Classify(label_smoothing=smoothing).loss(q, c, batch)
    torch.testing.assert_close(found, (each * batch.weight).sum() / batch.weight.sum())


def test_balanced_is_torchs_class_weight():
    q, c, batch = random_batch()
    batch = batch._replace(weight=torch.ones(7))
    expected = cross_entropy(q @ c.T, batch.positive, weight=1 / batch.logq.exp())
    torch.testing.assert_close(Classify(class_weights="balanced").loss(q, c, batch), expected)
    assert not torch.isclose(Classify().loss(q, c, batch), expected)


def test_a_masked_class_is_as_if_it_were_not_there():
    q, c, batch = random_batch()
    batch = batch._replace(positive=batch.positive.clamp(max=3), mask=batch.mask.index_fill(1, torch.tensor([4]), True))
    c.requires_grad_()
    for smoothing in (0.0, 0.2):
        head, c.grad = Classify(label_smoothing=smoothing), None
        loss = head.loss(q, c, batch)
        torch.testing.assert_close(loss, head.loss(q, c[:4], batch._replace(mask=batch.mask[:, :4], logq=batch.logq[:4])))
        loss.backward()
        assert torch.isfinite(c.grad).all() and (c.grad[4] == 0).all() and (c.grad[:4] != 0).any(1).all()


def test_classes_start_from_their_texts():
    head = ready()
    drawn = head.weight_.detach().clone()
    head.start(torch.tensor([[0.0, 3.0, 4.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(head.weight_[0], torch.tensor([0.0, 0.6, 0.8]))
    torch.testing.assert_close(head.weight_[1], drawn[1])
    assert head.weight_.requires_grad and torch.equal(drawn, ready().weight_)
    with pytest.raises(KgrecError, match=r"\(2, 4\) cannot start \(2, 3\)"):
        head.start(torch.zeros(2, 4))


def test_it_learns_the_colours_of_the_checkerboard():
    """12 items in a space where one direction of noise is far longer than that of the colour."""
    rows = np.arange(GRAPH.size("item"))
    draw = torch.Generator().manual_seed(3)
    x = torch.stack([torch.tensor(rows % 2 - 0.5), *torch.randn(2, len(rows), generator=draw)], 1).float()
    items, head = Nodes(GRAPH, "item", rows, "query"), ready(label_smoothing=0.05)
    batch = Batch(torch.tensor(rows % 2), torch.zeros(len(rows), 2, dtype=torch.bool), torch.full((2,), 0.5).log(), torch.ones(len(rows)))
    learn, losses = torch.optim.Adam(head.parameters(), lr=0.02), []
    for _ in range(150):
        loss = head.loss(head.project(x, items), head.project(None, COLOURS), batch)
        learn.zero_grad()
        loss.backward()
        learn.step()
        losses.append(loss.item())
    found = (head.project(x, items) @ head.project(None, COLOURS).T).argmax(1)
    assert found.tolist() == (rows % 2).tolist() and losses[-1] < 0.5 * losses[0]


def test_damaged_weights_are_refused(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(KgrecError, match="missing or damaged"):
        Classify().load(tmp_path)
    ready().save(tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-5])
    with pytest.raises(KgrecError, match="missing or damaged"):
        Classify().load(tmp_path)
    for state in ({"weight": torch.zeros(2, 3), "bias": torch.zeros(3)}, {"weight": torch.full((2, 3), torch.nan), "bias": torch.zeros(2)}):
        save_file(state, tmp_path / FILE)
        with pytest.raises(KgrecError, match="fit again"):
            Classify().load(tmp_path)
