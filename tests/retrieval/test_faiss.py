"""faiss: equal to exact where it is exact; elsewhere k is guaranteed, the recall calibrated, the choice explained."""

import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Ragged, Relation, Task, candidates
from kgrec_core.interfaces import Filter
from kgrec_core.retrieval import index as index_module
from kgrec_core.retrieval.exact import Exact
from kgrec_core.retrieval.faiss import Faiss

BUYS = Task("buys", Relation("user", "buys", "item"))
N, D, M = 4000, 32, 60
APPROXIMATE = ["IVF32,Flat", "IVF32,RaBitQ2,Refine(SQfp16)", "IVF32,RaBitQ4", "HNSW16", "PCA16,IVF16,Flat", "NSG8", "SQ8"]


def vectors(n, seed, clusters=200):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, D))
    if clusters:
        x = np.random.default_rng(9).standard_normal((clusters, D))[rng.integers(0, clusters, n)] + 0.5 * x
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def world(items):
    ids = {"item": len(items), "user": M}
    graph = Graph({kind: pl.DataFrame({"id": [f"{kind}{i}" for i in range(n)]}) for kind, n in ids.items()})
    return graph, Nodes(graph, "user", np.arange(M), "query"), lambda nodes: items[nodes.rows]


def built(channel, items):
    graph, _, encode = world(items)
    channel.build(graph, BUYS, candidates(graph, BUYS), encode)
    return channel


def recall(channel, items, x, k=10):
    _, queries, _ = world(items)
    hits, right = (c.search(queries, x, k) for c in (channel, built(Exact(device="cpu"), items)))
    return np.mean([len(set(a) & set(b)) / k for a, b in zip(hits.rows.tolist(), right.rows.tolist(), strict=True)])


@pytest.mark.parametrize("name", APPROXIMATE)
def test_exactly_k_however_narrow_the_filter(name):
    items, x, rng = vectors(N, 0), vectors(M, 1), np.random.default_rng(2)
    channel = built(Faiss(index=name, recall=0.5, device="cpu"), items)
    _, queries, _ = world(items)
    for share, excluded, k in ((1, 0, N + 5), (0.9, 0, 300), (0.01, 50, 20), (0, 9, 3), (1, 4000, 50), (0.5, 100_000, 200)):
        allowed = rng.random(N) < share
        exclude = Ragged.of(rng.integers(0, M, excluded), rng.integers(0, N, excluded), M)
        hits = channel.search(queries, x, k, Filter(allowed), exclude)
        for q, (rows, scores) in enumerate(zip(hits.rows, hits.scores, strict=True)):
            gone = np.isin(np.arange(N), exclude.rows[exclude.indptr[q] : exclude.indptr[q + 1]])
            found = rows[rows >= 0]
            assert len(np.unique(found)) == len(found) == min(k, (allowed & ~gone).sum())
            assert allowed[found].all() and not gone[found].any()
            assert (np.diff(scores[: len(found)]) <= 1e-6).all() and np.isneginf(scores[len(found) :]).all()


@pytest.mark.parametrize("name", ["IVF32,Flat", "IVF32,RaBitQ2,Refine(SQfp16)", "HNSW16", "IVF32,RaBitQ4"])
def test_a_narrow_filter_costs_no_recall(name):
    items, x = vectors(N, 0), vectors(M, 1)
    graph, queries, _ = world(items)
    allowed = np.random.default_rng(0).random(graph.size("item")) < 0.02
    hits, right = (
        c.search(queries, x, 10, Filter(allowed))
        for c in (built(Faiss(index=name, recall=0.6, device="cpu"), items), built(Exact(), items))
    )
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(hits.rows.tolist(), right.rows.tolist(), strict=True)])
    assert shared > (0.85 if name == "IVF32,RaBitQ4" else 0.99)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 300), k=st.integers(1, 320), m=st.sampled_from([1, 19, 20, M]))
def test_flat_equals_exact(seed, n, k, m):
    rng = np.random.default_rng(seed)
    items, x = vectors(n, seed, 0), vectors(M, seed + 1, 0)[:m]
    _, queries, _ = world(items)
    allowed = rng.random(n) < rng.random()
    exclude = Ragged.of(rng.integers(0, m, 5 * m), rng.integers(0, n, 5 * m), m)
    for filters in ({}, {"allowed": Filter(allowed)}, {"exclude": exclude}, {"allowed": Filter(allowed), "exclude": exclude}):
        one, two = (
            built(c, items).search(queries.take(slice(0, m)), x, k, **filters)
            for c in (Faiss(index="Flat", device="cpu"), Exact(device="cpu"))
        )
        np.testing.assert_allclose(one.scores, two.scores, atol=1e-5)
        gaps = -np.diff(np.where(np.isneginf(two.scores), -9, two.scores), axis=1, prepend=9, append=-9)
        clear = (gaps[:, 1:] > 1e-5) & (gaps[:, :-1] > 1e-5) | (two.rows < 0)
        np.testing.assert_array_equal(one.rows[clear], two.rows[clear])


@pytest.mark.parametrize("asked", [0.5, 0.8, 0.99])
@pytest.mark.parametrize("name", ["IVF32,Flat", "IVF32,RaBitQ2,Refine(SQfp16)", "HNSW16"])
def test_the_recall_asked_is_reached_on_new_queries_and_not_overpaid(name, asked):
    items = vectors(N, 0, clusters=0)
    channel = built(Faiss(index=name, recall=asked, device="cpu"), items)
    assert channel.setting_.recall >= asked and recall(channel, items, vectors(M, 1, 0)) >= asked - 0.1
    efforts = [built(Faiss(index=name, recall=r, device="cpu"), items).setting_.effort for r in (0.3, asked)]
    assert efforts[0] < efforts[1] or asked == 0.5


def test_it_says_when_no_setting_reaches_the_recall():
    channel = built(Faiss(index="IVF32,RaBitQ", recall=0.99, device="cpu"), vectors(N, 0, 0))
    assert "NO setting" in channel.reason_ and "of 0.99 asked" in channel.reason_
    channel = built(Faiss(index="IVF64,SQ4", recall=0.99, device="cpu"), vectors(N, 0))
    assert channel.setting_.effort < 20, "probes that add next to nothing are not paid for (29 add .002)"


@pytest.mark.parametrize("name", ["IVF1,Flat", "IVF1,RaBitQ2,Refine(SQfp16)", "HNSW16", "SQ8"])
@pytest.mark.parametrize("n", [1, 2, 11, 60])
def test_a_small_catalogue_in_any_index(name, n):
    items, x = vectors(n, 0), vectors(M, 1)
    assert recall(built(Faiss(index=name, device="cpu"), items), items, x, k=min(n, 5)) > 0.9


def test_equal_vectors_are_equally_right():
    items = np.repeat(vectors(100, 0), 40, axis=0)
    assert built(Faiss(index="IVF16,Flat", recall=0.9, device="cpu"), items).setting_.recall >= 0.9


def test_auto_says_what_it_took_and_why(monkeypatch):
    items = vectors(N, 0)
    assert built(Faiss(device="cpu"), items).reason_ == "Flat: 4,000 candidates are few enough to search exactly (up to 50,000); recall 1"
    monkeypatch.setattr(index_module, "FLAT", 1000)
    wide = built(Faiss(device="cpu", recall=0.95), items)
    assert wide.reason_.startswith("IVF256,RaBitQ2,Refine(SQfp16): 4,000 candidates are many") and wide.setting_.recall >= 0.95
    tight = built(Faiss(device="cpu", memory=300 / 2**20), items)
    assert tight.reason_.startswith("IVF256,RaBitQ2,Refine(SQ8)") or "RaBitQ4:" in tight.reason_
    none = built(Faiss(device="cpu", memory=1e-6), items)
    assert "the least possible, exceed the memory allowed" in none.reason_
    uniform = built(Faiss(device="cpu"), vectors(N, 0, clusters=0))
    assert uniform.reason_.startswith("Flat: 4,000 candidates hardly cluster (IVF256,")


def test_the_reason_and_the_setting_are_saved_with_a_standard_file(tmp_path):
    import faiss

    items, x = vectors(N, 0), vectors(M, 1)
    channel = built(Faiss(index="IVF32,RaBitQ2,Refine(SQfp16)", recall=0.9, device="cpu"), items)
    channel.save(tmp_path)
    assert faiss.read_index(str(tmp_path / "index.faiss")).ntotal == N
    loaded = Faiss(index="IVF32,RaBitQ2,Refine(SQfp16)", recall=0.9, device="cpu")
    graph, queries, _ = world(items)
    loaded.load(tmp_path, graph, BUYS)
    assert (loaded.reason_, loaded.setting_) == (channel.reason_, channel.setting_)
    np.testing.assert_array_equal(loaded.search(queries, x, 10).rows, channel.search(queries, x, 10).rows)


def test_channels_of_the_same_vectors_share_their_index_when_opened(tmp_path):
    """A published switch has such: what it holds in memory is one index."""
    items, x = vectors(300, 0), vectors(M, 1)
    graph, queries, _ = world(items)
    for name, of in {"usual": items, "text_alone": items, "other": items[::-1]}.items():
        built(Faiss(device="cpu"), np.ascontiguousarray(of)).save(tmp_path / name)
    loaded = {name: Faiss(device="cpu") for name in ("usual", "text_alone", "other")}
    for name, channel in loaded.items():
        channel.load(tmp_path / name, graph, BUYS)
    usual, alone, other = loaded.values()
    assert usual.index_ is alone.index_ and usual.index_ is not other.index_
    np.testing.assert_array_equal(alone.search(queries, x, 5).rows, usual.search(queries, x, 5).rows)


def test_one_changed_byte_of_the_index_is_noticed(tmp_path):
    items = vectors(N, 0)
    built(Faiss(device="cpu"), items).save(tmp_path)
    whole = bytearray((tmp_path / "index.faiss").read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "index.faiss").write_bytes(whole)
    with pytest.raises(KgrecError, match="not the file that was written"):
        Faiss(device="cpu").load(tmp_path, world(items)[0], BUYS)


@pytest.mark.parametrize("name", APPROXIMATE)
def test_searching_changes_nothing(name):
    import faiss

    items, x = vectors(N, 0), vectors(M, 1)
    channel = built(Faiss(index=name, recall=0.5, device="cpu"), items)
    _, queries, _ = world(items)
    before = faiss.serialize_index(channel.index_)
    channel.search(queries, x, 10)
    channel.search(queries, x, 10, Filter(np.arange(N) % 3 > 0), Ragged.of(np.arange(M), np.arange(M), M))
    assert (before == faiss.serialize_index(channel.index_)).all()


def test_mistakes_are_named(monkeypatch):
    items = vectors(N, 0)
    for name in ("IVF5000,Flat", "LSH", "nonsense"):
        with pytest.raises(KgrecError, match=f"cannot build index '{name}' over 4,000 vectors of width 32.*choose auto, Flat") as error:
            built(Faiss(index=name, device="cpu"), items)
        assert "\n" not in str(error.value)
    with pytest.raises(KgrecError, match="recall is 98"):
        built(Faiss(recall=98), items)
    import faiss

    if not faiss.get_num_gpus():
        with pytest.raises(KgrecError, match=r'pip install "kgrec-core\[gpu\]"'):
            built(Faiss(device="gpu"), items)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(KgrecError, match=r'pip install "kgrec-core\[cpu\]" or "kgrec-core\[gpu\]", or set use = "exact"'):
        built(Faiss(), items)
