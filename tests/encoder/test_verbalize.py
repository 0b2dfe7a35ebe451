"""A text goes on with what the graph says of it, most telling first."""

from __future__ import annotations

import polars as pl
import torch

from kgrec_core.encoder.attention import Attention
from kgrec_core.encoder.tfidf import Tfidf
from kgrec_core.encoder.verbalize import Verbalize
from kgrec_core.graph import candidates
from kgrec_core.testing import HAS
from tests.encoder.test_fusions import of, text


def told(graph, tasks, **settings):
    encoder = Verbalize(text=text(), **settings)
    encoder.prepare(graph, tasks)
    every = candidates(graph, tasks[0])
    return encoder._told(every, [t or "" for t in graph.entities["item"]["text"].to_list()], encoder.text)


def test_the_most_telling_facts_come_first_and_within_the_tokens(chairs):
    graph, tasks = chairs
    assert told(graph, tasks) == ["chair; has: green; made by: Ajax; has: red", "stool; has: red", "", "bench; has: red"]
    assert told(graph, tasks, facts=1)[0] == "chair; has: green"
    assert told(graph, tasks, tokens=3)[0] == "chair; has: green"
    assert told(graph, tasks, relations=("made_by",)) == ["chair; made by: Ajax", "stool", "", "bench"]


def test_what_is_hardly_sure_is_told_last_and_hardly_looked_at(chairs):
    graph, tasks = chairs
    doubted = graph.relations[HAS].with_columns(weight=pl.Series([1.0, 1.0, 1.0, 1.0, 0.01]))
    graph = graph.with_edges({**graph.relations, HAS: doubted}, graph.as_of)
    assert told(graph, tasks)[0] == "chair; made by: Ajax; has: red; has: green"
    encoder, _, _ = of(lambda: Attention(text=text(), relations=("has",)), graph, tasks)
    met = encoder._sampled(candidates(graph, tasks[0]).take([0]), encoder.relations_)
    assert dict(zip(met.rows.tolist(), met.weight.tolist(), strict=True)) == {0: 1.0, 1: 0.01}
    with torch.no_grad():
        one = torch.eye(2)[torch.from_numpy(met.rows)]
        encoder.query_, encoder.relation_ = torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(2, 2))
        shares = encoder._attended(torch.ones(1, 2), met, one)
    torch.testing.assert_close(shares, torch.tensor([[1 / 1.01, 0.01 / 1.01]]))


def test_no_more_is_told_than_the_model_reads(chairs):
    class Short(Tfidf):
        longest = 6

    graph, tasks = chairs
    encoder = Verbalize(text=Short(width=4))
    encoder.prepare(graph, tasks)
    assert encoder._told(candidates(graph, tasks[0]).take([0]), ["chair"], encoder.text) == ["chair; has: green"]


def test_words_of_facts_are_words_of_the_item(chairs):
    graph, tasks = chairs
    encoder, _, _ = of(lambda: Verbalize(text=text()), graph, tasks)
    assert {"ajax", "green"} <= set(encoder.text.words_) and encoder.reads_knowledge and not encoder.text.reads_knowledge
    red, bench = encoder(candidates(graph, tasks[0]))[[1, 3]]
    plain, _, _ = of(text, graph, tasks)
    stool, other = plain(candidates(graph, tasks[0]))[[1, 3]]
    assert red @ bench > stool @ other + 0.1
