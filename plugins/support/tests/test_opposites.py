"""A question that asks for another number, a negation or an opposite of what an entry is about is told from one that does not."""

from __future__ import annotations

import pytest
from kgrec_support import opposites
from kgrec_support.opposites import differs

REFUND = ["When do I get my refund?", "Where is my money?", "how long does a refund take"]
NOTIFY = ["How do I enable notifications?", "turn on notifications", "switch on alerts"]
FEE = ["What is the fee for plan 1?", "price of plan 1"]
GIFT = ["Do you sell gift vouchers?", "voucher", "gift card"]
OPEN_ZH, REFUND_ZH, FEE_ZH = ["如何打开通知", "开启提醒"], ["可以退款吗", "怎么退款"], ["方案一的费用是多少"]


@pytest.mark.parametrize(
    ("question", "known", "why"),
    [
        ("What is the fee for plan 2?", FEE, "it names 2, the entry's questions 1"),
        ("price of plan two", FEE, "it names 2"),
        ("turn off notifications", NOTIFY, 'it says "switch off", the entry\'s questions "enable"'),
        ("turning my alerts off", NOTIFY, "switch off"),
        ("how do I deactivate alerts", NOTIFY, '"deactivate"'),
        ("When do I NOT get my refund?", REFUND, "it is negated and the entry's questions are not"),
        ("I didn’t get a refund", REFUND, "it is negated"),
        ("How do I NOT return it?", ["How do I return it?", "I do not want the article any more"], "it is negated"),
        ("Can I log in?", ["Why can't I log in?", "login does not work"], "the entry's questions are negated and it is not"),
        ("Do you buy gift vouchers?", GIFT, 'it says "buy", the entry\'s questions "sell"'),
        ("unsubscribe from the newsletter", ["How do I subscribe to the newsletter?"], '"unsubscribe"'),
        ("如何关闭通知", OPEN_ZH, '"关闭"'),
        ("如何關閉通知", ["如何打開通知"], '"關閉"'),
        ("不能退款怎么办", REFUND_ZH, "it is negated"),
        ("没有收到退款", REFUND_ZH, "it is negated"),
        ("方案二的费用", FEE_ZH, "it names 2, the entry's questions 1"),
        ("方案2的费用", FEE_ZH, "it names 2"),
        ("怎么卖出基金", ["怎么购买基金"], '"卖"'),
    ],
)
def test_another_thing_is_told_apart(question, known, why):
    assert why in differs(question, known)


@pytest.mark.parametrize(
    ("question", "known"),
    [
        ("what is the fee for plan 1", FEE),
        ("fee of plan one?", FEE),
        ("price of the plan", FEE),
        ("turn on the notifications", NOTIFY),
        ("when will I get my refund", REFUND),
        ("do you sell gift vouchers", GIFT),
        ("I have 2 cards, how do I pay?", ["How can I pay?"]),
        ("where is order 1234567", ["Where is my order 1?"]),
        ("my refund has not arrived", [*REFUND, "refund not received"]),
        ("open or close an account", ["How do I open an account?", "close my account"]),
        ("能不能退款", REFUND_ZH),
        ("特别想退款", REFUND_ZH),
        ("如何打开通知", OPEN_ZH),
        ("方案1的费用", FEE_ZH),
        ("anything at all", []),
    ],
)
def test_the_same_thing_is_let_through(question, known):
    assert differs(question, known) is None


def test_an_entrys_questions_are_read_once_for_all_that_is_asked(monkeypatch):
    read: list[str] = []
    monkeypatch.setattr(opposites, "said", lambda text, before=opposites.said: read.append(text) or before(text))
    known = ["How do I lock my blue card?", "Can I lock a blue card for 3 days?"]
    assert differs("How do I unlock my blue card?", known) and differs("How do I lock my blue card?", known) is None
    assert sorted(read) == sorted(["How do I unlock my blue card?", "How do I lock my blue card?", *known])
