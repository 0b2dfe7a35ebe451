"""exact: the plain definition of nearest neighbours, tested against numpy's sort; and what every vector channel promises."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Ragged, Relation, Task, candidates
from kgrec_core.interfaces import Filter
from kgrec_core.retrieval.exact import Exact
from kgrec_core.retrieval.faiss import Faiss

BUYS = Task("buys", Relation("user", "buys", "item"))
CHANNELS = {"exact": lambda: Exact(device="cpu"), "faiss": lambda: Faiss(device="cpu")}


class World:
    """n items and m users with random vectors; some items are dead, so that positions are no rows."""

    def __init__(self, n: int, m: int, seed: int, d: int = 8) -> None:
        self.rng = np.random.default_rng(seed)
        self.items, self.users = (self.rng.standard_normal((size, d)).astype(np.float32) for size in (n, m))
        until = np.where(self.rng.random(n) < 0.2, 1, 2**62)
        self.graph = Graph(
            {
                "item": pl.DataFrame({"id": [f"i{i}" for i in range(n)], "until": until}, schema={"id": pl.String, "until": pl.Int64}),
                "user": pl.DataFrame({"id": [f"u{i}" for i in range(m)]}, schema={"id": pl.String}),
            },
        )
        self.queries = Nodes(self.graph, "user", np.arange(m), "query")
        self.candidates = candidates(self.graph, BUYS)

    def encode(self, nodes: Nodes) -> np.ndarray:
        return self.items[nodes.rows]

    def built(self, channel):
        channel.build(self.graph, BUYS, self.candidates, self.encode)
        return channel

    def filters(self):
        """Random `allowed`, sometimes too short, and `exclude`, with repeated, unknown and dead rows; or None."""
        n, m = len(self.items), len(self.users)
        allowed = self.rng.random(self.rng.integers(0, n + 3)) < self.rng.random() if self.rng.random() < 0.7 else None
        count = self.rng.integers(0, 3 * n + 1)
        exclude = Ragged.of(self.rng.integers(0, m, count), self.rng.integers(0, n + 2, count), m) if self.rng.random() < 0.7 else None
        return None if allowed is None else Filter(allowed), exclude

    def truth(self, k, allowed=None, exclude=None, rows=None):
        """(m, k) the right scores, by sorting all of them."""
        rows = self.candidates.rows if rows is None else rows
        out = np.full((len(self.users), k), -np.inf, np.float32)
        for q, x in enumerate(self.users):
            gone = set() if exclude is None else set(exclude.rows[exclude.indptr[q] : exclude.indptr[q + 1]].tolist())
            keep = [r for r in rows.tolist() if r not in gone and (allowed is None or (r < len(allowed.rows) and allowed.rows[r]))]
            best = np.sort(self.items[keep] @ x)[::-1][:k]
            out[q, : len(best)] = best
        return out

    def check(self, hits, k, allowed=None, exclude=None, rows=None):
        """The right scores, held by the rows that are named, none of them twice."""
        assert hits.rows.shape == hits.scores.shape == (len(self.users), k)
        np.testing.assert_allclose(hits.scores, self.truth(k, allowed, exclude, rows), atol=1e-5)
        assert ((hits.rows < 0) == np.isneginf(hits.scores)).all()
        owner, column = np.nonzero(hits.rows >= 0)
        found = hits.rows[owner, column]
        np.testing.assert_allclose(hits.scores[owner, column], np.einsum("nd,nd->n", self.users[owner], self.items[found]), atol=1e-5)
        assert len(np.unique(owner * 10**6 + found)) == len(found)


worlds = st.builds(World, n=st.integers(1, 60), m=st.integers(1, 30), seed=st.integers(0, 2**31))


@pytest.mark.parametrize("make", CHANNELS.values(), ids=CHANNELS)
@settings(max_examples=60)
@given(world=worlds, k=st.integers(1, 80))
def test_exactly_the_best_that_are_allowed_and_not_excluded(make, world, k):
    channel, (allowed, exclude) = world.built(make()), world.filters()
    world.check(channel.search(world.queries, world.users, k, allowed, exclude), k, allowed, exclude)


@pytest.mark.parametrize("make", CHANNELS.values(), ids=CHANNELS)
@settings(max_examples=30)
@given(world=worlds, k=st.integers(1, 80))
def test_extended_equals_built_over_everything(make, world, k):
    """Candidates that come in two portions, some of them twice: the second vector counts."""
    rows, rng = world.candidates.rows, world.rng
    first, second, third = (np.flatnonzero(rng.random(len(rows)) < 0.6) for _ in range(3))
    rows = rows[np.unique(np.concatenate([first, second, third]))]
    final = world.items
    channel = make()
    world.items = final + 1
    channel.build(world.graph, BUYS, world.candidates.take(first), world.encode)
    before = channel.search(world.queries, world.users, k)
    grown = channel.extended(world.graph, world.candidates.take(second), world.encode)
    world.items = final
    grown = grown.extended(world.graph, world.candidates.take(third), world.encode)
    grown = grown.extended(world.graph, world.candidates.take(np.concatenate([first, second])), world.encode)
    allowed, exclude = world.filters()
    world.check(grown.search(world.queries, world.users, k, allowed, exclude), k, allowed, exclude, rows)
    after = channel.search(world.queries, world.users, k)
    assert (before.rows == after.rows).all() and (before.scores == after.scores).all(), "the original goes on unchanged"


@pytest.mark.parametrize("make", CHANNELS.values(), ids=CHANNELS)
def test_saved_and_loaded_gives_the_same_hits(make, tmp_path):
    world = World(200, 30, 3)
    channel = world.built(make())
    world.items[world.candidates.rows[:20]] += 1
    grown = channel.extended(world.graph, world.candidates.take(slice(0, 20)), world.encode)
    for name, saved in {"built": channel, "extended": grown}.items():
        saved.save(tmp_path / name)
        loaded = make()
        loaded.load(tmp_path / name, world.graph, BUYS)
        allowed, exclude = world.filters()
        one, two = (c.search(world.queries, world.users, 50, allowed, exclude) for c in (saved, loaded))
        np.testing.assert_array_equal(np.sort(one.rows), np.sort(two.rows))  # the last digit decides between two as good
        np.testing.assert_allclose(one.scores, two.scores, atol=1e-6)


@pytest.mark.parametrize("make", CHANNELS.values(), ids=CHANNELS)
@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "foreign"])
def test_a_damaged_folder_is_refused(make, damage, tmp_path):
    world = World(40, 3, 1)
    world.built(make()).save(tmp_path)
    graph = World(5, 3, 1).graph if damage == "foreign" else world.graph
    for file in tmp_path.iterdir() if damage != "foreign" else [None]:
        whole = file.read_bytes() if file else b""
        if damage == "cut":
            file.write_bytes(whole[: len(whole) // 2])
        elif damage == "flip":
            file.write_bytes(whole[:5] + bytes([whole[5] ^ 64]) + whole[6:])
        elif damage == "gone":
            file.unlink()
        with pytest.raises(KgrecError, match="fit again") as error:
            make().load(tmp_path, graph, BUYS)
        assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
        if file:
            file.write_bytes(whole)


@pytest.mark.parametrize("make", CHANNELS.values(), ids=CHANNELS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused_by_name(make, value):
    world = World(30, 3, 1)
    row = world.candidates.rows[7]
    channel = world.built(make())
    world.items[row, 2] = value
    for act in (lambda: world.built(make()), lambda: channel.extended(world.graph, world.candidates, world.encode)):
        with pytest.raises(KgrecError, match=f"item 'i{row}'.*NaN"):
            act()
    world.users[1, 0] = value
    with pytest.raises(KgrecError, match="query user 'u1'"):
        channel.search(world.queries, world.users, 5)


@pytest.mark.parametrize("make", CHANNELS.values(), ids=CHANNELS)
def test_sixteen_threads_equal_one(make):
    world = World(500, 64, 5)
    channel = world.built(make()).extended(world.graph, world.candidates.take(slice(0, 30)), world.encode)
    jobs = [(k, *world.filters()) for k in range(1, 33)]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda job: channel.search(world.queries, world.users, *job), jobs))
    for hits, job in zip(together, jobs, strict=True):
        alone = channel.search(world.queries, world.users, *job)
        np.testing.assert_array_equal(hits.rows, alone.rows)
        np.testing.assert_array_equal(hits.scores, alone.scores)


@pytest.mark.parametrize("make", CHANNELS.values(), ids=CHANNELS)
def test_pairs_are_scored_as_they_are_searched(make):
    world = World(60, 5, 2)
    channel = world.built(make())
    world.items[world.candidates.rows[:9]] += 1
    channel = channel.extended(world.graph, world.candidates.take(slice(0, 9)), world.encode)
    hits = channel.search(world.queries, world.users, 7)
    pool = Ragged.of(np.repeat(np.arange(5), 8), np.column_stack([hits.rows, np.full(5, 60)]).ravel(), 5)
    scores = channel.score(world.queries, world.users, pool).reshape(5, 8)
    np.testing.assert_allclose(scores[:, :7], hits.scores, atol=1e-5)
    assert (scores[:, 7] == 0).all()


def test_no_candidates_no_hits():
    world = World(3, 2, 0)
    for make in CHANNELS.values():
        channel = make()
        channel.build(world.graph, BUYS, world.candidates.take(slice(0, 0)), world.encode)
        assert (channel.search(world.queries, world.users, 4).rows == -1).all()


def test_an_unknown_device_is_refused():
    with pytest.raises(KgrecError, match="choose auto, cpu"):
        World(3, 2, 0).built(Exact(device="abacus"))
