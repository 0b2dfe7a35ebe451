"""What a head promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from kgrec_core.graph import Nodes, candidates
from kgrec_core.guard import checks
from kgrec_core.interfaces import Batch, Head
from kgrec_core.testing.world import checkerboard, same


def check_head(factory: Callable[[], Head]) -> None:
    """Shapes; a pure, finite loss with gradients that is the same in any order of candidates and blind to masked ones; save and load."""
    graph, (task,) = checkerboard()
    head, dim, n = factory(), 8, 6
    head.prepare(graph, task, dim)
    users, items = Nodes(graph, "user", np.arange(n), "query"), candidates(graph, task)
    m = len(items)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(n, dim, generator=generator), torch.randn(m, dim, generator=generator)
    y = y if head.encodes_candidates else None
    with torch.no_grad():
        q, c = head.project(x, users), head.project(y, items)
    for projected, count in ((q, n), (c, m)):
        assert not checks.vectors(projected, count), checks.vectors(projected, count)
    assert q.shape[1] == c.shape[1], f"{q.shape} and {c.shape}"
    q, c = q.detach().requires_grad_(), c.detach().requires_grad_()
    mask = torch.zeros(n, m, dtype=torch.bool)
    mask[:, -1] = True
    batch = Batch(torch.arange(n), mask, torch.full((m,), -2.0), torch.ones(n))
    state = {name: value.clone() for name, value in head.state_dict().items()}
    loss = head.loss(q, c, batch)
    assert not checks.loss(loss) and bool(torch.isfinite(loss)), f"the loss must be a finite scalar, not {loss}"
    loss.backward()
    assert q.grad is not None and c.grad is not None and bool(q.grad.abs().sum() > 0), "no gradient reaches the vectors"
    assert bool(c.grad[-1].abs().sum() == 0), "a candidate that is masked for every query gets a gradient"
    assert all(torch.equal(value, head.state_dict()[name]) for name, value in state.items()), "the loss must not change the head"
    order = torch.randperm(m, generator=generator)
    moved = Batch(torch.argsort(order)[:n], mask[:, order], batch.logq[order], batch.weight)
    torch.testing.assert_close(head.loss(q, c[order], moved), loss, msg="the loss depends on the order of the candidates")
    with TemporaryDirectory() as folder:
        head.save(Path(folder))
        again = factory()
        again.load(Path(folder))
        same(head.project(x, users).detach().numpy(), again.project(x, users).detach().numpy(), "a loaded head must project alike")
        same(head.project(y, items).detach().numpy(), again.project(y, items).detach().numpy(), "a loaded head must project alike")
