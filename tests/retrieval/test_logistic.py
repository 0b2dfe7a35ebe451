"""Logistic regression as a channel: scikit-learn's own figures, no query answered by what it taught, little data, damaged folders."""

from __future__ import annotations

import json
import logging

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Relation, Task, candidates
from kgrec_core.retrieval.logistic import Logistic
from kgrec_core.retrieval.softmax import choose, folds
from kgrec_core.testing import check_retrieval

TASK = Task("intent", Relation("question", "has_intent", "intent"))
KINDS = ("parcel late", "password lost", "invoice wrong")


def world(texts, classes, names=KINDS, asked=()) -> Graph:
    """classes: a row of `names` per text. asked: texts of questions that have no intent."""
    questions = pl.DataFrame(
        {"id": [str(i) for i in range(len(texts) + len(asked))], "text": [*texts, *asked]}, {"id": pl.String, "text": pl.String}
    )
    edges = pl.DataFrame({"source": range(len(texts)), "target": classes}, {"source": pl.UInt32, "target": pl.UInt32})
    return Graph({"question": questions, "intent": pl.DataFrame({"id": list(names)})}, {TASK.relation: edges})


def texts(n: int) -> tuple[list[str], list[int]]:
    draw = np.random.default_rng(0)
    return [f"{KINDS[i % 3]} {draw.choice(['help', 'please', 'now'])} {i}" for i in range(n)], [i % 3 for i in range(n)]


def vectors_of(nodes: Nodes) -> np.ndarray:
    """What a text is about, as a vector."""
    told = nodes.graph.gather(nodes.kind, nodes.rows, "text")["text"].to_list()
    return np.array([[kind.split()[0] in text for kind in KINDS] + [len(text) / 100] for text in told], np.float32).reshape(-1, 4)


def built(graph: Graph, **settings) -> Logistic:
    part = Logistic(**settings)
    part.build(graph, TASK, candidates(graph, TASK), vectors_of)
    return part


def asked(part: Logistic, graph: Graph, rows) -> np.ndarray:
    """(n, intents) scores of questions by row."""
    nodes = Nodes(graph, "question", np.asarray(rows), "query")
    hits = part.search(nodes, vectors_of(nodes), graph.size("intent"))
    out = np.zeros((len(nodes), graph.size("intent")))
    owner, column = np.nonzero(hits.rows >= 0)
    out[owner, hits.rows[owner, column]] = hits.scores[owner, column]
    return out


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("settings", [{}, {"by": "vectors"}, {"ngrams": "words", "strength": 3.0}])
def test_keeps_what_every_retrieval_promises(settings):
    check_retrieval(lambda: Logistic(**settings))


@pytest.mark.parametrize("ngrams", ["words", "characters"])
def test_probabilities_are_scikit_learns(ngrams):
    known, classes = texts(60)
    new = ["my password is lost", "where is the parcel", "the invoice", "an invoice and a parcel", ""]
    graph = world(known, classes, asked=new)
    part = built(graph, ngrams=ngrams, strength=10.0)
    how = {"ngram_range": (1, 2), "token_pattern": r"\b\w+\b"} if ngrams == "words" else {"analyzer": "char", "ngram_range": (1, 3)}
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True, **how), LogisticRegression(C=10, max_iter=1_000)).fit(known, classes)
    p = softmax(model.decision_function(new) * part.chosen["sharper"])
    got = asked(part, graph, range(60, 65))
    np.testing.assert_allclose(softmax(got), p, atol=2e-3)
    np.testing.assert_allclose(np.exp(got) * 1e-9, p, atol=2e-3)


def test_by_vectors_is_a_logistic_regression_of_them():
    known, classes = texts(60)
    graph = world(known, classes, asked=["my password is lost", "the invoice"])
    part = built(graph, by="vectors", strength=10.0)
    assert part.reads == "vectors" and part.without_language_model(vectors=False) is None
    every = vectors_of(Nodes(graph, "question", np.arange(62), "query"))
    model = LogisticRegression(C=10, max_iter=1_000).fit(every[:60], classes)
    p = softmax(model.decision_function(every[60:]) * part.chosen["sharper"])
    np.testing.assert_allclose(softmax(asked(part, graph, [60, 61])), p, atol=2e-3)


def test_scripts_without_spaces_are_read_by_the_character_and_words_by_the_word():
    draw = np.random.default_rng(0)
    fill = [chr(c) for c in range(0x4E00, 0x4E60)]
    kinds = ["利好", "下跌"]
    chinese = ["".join(draw.choice(fill, 4)) + kinds[i % 2] + "".join(draw.choice(fill, 4)) for i in range(120)]
    assert built(world(chinese, [i % 2 for i in range(120)], kinds)).chosen["ngrams"] == "characters"
    pairs = ["ab ba", "ba ab"]  # the same characters; only pairs of words tell, and fillers of random letters disturb
    english = [f"{' '.join(''.join(draw.choice(list('abcdefgh'), 6)) for _ in range(6))} {pairs[i % 2]}" for i in range(200)]
    assert built(world(english, [i % 2 for i in range(200)], pairs)).chosen["ngrams"] == "words"


@pytest.mark.parametrize("by", ["words", "vectors"])
def test_a_known_question_is_not_answered_by_what_it_taught(by, tmp_path):
    """The only question about a zebra, and its twin, are labelled as nobody would guess; a new one with these words knows it."""
    known, classes = texts(30)
    odd = ["zebra password", "zebra password"]
    graph = world([*known, *odd], [*classes, 2, 2], asked=odd[:1])
    part = built(graph, by=by, strength=100.0)
    again = Logistic(by=by)
    part.save(tmp_path)
    again.load(tmp_path, graph, TASK)
    for one in (part, again):
        got = softmax(asked(one, graph, [30, 31, 32]))
        assert (got[:2].argmax(1) == 1).all() and (got[:2, 2] < 0.1).all()
        assert got[2, 2] > 0.3
    np.testing.assert_allclose(asked(again, graph, range(33)), asked(part, graph, range(33)), atol=1e-4)


def test_equal_texts_share_a_fold_and_the_examples_of_a_class_are_spread():
    groups = np.repeat(np.arange(40), 3)
    y = np.repeat(np.arange(8), 15)
    fold = folds(groups, y)
    assert all(len(set(fold[groups == group])) == 1 for group in range(40))
    assert all(len(set(fold[y == label])) == 5 for label in range(8))


def test_settings_are_chosen_on_examples_that_were_held_out():
    """Features that repeat the example's own label are perfect on what was learned, and useless on what was not."""
    draw = np.random.default_rng(0)
    y = np.arange(200) % 2
    own = np.zeros((200, 200), np.float32)
    own[np.arange(200), np.arange(200)] = 1
    useful = draw.normal(size=(200, 3)).astype(np.float32) + y[:, None]
    how = choose(("own", "useful"), (10.0, 1.0), {"own": own, "useful": useful}.__getitem__, y, folds(np.arange(200), y))
    assert how.features == "useful"


@pytest.mark.parametrize("by", ["words", "vectors"])
def test_what_was_chosen_stays_when_it_is_built_again(by, tmp_path):
    """A mixture has learned how far to believe these probabilities; a sharpness chosen anew would be corrected twice."""
    read, classes = texts(60)
    graph = world(read, classes)
    later = world(
        [*read, *(f"{KINDS[i % 2]} {i}" for i in range(60))], [*classes, *(i % 3 for i in range(60))]
    )  # two of three as luck has it
    part = built(graph, by=by)
    first = part.chosen
    part.save(tmp_path)
    loaded = Logistic(by=by)
    loaded.load(tmp_path, graph, TASK)
    for again in (part, loaded):
        again.build(later, TASK, candidates(later, TASK), vectors_of)
        assert again.chosen == {**first, "examples": 120}
    anew = built(later, by=by)
    assert anew.chosen["sharper"] != first["sharper"]
    assert not np.array_equal(asked(anew, later, [0, 70]), asked(part, later, [0, 70]))  # nor does the memo hand out the one for the other


@pytest.mark.parametrize(
    ("known", "classes", "first", "told"),
    [
        ([], [], [-1, -1], "0 examples of 0 intent; 3 more have none"),
        (["parcel"], [0], [-1, 0], "1 examples of 1 intent; 2 more have none and are never found by it, 1 have one only"),
        (["parcel", "password"], [0, 1], [-1, 1], "2 examples of 2 intent; 1 more have none and are never found by it, 2 have one only"),
        (["parcel", "password", "parcels", "a password"], [0, 1, 0, 1], [0, 1], "4 examples of 2 intent; 1 more have none"),
        (["parcel late", "parcel now", "password"], [0, 0, 1], [0, 1], "1 have one only"),
        (["", "..."], [0, 1], [-1, -1], "2 have one only"),
    ],
)
@pytest.mark.parametrize("by", ["words", "vectors"])
def test_little_data_is_answered_with_a_sentence(by, known, classes, first, told, caplog):
    """first: the answer to the first known question, which must not know itself, and to a new one; -1 = any."""
    graph = world(known, classes, asked=["the password" if len(known) != 1 else "a parcel"])
    with caplog.at_level(logging.INFO, "kgrec"):
        part = built(graph, by=by)
    assert told in caplog.text
    for row, wanted in zip([0, len(known)], first, strict=True):
        got = asked(part, graph, [row])[0]
        assert np.isfinite(got).all() and (wanted < 0 or got.argmax() == wanted)
        assert row or len(known) > 1 or not got.any()
    assert not asked(part, graph, [len(known)])[0, 2]


def test_a_target_that_has_ended_is_neither_learned_nor_found():
    known, classes = texts(30)
    graph = world(known, classes, asked=["my password is lost"])
    kinds = graph.entities["intent"].with_columns(until=pl.Series([None, 1_000_000, None], dtype=pl.Int64))
    graph = Graph({**graph.entities, "intent": kinds}, dict(graph.relations))
    assert built(graph).chosen["examples"] == 20 and asked(built(graph), graph, [30])[0].argmax() != 1


def test_mistakes_are_one_line():
    graph = Graph(
        {"question": pl.DataFrame({"id": ["a"]}), "intent": pl.DataFrame({"id": ["x"]})},
        {TASK.relation: world(["a"], [0]).relations[TASK.relation]},
    )
    with pytest.raises(KgrecError, match=r'question has no column .text. \(it has id\); name its text, or take by = "vectors"$'):
        built(graph)
    with pytest.raises(KgrecError, match=r"logistic\.strength = -1 is no C"):
        built(world(*texts(9)), strength=-1)


def damage(folder, what):
    file = folder / "channel.safetensors"
    state = dict(load_file(file))
    if what == "no terms":
        (folder / "terms.json").unlink()
    elif what == "cut terms":
        (folder / "terms.json").write_text("[" * 100_000)
    elif what == "a term less":
        (folder / "terms.json").write_text(json.dumps(json.loads((folder / "terms.json").read_text())[1:]))
    elif what == "a term twice":
        terms = json.loads((folder / "terms.json").read_text())
        (folder / "terms.json").write_text(json.dumps([*terms[1:], terms[1]]))
    elif what == "a number as term":
        (folder / "terms.json").write_text(json.dumps([*json.loads((folder / "terms.json").read_text())[1:], 7]))
    else:
        name, change = what
        state[name] = change(state[name])
        save_file({key: np.ascontiguousarray(value) for key, value in state.items()}, file)


@pytest.mark.parametrize(
    "what",
    [
        "no terms",
        "cut terms",
        "a term less",
        "a term twice",
        "a number as term",
        ("weights_", lambda w: w[:, 1:]),
        ("weights_", lambda w: w * np.nan),
        ("classes_", lambda c: c + 2**40),
        ("classes_", lambda c: c * 0),
        ("sources_", lambda s: s - 5),
        ("sources_", lambda s: s[::-1]),
        ("labels_", lambda s: s[1:]),
        ("how_", lambda s: s + 9),
        ("rarity_", lambda s: s[1:]),
    ],
)
def test_a_damaged_folder_is_refused(what, tmp_path):
    graph = world(*texts(12))
    built(graph).save(tmp_path)
    damage(tmp_path, what)
    with pytest.raises(KgrecError, match="fit again"):
        Logistic().load(tmp_path, graph, TASK)


def test_what_comes_later_waits_for_the_next_build():
    known, classes = texts(30)
    graph = world(known, classes)
    part = built(graph)
    delta = Graph(
        {"question": pl.DataFrame({"id": ["n"], "text": ["refund me"]}), "intent": pl.DataFrame({"id": ["refund"]})},
        {TASK.relation: pl.DataFrame({"source": [0], "target": [0]}, {"source": pl.UInt32, "target": pl.UInt32})},
    )
    later = graph.join(delta)
    grown = part.extended(later, Nodes(later, "intent", np.array([3]), "candidate"), vectors_of)
    assert not part.newcomers and asked(grown, later, [0, 30])[:, 3].max() == 0
    np.testing.assert_allclose(asked(grown, later, range(30))[:, :3], asked(part, graph, range(30)), atol=1e-5)
    assert asked(built(later), later, [30]).shape == (1, 4) and built(later).chosen["examples"] == 31


def test_a_task_without_history_has_nothing_to_learn_from():
    with pytest.raises(KgrecError, match=r"the task names no history; set data\.tasks\.intent\.history"):
        built(world(*texts(9)), by="history")
