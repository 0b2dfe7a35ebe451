"""lexical: a shelf of five products, whose right order a reader can tell."""

import sys

import numpy as np
import polars as pl
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Ragged, Relation, Task, candidates
from kgrec_core.interfaces import Filter
from kgrec_core.retrieval.lexical import Lexical

ANSWER = Task("answer", Relation("question", "answer", "item"))
SHELF = ["Red TEAPOT", "red mug with red lid", "blue mug", None, "the garden gnome"]


def shop(items=SHELF, questions=("red teapots and a TEAPOT", None, "", "zebra"), edges=((1, 2, 10), (1, 4, 20), (2, 0, 5))) -> Graph:
    source, target, time = zip(*edges, strict=True)
    return Graph(
        {
            "item": pl.DataFrame({"id": [f"i{i}" for i in range(len(items))], "text": items}, schema={"id": pl.String, "text": pl.String}),
            "question": pl.DataFrame({"id": [f"q{i}" for i in range(len(questions))], "text": questions}),
        },
        {
            ANSWER.relation: pl.DataFrame(
                {"source": source, "target": target, "time": time}, schema={"source": pl.UInt32, "target": pl.UInt32, "time": pl.Int64}
            )
        },
    )


def no_encode(nodes):
    raise AssertionError("words need no vectors")


def built(graph, rows=None, **given):
    channel, nodes = Lexical(**given), candidates(graph, ANSWER)
    channel.build(graph, ANSWER, nodes if rows is None else nodes.take(rows), no_encode)
    return channel


def ask(channel, graph, k=5, before=None, **filters):
    rows = np.arange(graph.size("question"))
    return channel.search(Nodes(graph, "question", rows, "query", before), None, k, **filters)


def found(hits):
    return [[r for r in row if r >= 0] for row in hits.rows.tolist()]


def test_only_what_shares_a_word_best_first():
    graph = shop()
    hits = ask(built(graph), graph)
    # The first asks by its words; the others by what they met: q1 a blue mug and a gnome, q2 the teapot; q3's word is nowhere.
    assert found(hits) == [[0, 1], [4, 2, 1], [0, 1], []]
    assert np.isneginf(hits.scores[hits.rows < 0]).all() and (np.diff(hits.scores[1, :3]) < 0).all()


def test_only_the_last_targets_before_the_question_speak():
    graph = shop()
    assert found(ask(built(graph, history=1), graph))[1] == [4]
    assert found(ask(built(graph), graph, before=np.full(4, 15)))[1] == [2, 1]
    assert found(ask(built(graph), graph, before=np.full(4, 1)))[1] == []


def test_filters():
    graph = shop()
    allowed = Filter(np.array([False, True, True]))
    exclude = Ragged.of(np.array([1, 2]), np.array([2, 1]), 4)
    assert found(ask(built(graph), graph, allowed=allowed, exclude=exclude)) == [[1], [1], [], []]


def test_newcomers_are_found_and_compare_with_the_base():
    whole = shop([*SHELF, "red lamp", "red teapot", "zebra"])
    channel = built(whole, rows=slice(0, 5))
    grown = channel.extended(whole, candidates(whole, ANSWER).take([5, 6]), no_encode).extended(
        whole, candidates(whole, ANSWER).take([7]), no_encode
    )
    hits = ask(grown, whole)
    assert {0, 6} == set(found(hits)[0][:2]) and 5 in found(hits)[0] and found(hits)[3] == [7]
    twins = np.sort(hits.scores[0, :2])
    assert twins[0] > 0.75 * twins[1], "the same text scores alike, early or late"
    assert found(ask(channel, whole))[3] == [], "the original goes on unchanged"


def test_an_edited_text_replaces_the_old_one():
    graph = shop()
    channel = built(graph)
    edited = graph.join(Graph({"item": pl.DataFrame({"id": ["i0"], "text": ["zebra"]})}))
    grown = channel.extended(edited, Nodes(edited, "item", np.array([0]), "candidate"), no_encode)
    assert found(ask(grown, edited))[0] == [1] and found(ask(grown, edited))[3] == [0]


def test_asked_finds_an_entry_by_the_questions_that_led_to_it():
    questions = ("how much", "when do you open", "what does it cost", "cost")
    graph = shop(("two euros", "at nine", None), questions, [(0, 0, 1), (1, 1, 2), (2, 0, 3)])
    assert found(ask(built(graph), graph)) == [[], [], [], []]
    assert found(ask(built(graph, asked=True), graph)) == [[0], [1], [0], [0]]


def test_asked_also_knows_the_questions_that_come_later(tmp_path):
    whole = shop(("two euros", "at nine", "by train"), ("price", "hours", "fee", "route"), [(0, 0, 1), (1, 1, 2), (2, 0, 3), (3, 2, 4)])
    early = whole.with_edges({ANSWER.relation: whole.relations[ANSWER.relation][:2]})
    channel = built(early, rows=slice(0, 2), asked=True)
    assert found(ask(channel, early)) == [[0], [1], [], []]
    grown = channel.extended(whole, candidates(whole, ANSWER).take([2]), no_encode)
    assert found(ask(grown, whole)) == [[0], [1], [0], [2]]
    grown.save(tmp_path)
    other = Lexical(asked=True)
    other.load(tmp_path, whole, ANSWER)
    assert found(ask(other, whole)) == [[0], [1], [0], [2]]


def test_a_known_question_finds_a_hidden_entry_by_its_other_questions_alone():
    """As if the entry had never had it: with no other word in common it is not found, else by as much as an index without it says."""
    questions, edges = ("what is the price", "price of it", "opening hours", "fee"), [(0, 0, 1), (1, 0, 2), (2, 1, 3), (3, 1, 4)]
    graph = shop(("two euros", "at nine"), questions, edges)
    rows, own = np.arange(4), Ragged.of(np.arange(4), np.array([0, 0, 1, 1]), 4)
    channel = built(graph, asked=True)
    hits = channel.search(Nodes(graph, "question", rows, "query", hide={ANSWER.relation: own}), None, 5)
    assert found(hits) == [[0], [0], [], []] and found(ask(channel, graph)) == [[0], [0], [1], [1]]
    fewer = graph.with_edges({ANSWER.relation: graph.relations[ANSWER.relation][1:]})
    alone = ask(built(fewer, asked=True), fewer).scores[0, 0]
    assert hits.scores[0, 0] == pytest.approx(alone, rel=0.5) and hits.scores[0, 0] < 0.7 * ask(channel, graph).scores[0, 0]
    later = channel.extended(graph, candidates(graph, ANSWER), no_encode)
    again = later.search(Nodes(graph, "question", rows, "query", hide={ANSWER.relation: own}), None, 5)
    assert found(again) == [[0], [0], [], []], "also of what came later"


def test_weights_are_those_of_bm25s():
    """All texts as newcomers over a base of the same: the counts double, so the weights are those of everything twice."""
    texts = ["a1 b1 b1", "b1 c1 d1 e1", "e1 a1"]
    graph = shop(texts, questions=("b1", "e1 a1"), edges=((0, 0, 1),))
    grown = built(graph).extended(graph, candidates(graph, ANSWER), no_encode)
    twice = shop(texts * 2, questions=("b1", "e1 a1"), edges=((0, 0, 1),))
    np.testing.assert_allclose(ask(grown, graph, k=2).scores, ask(built(twice), twice, k=4).scores[:, ::2], rtol=1e-5)


def test_saved_and_loaded_gives_the_same_hits(tmp_path):
    graph = shop([*SHELF, "red lamp"])
    grown = built(graph, rows=slice(0, 5)).extended(graph, candidates(graph, ANSWER).take([5]), no_encode)
    grown.save(tmp_path)
    assert {f.suffix for f in tmp_path.rglob("*") if f.is_file()} == {".npy", ".json", ".safetensors"}
    loaded = Lexical()
    loaded.load(tmp_path, graph, ANSWER)
    one, two = ask(grown, graph), ask(loaded, graph)
    assert (one.rows == two.rows).all() and (one.scores == two.scores).all()


def test_a_damaged_folder_is_refused(tmp_path):
    graph = shop()
    built(graph).save(tmp_path)
    for file in [f for f in tmp_path.rglob("*") if f.is_file()]:
        whole = file.read_bytes()
        for broken in (whole[: len(whole) // 2], None):
            file.unlink()
            if broken is not None:
                file.write_bytes(broken)
            with pytest.raises(KgrecError, match="fit again"):
                Lexical().load(tmp_path, graph, ANSWER)
            file.write_bytes(whole)


def test_mistakes_are_named():
    with pytest.raises(KgrecError, match="none of the 2 item candidates has a word"):
        built(shop([None, "the"], edges=((0, 0, 1),)))
    with pytest.raises(KgrecError, match="no tokenizer is called 'wrods'; did you mean 'words'"):
        built(shop(), tokenizer="wrods")
    bare = Graph({"item": pl.DataFrame({"id": ["i0"]}), "question": pl.DataFrame({"id": ["q0"]})}, shop(edges=((0, 0, 1),)).relations)
    with pytest.raises(KgrecError, match="item has no column 'text'"):
        Lexical().build(bare, ANSWER, candidates(bare, ANSWER), no_encode)


CHINESE = ["信用卡遺失怎麼辦", "信用卡年费是多少", "iPhone 手机壳", "ノートパソコン", "garden gnome"]
ASKED = ("我的信用卡遺失了", "手机壳", "パソコン", "the gnome of 年费")


@pytest.mark.parametrize("tokenizer", ["auto", "bigrams", "rjieba"])
def test_several_languages_in_one_index(tokenizer):
    if tokenizer == "rjieba":
        pytest.importorskip("rjieba", reason="the extra zh is not installed")
    graph = shop(CHINESE, questions=ASKED, edges=((0, 0, 1),))
    first = [row[0] for row in found(ask(built(graph, tokenizer=tokenizer), graph))]
    assert first[:3] == [0, 2, 3] and set(found(ask(built(graph, tokenizer=tokenizer), graph))[3]) == {1, 4}


def test_words_alone_do_not_find_chinese():
    graph = shop(CHINESE, questions=ASKED, edges=((0, 0, 1),))
    assert found(ask(built(graph, tokenizer="words"), graph))[0] == []


def test_english_ranks_the_same_with_every_tokenizer():
    graph = shop()
    hits = [ask(built(graph, tokenizer=t), graph) for t in ("words", "auto", "bigrams")]
    assert all((h.rows == hits[0].rows).all() and (h.scores == hits[0].scores).all() for h in hits)


def test_an_index_cut_by_bigrams_stays_so_where_rjieba_is_installed(tmp_path, monkeypatch):
    pytest.importorskip("rjieba", reason="the extra zh is not installed")
    graph = shop([*CHINESE[:4], "手机壳"], questions=ASKED, edges=((0, 0, 1),))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "rjieba", None)
        built(graph, rows=slice(0, 4)).save(tmp_path)
        with pytest.raises(KgrecError, match=r'needs the package rjieba; pip install rjieba, or fit with tokenizer = "bigrams"'):
            built(graph, tokenizer="rjieba")
    loaded = Lexical()
    loaded.load(tmp_path, graph, ANSWER)
    grown = loaded.extended(graph, candidates(graph, ANSWER).take([4]), no_encode)
    assert "机壳" in loaded.words_ and set(found(ask(grown, graph))[1]) == {2, 4}


def test_an_index_cut_by_rjieba_is_refused_without_it(tmp_path, monkeypatch):
    pytest.importorskip("rjieba", reason="the extra zh is not installed")
    graph = shop(CHINESE, questions=ASKED, edges=((0, 0, 1),))
    built(graph).save(tmp_path / "zh")
    built(shop()).save(tmp_path / "en")
    monkeypatch.setitem(sys.modules, "rjieba", None)
    with pytest.raises(KgrecError, match="pip install rjieba"):
        Lexical().load(tmp_path / "zh", graph, ANSWER)
    Lexical().load(tmp_path / "en", shop(), ANSWER)
