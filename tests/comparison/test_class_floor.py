"""The floor of a classification, on worlds whose right answer is known beforehand and on a slice of banking77."""

import csv
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from kgrec_core.comparison.class_floor import class_floor
from kgrec_core.errors import KgrecError
from kgrec_core.evaluation.class_metrics import value
from kgrec_core.graph import Dataset, Graph, Queries, Ragged, Relation, Task, View
from kgrec_core.split import Split, split

TASK = Task("intent", Relation("question", "has_intent", "intent"))
DATA = Path(os.environ.get("KGREC_DATA", Path(__file__).parents[3] / "shared/data"))


def views(texts, classes, part=None, **columns):
    """`part`: train, validation or test per text; else drawn. `columns`: further ones of the intents."""
    names = sorted(set(classes))
    questions = pl.DataFrame({"id": [str(i) for i in range(len(texts))], **({} if texts[0] is None else {"text": texts})})
    if part is not None:
        questions = questions.with_columns(part=pl.Series(part))
    ends = {"source": np.arange(len(texts)), "target": [names.index(c) for c in classes]}
    edges = pl.DataFrame(ends, {"source": pl.UInt32, "target": pl.UInt32})
    graph = Graph({"question": questions, "intent": pl.DataFrame({"id": names, **columns})}, {TASK.relation: edges})
    how = Split(by="random", test=0.3, validation=0.3) if part is None else Split(by="column", column="part")
    return split(Dataset(graph, (TASK,)), how)


def scored(of, floor, metric="accuracy"):
    return {name: value(rows, of["test"].queries["intent"].targets, metric) for name, rows in floor.predicted.items()}


def test_words_tell_the_class_and_the_majority_does_not():
    kinds = ["parcel late", "password lost", "invoice wrong", "invoice wrong"]
    of = views([f"help my {kinds[i % 4]} {i}" for i in range(120)], [kinds[i % 4] for i in range(120)])
    floor = class_floor(of, TASK)
    found = scored(of, floor)
    assert found["tfidf_lr"] == 1 and found["majority"] == pytest.approx(0.5, abs=0.2)
    assert floor.settings["majority"] == {"class": "invoice wrong"} and len(np.unique(floor.predicted["majority"])) == 1
    assert floor.settings["tfidf_lr"]["select_macro_f1"] == 1


def test_chinese_is_read_by_the_character():
    """Without spaces a whole clause is one word, and no two are alike."""
    draw = np.random.default_rng(0)
    fill = [chr(c) for c in range(0x4E00, 0x4E60)]
    kinds = ["利好", "下跌"]
    texts = ["".join(draw.choice(fill, 4)) + kinds[i % 2] + "".join(draw.choice(fill, 4)) for i in range(160)]
    of = views(texts, [kinds[i % 2] for i in range(160)])
    floor = class_floor(of, TASK)
    assert floor.settings["tfidf_lr"]["ngrams"] == "characters" and scored(of, floor)["tfidf_lr"] > 0.9


def test_rebuilding_learns_from_the_validation_edges():
    """Only validation questions say what "quux" means."""
    texts = ["apple"] * 10 + ["pear"] * 8 + ["quux"] * 10 + ["apple", "pear"] * 3 + ["quux"] * 4
    classes = ["a"] * 10 + ["b"] * 18 + ["a", "b"] * 3 + ["b"] * 4
    part = ["train"] * 18 + ["validation"] * 16 + ["test"] * 4
    of = views(texts, classes, part)
    assert class_floor(of, TASK).settings["tfidf_lr"]["examples"] == 34
    assert scored(of, class_floor(of, TASK)) == {"majority": 1, "tfidf_lr": 1}
    assert scored(of, class_floor(of, TASK, rebuild=False)) == {"majority": 0, "tfidf_lr": 0}


def test_settings_do_not_see_the_test_targets():
    of = views([f"word{i % 5} {i % 7}" for i in range(80)], [f"c{i % 3}" for i in range(80)])
    test = of["test"].queries["intent"]
    other = Ragged(test.targets.indptr, (test.targets.rows + 1) % 3, test.targets.edges)
    turned = {**of, "test": View(of["test"].graph, {"intent": Queries(test.nodes, other)})}
    one, two = class_floor(of, TASK), class_floor(turned, TASK)
    assert one.settings == two.settings
    np.testing.assert_array_equal(one.predicted["tfidf_lr"], two.predicted["tfidf_lr"])


def test_a_class_that_is_gone_is_no_answer():
    texts, classes = ["old thing", "old thing", "new thing", "red thing"] * 20, ["old", "old", "new", "red"] * 20
    of = views(texts, classes, until=[None, 1_000_000, None])
    assert of["test"].graph.entities["intent"]["id"][1] == "old"
    floor = class_floor(of, TASK)
    assert all(1 not in rows for rows in floor.predicted.values()) and floor.settings["majority"]["class"] != "old"
    edges = of["test"].graph.relations[TASK.relation]
    assert floor.settings["tfidf_lr"]["examples"] == (edges["target"] != 1).sum() < len(edges)


def test_without_text_there_is_only_the_majority_and_without_examples_an_error():
    of = views([None] * 60, ["a", "b", "b"] * 20)
    assert list(class_floor(of, TASK).predicted) == ["majority"]
    bare = View(of["train"].graph.with_edges({TASK.relation: of["train"].graph.relations[TASK.relation].clear()}), {})
    with pytest.raises(KgrecError, match="no training edge leads to a class"):
        class_floor({**of, "train": bare}, TASK)


def test_without_a_select_query_the_floor_stands():
    of = views([f"help my {'parcel' if i % 2 else 'password'} {i}" for i in range(60)], ["a", "b"] * 30)
    asked = of["select"].queries["intent"]
    none = View(of["select"].graph, {"intent": Queries(asked.nodes, Ragged.empty(len(asked.nodes)))})
    floor = class_floor({**of, "select": none}, TASK)
    assert scored(of, floor)["tfidf_lr"] == 1 and floor.settings["tfidf_lr"]["select_macro_f1"] is None


@pytest.mark.skipif(not (DATA / "banking77").is_dir(), reason=f"no banking77 in KGREC_DATA ({DATA})")
def test_banking77_equals_scikit_learn_by_hand():
    """Four intents, and the chosen settings in a pipeline of scikit-learn's own."""
    with open(DATA / "banking77" / "train.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = sorted({r["category"] for r in rows})[:4]
    rows = [r for r in rows if r["category"] in kept]
    texts, classes = [r["text"] for r in rows], [r["category"] for r in rows]
    part = np.random.default_rng(0).choice(["train", "validation", "test"], len(rows), p=[0.6, 0.2, 0.2]).tolist()
    of = views(texts, classes, part)
    floor = class_floor(of, TASK)
    found = scored(of, floor, "macro_f1")
    assert found["tfidf_lr"] > 0.85 > found["majority"]
    chosen = floor.settings["tfidf_lr"]
    words = chosen["ngrams"] == "words"
    ngrams = {"ngram_range": (1, 2), "token_pattern": r"\b\w+\b"} if words else {"analyzer": "char", "ngram_range": (1, 3)}
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True, **ngrams), LogisticRegression(C=chosen["C"], max_iter=1_000))
    learn = np.array(part) != "test"
    model.fit(np.array(texts)[learn], np.array(classes)[learn])
    theirs = model.predict(np.array(texts)[~learn])
    mine = np.array(kept)[floor.predicted["tfidf_lr"]]
    assert (mine == theirs).mean() > 0.99
