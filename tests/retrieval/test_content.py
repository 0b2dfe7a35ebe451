"""`content`: words and timeless relations in common with a history; a question speaks for itself, newcomers are found by their words."""

from __future__ import annotations

import numpy as np
import polars as pl

from kgrec_core.graph import Graph, Nodes, Relation, Task, candidates
from kgrec_core.retrieval.content import Content
from kgrec_core.testing import check_retrieval

ANSWERED = Relation("question", "answered_by", "answer")
TASK = Task("answer", ANSWERED)


def desk(*extra: str) -> Graph:
    none = pl.DataFrame({"source": [], "target": []}, {"source": pl.UInt32, "target": pl.UInt32})
    texts = ["parcel late advice", "password lost advice", "退款 建议", *extra]
    answers = pl.DataFrame({"id": [f"a{i}" for i in range(len(texts))], "text": texts})
    asked = pl.DataFrame({"id": ["q0", "q1", "q2", "q3"], "text": ["my parcel", "lost it", "退 不到", "voucher"]})
    return Graph({"question": asked, "answer": answers}, {ANSWERED: none})


def ask(channel: Content, graph: Graph) -> list[int]:
    return channel.search(Nodes(graph, "question", np.arange(4), "query"), None, 1).rows[:, 0].tolist()


def test_keeps_what_every_channel_promises():
    for by in ("text", "relations"):
        check_retrieval(lambda by=by: Content(by=by))


def test_a_question_finds_the_answer_with_its_words_and_a_newcomer_by_its_own():
    graph = desk()
    channel = Content()
    channel.build(graph, TASK, candidates(graph, TASK), None)
    assert ask(channel, graph) == [0, 1, 2, -1]
    later = desk("lost lost password")
    other = channel.extended(later, Nodes(later, "answer", np.array([3]), "candidate"), None)
    assert ask(other, later) == [0, 3, 2, -1] and ask(channel, graph) == [0, 1, 2, -1]


def test_nothing_to_compare_finds_nothing():
    graph = Graph({"question": pl.DataFrame({"id": ["q"]}), "answer": pl.DataFrame({"id": ["a"]})}, {ANSWERED: desk().relations[ANSWERED]})
    for by in ("text", "relations"):
        channel = Content(by=by)
        channel.build(graph, TASK, candidates(graph, TASK), None)
        assert channel.search(Nodes(graph, "question", np.arange(1), "query"), None, 1).rows[0, 0] == -1
