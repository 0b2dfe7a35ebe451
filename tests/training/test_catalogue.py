"""The whole catalogue as wrong answers, on vectors that are made once: what an update sees, and that it learns what comes next."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import polars as pl
import pytest
import torch

from kgrec_core.encoder.sequence import Sequence
from kgrec_core.graph import DAY, Dataset, Graph, Nodes, Relation, Task
from kgrec_core.head.rank import Rank
from kgrec_core.model import Model
from kgrec_core.split import Split, split
from kgrec_core.training.catalogue import Catalogue
from kgrec_core.training.fitting import train
from kgrec_core.training.loop import Learner, finetune
from kgrec_core.training.options import Train
from tests.encoder.test_history import Letters

BUYS = Relation("user", "buys", "item")


def ring(repeats: bool = False, users: int = 60, items: int = 12, dated: bool = True) -> Dataset:
    """Who buys item i buys item i + 1 next: only the order tells, as every user meets half of the items."""
    source = np.repeat(np.arange(users), 6)
    target = (np.repeat(np.arange(users), 6) + np.tile(np.arange(6), users)) % items
    table = {"source": source, "target": target} | ({"time": DAY * (1 + np.tile(np.arange(6), users))} if dated else {})
    schema = {"source": pl.UInt32, "target": pl.UInt32} | ({"time": pl.Int64} if dated else {})
    entities = {
        "user": pl.DataFrame({"id": [f"u{i}" for i in range(users)]}),
        "item": pl.DataFrame({"id": [f"i{i}" for i in range(items)], "text": ["abcdefghijkl"[i] * 3 for i in range(items)]}),
    }
    return Dataset(Graph(entities, {BUYS: pl.DataFrame(table, schema)}), (Task("buys", BUYS, repeats=repeats),))


def taught(dataset: Dataset, by: str = "last", **how) -> Learner:
    views = split(dataset, Split(by=by))
    encoder = Sequence(items=Letters(), width=16, heads=2, last=8, dropout=0.0)
    encoder.items.weight.requires_grad_(how.pop("open", False))
    model = Model(encoder, {"buys": Rank()}, dataset.tasks).prepare(views["train"].graph)
    options = Train(
        epochs=how.pop("opened", 0), head_lr=0.01, objectives={"catalogue": Catalogue(**{"batch": 30, "temperature": 0.2} | how)}
    )
    return Learner(model.encoder, model.heads, model.tasks, views["train"], options)


def test_order_is_learned_from_every_position():
    learner = taught(ring(), epochs=25)
    query = learner.vectors.objectives[-1].queries.nodes.take([0])
    nodes = Nodes(query.graph, "user", np.arange(60), "query", before=np.full(60, 4 * DAY))  # three of the six were met

    def right() -> float:
        learner.refresh()
        with torch.no_grad():
            scores = learner.encoder(nodes) @ learner.encoder(Nodes(query.graph, "item", np.arange(12), "candidate")).T
        met = nodes.read(BUYS)
        scores[met.owner, met.rows] = -torch.inf
        return float((scores.argmax(1).numpy() == (np.arange(60) + 3) % 12).mean())

    before = right()
    for _ in finetune(learner, lambda: {"buys": 0.0}):
        pass
    assert right() > 0.95 > before


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("whole", [20_000, 5])
def test_what_is_no_wrong_answer_and_how_often_an_answer_is_in_a_batch(repeats, whole):
    learner = taught(ring(repeats), batch=10, whole=whole, negatives=3)
    step = learner.vectors.objectives[-1].step(0)
    owner, column, share, logq, mask = step.batch
    met = step.queries.read(BUYS)
    rows = step.candidates.rows
    known = np.zeros(mask.shape, bool)
    for query, row in zip(met.owner, met.rows, strict=True):
        known[query] |= rows == row
    assert (mask.numpy() == (known & (not repeats))).all() and known.any()
    assert not mask[owner, column].any() and len(share) == len(owner) == 10
    if whole == 5:
        assert len(rows) < 12 or (logq < 0).all()
        again = [taught(ring(repeats), batch=10, whole=5, negatives=3).vectors.objectives[-1].step(n).candidates.rows for n in (0, 1)]
        np.testing.assert_array_equal(again[0], rows)
        assert len(again[1]) != len(rows) or (again[1] != rows).any()
    else:
        assert len(rows) == 12 and not logq.any()


def test_the_drawn_candidates_are_corrected_by_their_share_of_batches():
    objective = taught(ring(True), batch=10, whole=5, negatives=3).vectors.objectives[-1]
    seen, told = np.zeros(12), np.zeros(12)
    for number in range(400):
        step = objective.step(number)
        seen[step.candidates.rows] += 1
        told[step.candidates.rows] = np.exp(step.batch[3].numpy())
    np.testing.assert_allclose(seen / 400, told, atol=0.06)


def test_what_came_pretrained_stays_until_its_phase_and_has_a_rate_of_its_own_then():
    class Pretrained(Letters):
        pretrained = True

    learner = taught(ring(), epochs=2, opened=0)
    assert learner.total == learner.starts.get(1, learner.total)
    views = split(ring(), Split(by="last"))
    encoder = Sequence(items=Pretrained(), width=8, heads=2, dropout=0.0)
    model = Model(encoder, {"buys": Rank()}, ring().tasks).prepare(views["train"].graph)
    options = Train(epochs=1, batch=30, lr=0.1, warmup=0.0, objectives={"catalogue": Catalogue(epochs=1, batch=30)})
    learner = Learner(model.encoder, model.heads, model.tasks, views["train"], options)
    start, weight = learner.starts[1], encoder.items.weight
    first, rates = weight.detach().clone(), []
    for number in range(learner.total):
        rates.append(learner.optimizer.param_groups[0]["lr"])
        asked = len(encoder.items.asked)
        learner.update(number)
        assert (len(encoder.items.asked) == asked) == (number < start), "held still it is read from the table"
        assert torch.equal(weight, first) == (number < start)
    assert rates[start] == pytest.approx(rates[0]) and rates[start - 1] < rates[0] / 2  # it fell, and rises again
    assert "encoder.items.weight" in learner.weights()


def test_an_interrupted_fit_ends_with_the_same_weights(tmp_path):
    views, ends = split(ring(), Split(by="last")), []
    options = Train(epochs=0.2, batch=30, validations=99, objectives={"catalogue": Catalogue(epochs=1, batch=30)})
    for cut in ((), (1, 2, 3)):
        for kill in (*cut, None):

            def progress(what, done, total, kill=kill):
                if done == kill:
                    raise KeyboardInterrupt

            torch.manual_seed(0)
            encoder = Sequence(items=Letters(), width=8, heads=2, dropout=0.1)
            model = Model(encoder, {"buys": Rank()}, ring().tasks).prepare(views["train"].graph)
            told = (lambda: {"buys": 1.0}, tmp_path / f"{len(ends)}.pt", "this", progress)
            with suppress(KeyboardInterrupt):
                history = train(model, views["train"], options, *told)
        ends.append(([record["loss"] for record in history], encoder.state_dict()))
    assert ends[0][0] == ends[1][0] and len(ends[0][0]) > 3
    assert all(torch.equal(value, ends[1][1][key]) for key, value in ends[0][1].items())


def test_undated_histories_hide_what_is_asked_for():
    learner = taught(ring(dated=False), by="random", epochs=1)
    step = learner.vectors.objectives[-1].step(0)
    met, targets = step.queries.read(BUYS), step.candidates.rows[step.batch[1].numpy()]
    assert len(met.rows) and not (met.rows == targets[np.searchsorted(step.batch[0].numpy(), met.owner)]).any()
    assert np.isfinite(learner.update(0))
