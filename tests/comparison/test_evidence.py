"""What is asked where select queries are few: nobody is judged by what it has learned from, and nothing is asked where they suffice."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from kgrec_core.comparison import evidence
from kgrec_core.comparison.evidence import Evidence, build
from kgrec_core.comparison.results import TUNED, Ranking
from kgrec_core.graph import Dataset, Graph, Relation, Task
from kgrec_core.interfaces import Hits
from kgrec_core.model import Silent
from kgrec_core.retrieval.popular import Popular
from kgrec_core.split import Split, split

BUYS = Relation("user", "buys", "item")
TASK, HOW, DAY = Task("buys", BUYS, repeats=True), Split(by="time", validation="5d", test="5d"), 86_400_000_000


@pytest.fixture
def few() -> Evidence:
    rows = [(u, (u * d) % 5, d * DAY) for d in range(40) for u in range(6)]
    table = pl.DataFrame(rows, schema={"source": pl.UInt32, "target": pl.UInt32, "time": pl.Int64}, orient="row")
    entities = {kind: pl.DataFrame({"id": [f"{kind}{i}" for i in range(n)]}) for kind, n in (("user", 6), ("item", 5))}
    views = split(Dataset(Graph(entities, {BUYS: table}), (TASK,)), HOW)
    return Evidence(views, {"buys": Ranking(TASK, views, HOW)}, HOW)


class Learner(Popular):
    learns = True


class Reader(Popular):
    reads = "vectors"


def asked(of: Evidence, name: str, part: Popular) -> list[bool]:
    """Whether it was asked the adjust queries, and those of each round."""
    model = Silent((TASK,))
    build(part, TASK, model, of.views["train"].graph)
    values = of.values(TASK, name, model, part, Popular)
    sizes = [len(view.queries["buys"].nodes) for view in of.views_of(TASK, (TASK,))]
    assert len(values) == sum(sizes) and len(sizes) == 4
    found = [~np.isnan(v) for v in np.split(values, np.cumsum(sizes)[:-1])]
    assert all(mask.all() == mask.any() for mask in found)
    return [bool(mask.all()) for mask in found]


def test_who_has_learned_from_queries_is_not_judged_by_them(few):
    assert asked(few, "popular", Popular()) == [True, True, True, True]
    assert asked(few, f"{TUNED}popularity", Popular()) == [False, True, True, True]
    assert asked(few, "nearest", Reader()) == [True, False, False, False]
    assert asked(few, "the chain", Learner()) == [False, False, False, False]


def test_a_classification_that_learned_is_judged_by_what_its_folds_had_not_seen(few):
    part, queries = Learner(), few.views["adjust"].queries["buys"]
    first = queries.targets.rows[queries.targets.indptr[:-1]]
    first[1::2] = -1  # every second query is answered by nothing
    unseen = Hits(first[:, None], np.zeros((len(first), 1), np.float32), {})
    for metric, expected in (("accuracy", 1.0 * (first >= 0)), ("ndcg@10", np.full(len(first), np.nan))):
        few.results = {"buys": SimpleNamespace(metric=metric)}
        values = few.values(TASK, "the chain", Silent((TASK,)), part, Popular, unseen)
        assert np.array_equal(values[: len(first)], expected, equal_nan=True) and np.isnan(values[len(first) :]).all()
    few.results = {"buys": SimpleNamespace(metric="accuracy")}
    silent = unseen._replace(rows=np.full_like(unseen.rows, -1))  # a ranker without folds says nothing, which is no wrong answer
    assert np.isnan(few.values(TASK, "the chain", Silent((TASK,)), part, Popular, silent)).all()


def test_a_round_is_answered_by_what_was_known_then(few):
    """Asked of a round, a channel is another one, built on the round's graph; the one that was built for the fit stays as it is."""
    part, made = Popular(), []
    build(part, TASK, Silent((TASK,)), few.views["train"].graph)
    few.values(TASK, "popular", Silent((TASK,)), part, lambda: made.append(Popular()) or made[-1])
    known = {id(view.graph) for view in few.views_of(TASK, (TASK,))[1:]}
    assert len(made) == len(known) == 2 and part not in made


def test_enough_select_queries_are_all_that_is_asked(few, monkeypatch):
    monkeypatch.setattr(evidence, "ENOUGH", 1)
    assert few.views_of(TASK, (TASK,)) == [] and len(few.values(TASK, "popular", Silent((TASK,)), Popular(), Popular)) == 0


def test_of_very_many_edges_nothing_is_built_anew(few, monkeypatch):
    monkeypatch.setattr(evidence, "EDGES", 10)
    assert few.views_of(TASK, (TASK,)) == [few.views["adjust"]]
