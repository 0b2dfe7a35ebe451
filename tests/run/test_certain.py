"""What a run's known questions say of its certainty: each asked without itself, unless the model learned from it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from kgrec_core.graph import Graph, Relation, Task, candidates
from kgrec_core.retrieval.lexical import Lexical
from kgrec_core.retrieval.merge import Merge
from kgrec_core.retrieval.neighbours import Neighbours
from kgrec_core.run.certain import by_known, known_certainty, roles, uncalibrated

TASK = Task("answer", Relation("question", "answered_by", "answer"), repeats=True)
ENTRIES, EACH = 30, 3


@pytest.fixture(scope="module")
def faq():
    """(graph, model, retrieval): questions around their entry, each with its entry's word and one of its own."""
    draw = np.random.default_rng(0)
    owner = np.repeat(np.arange(ENTRIES), EACH)
    centres = draw.normal(size=(ENTRIES, 16))
    vectors = (centres[owner] + 0.5 * draw.normal(size=(len(owner), 16))).astype(np.float32)
    asked = pl.DataFrame({"id": [f"q{i}" for i in range(len(owner))], "text": [f"word{e} own{i}" for i, e in enumerate(owner)]})
    answers = pl.DataFrame({"id": [f"a{e}" for e in range(ENTRIES)], "text": [f"answer {e}" for e in range(ENTRIES)]})
    edges = pl.DataFrame({"source": range(len(owner)), "target": owner}, schema={"source": pl.UInt32, "target": pl.UInt32})
    graph = Graph({"question": asked, "answer": answers}, {TASK.relation: edges})
    model = SimpleNamespace(
        heads={}, tasks=(TASK,), encoder=SimpleNamespace(reads_edges=False), vectors=lambda task, nodes: vectors[nodes.rows]
    )
    channels = {"near": Neighbours(per="max"), "words": Lexical(asked=True)}
    retrieval = Merge(channels=channels, by="score", weights={"words": 0.1})
    retrieval.build(graph, TASK, candidates(graph, TASK), lambda nodes: model.vectors(TASK, nodes))
    return graph, model, retrieval


def test_every_question_asks_again_without_itself(faq):
    made = known_certainty(*faq, TASK, (TASK,), learned=False)
    assert roles(faq[2]) == {"near": "question", "words": "words"}
    assert made.tested == made.strangers == ENTRIES * EACH and made.share == 0.1 and not made.learned
    assert made.mean[2] < 0.8, "on the scale of wrong entries, not of themselves"
    assert made.guarantee(0.1).answered > 30


def test_what_the_model_learned_from_tests_nothing(faq):
    made = known_certainty(*faq, TASK, (TASK,), learned=True)
    assert made.learned and made.tested == 0 and "nothing is promised" in str(made.guarantee(0.1))


def test_only_rankings_that_nothing_else_calibrates_are_asked(faq):
    graph, model, retrieval = faq
    assert set(by_known(graph, model, {"answer": retrieval}, {}, learned=False, share=0.2)) == {"answer"}
    assert not by_known(graph, model, {"answer": retrieval}, {"answer"}, learned=False, share=0.2)
    classes = SimpleNamespace(**{**vars(model), "heads": {"answer": SimpleNamespace(encodes_candidates=False)}})
    assert known_certainty(graph, classes, retrieval, TASK, (TASK,), learned=False) is None
    assert known_certainty(graph, model, Merge(channels={"near": Neighbours()}), TASK, (TASK,), learned=False) is None


def test_without_a_calibration_it_is_said_how_many_are_needed_and_what_to_do(faq):
    graph, *_ = faq
    few = Graph(graph.entities, {TASK.relation: graph.relations[TASK.relation].head(5)})
    assert uncalibrated(few, TASK) == "5 known question entries are too few, at least 8 are needed; add some and fit again"
    assert uncalibrated(graph, TASK).startswith("at least 60 question queries of the half of validation") and "widen" in uncalibrated(
        graph, TASK
    )
