"""TF-IDF as an encoder: its dot products are the cosines of the words, a history is its mean, and a folder gives it back."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from kgrec_core.encoder import tfidf
from kgrec_core.encoder.tfidf import Tfidf
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Relation, Task
from kgrec_core.words import cutter

BUYS = Relation("user", "buys", "item")
TASK = Task("buys", BUYS)
TEXTS = ["red cotton bag", "blue cotton bag", "red paper lantern", "jam jar", "jam making set with jars", "", "红色 手提包"]


@pytest.fixture
def graph() -> Graph:
    edges = pl.DataFrame({"source": [0, 0, 1], "target": [0, 2, 3]}, {"source": pl.UInt32, "target": pl.UInt32})
    items = pl.DataFrame({"id": [f"i{i}" for i in range(len(TEXTS))], "text": TEXTS})
    return Graph({"user": pl.DataFrame({"id": ["ann", "bob", "new"]}), "item": items}, {BUYS: edges})


def prepared(graph: Graph, **settings) -> Tfidf:
    encoder = Tfidf(**({"width": 16, "tokenizer": "bigrams"} | settings)).eval()
    encoder.prepare(graph, (TASK,))
    encoder.refresh(graph)
    return encoder


def vectors(encoder: Tfidf, graph: Graph, kind: str, side: str, n: int) -> np.ndarray:
    return encoder(Nodes(graph, kind, np.arange(n), side)).numpy()


def test_dot_products_are_the_cosines_of_the_weighted_words(graph):
    encoder = prepared(graph)
    found = vectors(encoder, graph, "item", "candidate", len(TEXTS))
    words = TfidfVectorizer(analyzer=cutter("bigrams"), sublinear_tf=True).fit_transform(TEXTS).toarray()
    np.testing.assert_allclose(found @ found.T, words @ words.T, atol=1e-5)


def test_few_texts_are_counted_as_sklearn_counts_many(graph, monkeypatch):
    encoder = prepared(graph)
    texts = [*TEXTS, "bag bag bag of red, red jam", "nothing known here", "bag"]
    by_hand, by_it = encoder._weighed(texts), encoder.counter_.transform(texts)
    np.testing.assert_array_equal(by_hand.toarray(), by_it.toarray())
    np.testing.assert_array_equal(encoder._counted(texts), np.asarray(by_it @ encoder.axes_, np.float32))
    monkeypatch.setattr(tfidf, "FEW", 0)
    np.testing.assert_array_equal(encoder._counted(texts), np.asarray(by_it @ encoder.axes_, np.float32))


def test_a_query_is_of_length_one_and_a_candidate_no_longer(graph):
    encoder = prepared(graph, width=2)
    query, candidate = vectors(encoder, graph, "item", "query", 6), vectors(encoder, graph, "item", "candidate", 6)
    np.testing.assert_allclose(np.linalg.norm(query, axis=1), [1, 1, 1, 1, 1, 0], atol=1e-6)
    lengths = np.linalg.norm(candidate, axis=1)
    assert (lengths <= 1 + 1e-6).all() and lengths[:5].min() < 0.9
    np.testing.assert_allclose(query * lengths[:, None], candidate, atol=1e-6)
    assert not vectors(encoder, graph, "user", "query", 3).any(), "there is nothing to read"


def test_a_later_text_is_read_by_the_known_words(graph):
    encoder = prepared(graph)
    later = graph.join(Graph({"item": pl.DataFrame({"id": ["x", "y"], "text": ["cotton bag unheardof", "unheardof"]})}))
    items = vectors(encoder, later, "item", "candidate", len(TEXTS) + 2)
    assert items[7] @ items[1] > items[7] @ items[2] and not items[8].any()


def test_damage_and_texts_without_words_are_told(graph, tmp_path):
    encoder = prepared(graph)
    encoder.save(tmp_path)
    again = Tfidf(width=16)
    again.load(tmp_path)
    mine, other = (vectors(e, graph, "item", "candidate", len(TEXTS)) for e in (encoder, again))
    np.testing.assert_array_equal(mine, other)
    (tmp_path / "tfidf.safetensors").write_bytes(b"none")
    with pytest.raises(KgrecError, match="fit again"):
        Tfidf(width=16).load(tmp_path)
    silent = Graph(
        {"user": graph.entities["user"], "item": pl.DataFrame({"id": ["i0"], "text": ["--"]})}, {BUYS: graph.relations[BUYS].clear()}
    )
    with pytest.raises(KgrecError, match="no candidate has a word"):
        Tfidf().prepare(silent, (TASK,))


def test_it_learns_nothing(graph):
    assert not any(p.requires_grad for p in prepared(graph).parameters())
    assert not prepared(graph)(Nodes(graph, "item", np.arange(3), "candidate")).requires_grad
    assert torch.is_grad_enabled()
