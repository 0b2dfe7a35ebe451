"""Chat logs become questions and the replies that they got; nobody who took part is in the graph."""

from __future__ import annotations

import csv
import logging
from collections import Counter

import pytest
from kgrec_support.assembly import ANSWERED_BY
from kgrec_support.data import Support

from kgrec_core import KgrecError, Split
from kgrec_core.domain import split


def test_dialogues(write, links, log):
    dataset = Support(dialogues=log, context=2).load()
    assert links(dataset, ANSWERED_BY) == {
        ("Hello", "How can I help you today?"),
        ("Hello | How can I help you today? | Where is my order? It is late.", "It is on its way to you."),
        ("Hi there | Where is it?", "It is on its way to you."),
        ("Where?", "It is on its way to you."),
    }
    groups = dict(dataset.graph.entities["question"].select("text", "group").iter_rows())
    assert groups["Hello"] == groups["Hello | How can I help you today? | Where is my order? It is late."], "one session stays together"
    assert len(set(groups.values())) == 3
    alone = Support(dialogues=log, context=0).load().graph.entities["question"]["text"].to_list()
    assert alone == ["Hello", "Where is my order? It is late.", "Where is it?", "Where?"]
    with pytest.raises(KgrecError, match=r"data.context = -1"):
        Support(dialogues=log, context=-1).load()


def test_replies_like_an_faq_answer_are_that_answer(write, log):
    faq = write("faq.csv", "id,question,answer", "7,Track?,It is on its way to you")
    dataset = Support(faq=faq, dialogues=log).load()
    graph = dataset.graph
    assert set(graph.entities["answer"]["id"]) >= {"7"} and graph.size("answer") == 2
    assert graph.degree(ANSWERED_BY, graph.rows("answer", ["7"]), inverse=True).item() == 4


def test_personal_data_is_masked(write, caplog):
    path = write("log.csv", "session,role,text", "1,user,My mail is jo@example.com", "1,agent,We call +44 20 7946 0958 <b>now</b>",
                 "2,客户,我的手机13812345678 身份证11010519491231002X 卡号6222021234567890128", "2,客服,好的")  # fmt: skip
    with caplog.at_level(logging.INFO, "kgrec"):
        graph = Support(dialogues=path).load().graph
    whole_text = " ".join([*graph.entities["question"]["text"], *graph.entities["answer"]["text"]])
    assert whole_text == "My mail is <EMAIL> 我的手机<PHONE> 身份证<ID_CARD> 卡号<BANK_CARD> We call <PHONE> now 好的"
    assert "log.csv: masked 1 BANK_CARD, 1 EMAIL, 1 ID_CARD, 2 PHONE" in caplog.text
    assert "jo@example.com" in Support(dialogues=path, mask=False).load().graph.entities["question"]["text"][0]


def test_roles(write, links):
    path = write("log.csv", "session,role,text", "1,Kundin,Wo?", "1,Berater,Hier.")
    with pytest.raises(KgrecError, match=r'log.csv row 2: role "kundin" is neither user nor agent; say which: .* unknown: kundin, berater'):
        Support(dialogues=path).load()
    assert links(Support(dialogues=path, roles={"Kundin": "user", "Berater": "agent"}).load(), ANSWERED_BY) == {("Wo?", "Hier.")}
    with pytest.raises(KgrecError, match=r'a role is "user", "agent" or "none"'):
        Support(dialogues=path, roles={"Kundin": "client"}).load()
    with pytest.raises(KgrecError, match=r"no agent's message follows a user's in any session"):
        Support(dialogues=write("b.csv", "session,role,text", "1,agent,Hi", "2,user,Hi")).load()
    with pytest.raises(KgrecError, match=r'c.csv row 2: role "0" is neither'):
        Support(dialogues=write("c.csv", "session,role,text", "1,0,Hi", "1,1,Hello")).load()


def test_chinese_dialogues(real, tmp_path, links):
    source, sessions = real("jddc_dialogues_zh") / "jddc2019_chat_0.1per.txt", Counter()
    with source.open(encoding="utf-8") as lines, (tmp_path / "log.csv").open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["会话编号", "是否客服发送", "内容"])
        for line in lines:
            fields = line.rstrip("\n").split("\t")
            sessions[fields[0]] += 1
            if len(sessions) > 60:
                break
            rows.writerow([fields[0], fields[2], fields[6]])
    dataset = Support(dialogues=tmp_path / "log.csv").load()
    graph, pairs = dataset.graph, links(dataset, ANSWERED_BY)
    assert ("人工客服 京东快递(移动端) 你好", "有什么问题我可以帮您处理或解决呢?") in pairs
    assert any(q.endswith("呢? | 地址可以帮我修改下吗") and a.startswith("[订单x]还请您稍等") for q, a in pairs)
    asked = graph.degree(ANSWERED_BY, range(graph.size("answer")), inverse=True)
    assert asked.max() >= 5 and graph.size("answer") < len(pairs), "replies that tell the same are one"
    views = split(dataset, Split(by="random", test=0.2, group="group"))
    assert len(views["test"].queries["answer"].nodes) > 10
