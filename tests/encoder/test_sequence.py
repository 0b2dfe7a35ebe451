"""`sequence`: the closed form it starts from, and what is promised of an encoder."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from kgrec_core.encoder.concat import Concat
from kgrec_core.encoder.sequence import Sequence
from kgrec_core.encoder.tfidf import Tfidf
from kgrec_core.encoder.whitening import Whitening
from kgrec_core.errors import KgrecError
from kgrec_core.graph import DAY, Graph, Nodes, Task, candidates
from kgrec_core.retrieval.als import Als
from kgrec_core.testing import BUYS, check_encoder
from tests.encoder.test_history import Bought, Letters, encoded, every, user


@pytest.mark.parametrize(
    "items", [Letters, Bought, lambda: Concat(encoders={"a": Letters(), "words": Tfidf(width=8)}), lambda: Tfidf(width=8)]
)
@pytest.mark.parametrize("settings", [{}, {"layers": 0}, {"width": 0}])
def test_whatever_the_items_are_encoded_by_it_keeps_what_is_promised_of_an_encoder(items, settings):
    check_encoder(lambda: Sequence(items=items(), **{"width": 8, "heads": 2, "last": 6} | settings))


def bought_in_pairs() -> tuple[Graph, tuple[Task, ...]]:
    """Items 2i and 2i + 1 are bought together by users 5i to 5i + 4, whatever they are called; the last user bought one alone."""
    pairs = [(5 * i + u, 2 * i + j) for i in range(6) for u in range(5) for j in (0, 1)] + [(30, 4)]
    edges = pl.DataFrame(pairs, {"source": pl.UInt32, "target": pl.UInt32}, orient="row").with_columns(time=pl.int_range(pl.len()) * DAY)
    names = ["lamp", "jam", "clock", "tray", "box", "tin", "pen", "mug", "bag", "hat", "key", "cup"]
    entities = {"user": pl.DataFrame({"id": [str(i) for i in range(31)]}), "item": pl.DataFrame({"id": names, "text": names})}
    return Graph(entities, {BUYS: edges}), (Task("buys", BUYS),)


def ready(graph: Graph, tasks: tuple[Task, ...], **settings) -> Sequence:
    encoder = Sequence(items=Letters(), **{"width": 8, "heads": 2, "last": 6} | settings)
    encoder.prepare(graph, tasks)
    encoder.refresh(graph)
    return encoder.eval()


def test_before_any_update_behaviour_is_that_of_least_squares_and_finds_what_goes_together():
    graph, tasks = bought_in_pairs()
    encoder = ready(graph, tasks, likeness=0.0, half_life=1e9, rounds=30)
    scores = (encoded(encoder, user(graph, 30)) @ encoded(encoder, every(graph)).T)[0]
    assert np.argsort(-scores)[:2].tolist() == [4, 5]
    channel = Als(width=8, confidence=3.0, rounds=30)
    channel.build(graph, tasks[0], candidates(graph, tasks[0]), None)
    np.testing.assert_allclose(channel.scores(user(graph, 30), None)[0], scores, atol=1e-4)


def test_a_newcomer_stands_on_its_text_and_an_old_one_on_what_happened_to_it():
    graph, tasks = bought_in_pairs()
    encoder = ready(graph, tasks, likeness=0.0)
    joined = graph.join(Graph({"item": pl.DataFrame({"id": ["new", "lamp"], "text": ["tin", "pen"]})}))
    rows = joined.rows("item", ["new", "tin", "lamp"])
    before = encoded(encoder, every(graph))[:, encoder.kept :]
    encoder.refresh(joined, {"item": joined.rows("item", ["new", "lamp"])})
    now = encoded(encoder, Nodes(joined, "item", rows, "candidate"))
    np.testing.assert_allclose(now[0, : encoder.kept], now[1, : encoder.kept], atol=1e-6)  # alike, but
    made = now[:, : encoder.kept] @ encoder.adapter_.detach().numpy()
    np.testing.assert_allclose(now[0, encoder.kept :], made[0], atol=1e-6)  # the new one has no vector of its own
    assert not np.allclose(now[1, encoder.kept :], made[1], atol=1e-3) and made[0].any()
    assert not np.allclose(before[0], made[2], atol=1e-3)


def test_what_was_met_lately_counts_more():
    graph, tasks = bought_in_pairs()
    more = pl.DataFrame({"source": [30], "target": [9], "time": [100 * DAY]}, schema=graph.relations[BUYS].schema)
    graph = graph.with_edges({BUYS: pl.concat([graph.relations[BUYS], more])})
    encoder = ready(graph, tasks, half_life=10.0, likeness=0.0)
    scores = (encoded(encoder, user(graph, 30, before=101 * DAY)) @ encoded(encoder, every(graph)).T)[0]
    assert scores[9] > scores[4] and scores[8] > scores[5]


def test_whitened_vectors_have_no_direction_in_common():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(400, 8)) @ np.diag([9, 5, 1, 1, 1, 1, 1, 0.0]) + 7).float()
    x[3] = 0
    white = Whitening.learned(x)
    turned = (x[4:] - white.mean) @ white.turn
    np.testing.assert_allclose(np.cov(turned.T.numpy(), bias=True), np.eye(7), atol=0.05)
    made = white(x)
    assert not made[3].any() and np.allclose(made[4:].norm(dim=1), 1)
    np.testing.assert_allclose(white(x[5:6]), made[5:6], atol=1e-6)
    few = Whitening.learned(x[4:16])
    assert few.dim == 3  # a quarter as many as there are vectors: more would make all of them equally unlike
    assert torch.equal(Whitening.learned(torch.zeros(5, 8)).turn, torch.eye(8))


def test_a_folder_of_other_settings_is_refused(tmp_path):
    graph, tasks = bought_in_pairs()
    ready(graph, tasks).save(tmp_path)
    with pytest.raises(KgrecError, match="no saved sequence encoder or is damaged"):
        Sequence(items=Letters(), width=4, heads=2).load(tmp_path)
    with pytest.raises(KgrecError, match="no saved sequence encoder or is damaged"):
        Sequence(items=Letters(), width=8, heads=2, layers=0).load(tmp_path)
