"""Every word of the classification as a process: what it prints and how it refuses. The monitor's words have tests of their own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from kgrec_finance.__main__ import main

WORDS = ("recipe", "fit", "evaluate", "report", "demo", "classify")
QUICK = ["encoder.train_layers=1", "train.steps=2", "train.contrastive=0", "train.validations=1"]
COMPANIES = "id,name,aliases,sector\nACME,Acme Corp.,Acme,Tools\nBOLT,Bolt Inc.,螺栓公司,Tools\n"
LABELS = 'task,label,text\ntopic,earnings,"results: profit, loss, sales"\ntopic,deal,a company buys another\ntopic,weather,"rain, sun and storms"\n'


def news(n: int = 40) -> str:
    """Good news of one company and bad news of the other in each article."""
    rows = ["headline,company,entity_sentiment,sentiment,topic"]
    for i in range(n):
        good, bad = ("Acme", "Bolt") if i % 2 else ("Bolt", "Acme")
        mood, topic = (("positive", "earnings"), ("negative", "deal"))[i // 2 % 2]
        tail = "the day ends well" if mood == "positive" else "the day ends badly"
        text = f"Case {i}: {good} gains {i % 7 + 2} percent while {bad} falls on its {topic} number {i * 37 % 101}; {tail}"
        rows += [f"{text},{good},positive,{mood},{topic}", f"{text},{bad},negative,{mood},{topic}"]
    return "\n".join([*rows, ""])


def test_importing_the_plugin_imports_nothing_heavy():
    code = (
        "import sys, kgrec_finance.__main__; print([m for m in ('torch', 'transformers', 'faiss', 'polars', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_help_names_every_word_and_each_has_an_example(kgrec, tmp_path):
    listed = kgrec("--help", cwd=tmp_path).out
    for word in WORDS:
        assert f"  {word} " in listed
        shown = CliRunner().invoke(main, [word, "--help"]).stdout
        assert "Example: kgrec " in shown and ("--json" in shown or word == "report"), word


def test_own_articles_from_file_to_classification(kgrec, tmp_path):
    """fit --articles --companies --labels, evaluate with new rows and classify as processes; a topic without an example is known."""
    for name, text in (("news.csv", news()), ("companies.csv", COMPANIES), ("labels.csv", LABELS)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = ["--articles", "news.csv", "--companies", "companies.csv", "--labels", "labels.csv"]
    done = kgrec("fit", "--run", "own", *files, *QUICK, "train.epochs=1", cwd=tmp_path)
    assert done.code == 0, done.err
    for task in ("sentiment", "topic", "entity_sentiment"):
        assert f"{task} " in done.out
    found = json.loads(kgrec("classify", "Acme buys 螺栓公司", "--run", "own", "--json", cwd=tmp_path).out)
    assert found["companies"].keys() == {"ACME", "BOLT"} and found["companies"]["BOLT"]["name"] == "Bolt Inc."
    assert found["topic"]["probabilities"].keys() == {"earnings", "deal", "weather"}
    assert sum(found["sentiment"]["probabilities"].values()) == pytest.approx(1) and found["passages"] == 1
    assert "entity_sentiment" not in found and not found["sentiment"]["calibrated"]
    (tmp_path / "later.csv").write_text("headline,sentiment\nAcme is doing very well these days,positive\nBolt is bankrupt,negative\n")
    scored = kgrec("evaluate", "--run", "own", "--data", "later.csv", cwd=tmp_path)
    assert scored.code == 0 and "sentiment " in scored.out, scored.err


def test_classify(kgrec, fitted, tmp_path):
    said = kgrec("classify", "-", "--company", "WIPRO", "--like", "2", cwd=tmp_path, run=fitted, text="Infosys falls as TCS gains\n")
    assert said.code == 0, said.err
    for word in ("sentiment: ", "[INFY]: ", "[TCS]: ", "[WIPRO]: ", "second opinion, the nearest past articles: "):
        assert word in said.out, said.out
    assert said.out.count("\n") == 4 * 4, "four opinions, each with its votes and two articles"
    words = ["classify", "Gold flat ahead of Fed meeting", "--like", "0", "--run", str(fitted), "--json"]
    one = json.loads(CliRunner().invoke(main, words).stdout)
    assert one["companies"]["GOLDSPC"]["like"] == [] and sum(one["sentiment"]["second"].values()) == pytest.approx(1)


def test_labels_that_are_only_described(fitted, tmp_path):
    (tmp_path / "labels.csv").write_text(
        "task,label,text\ntopic,sport,football and tennis matches\ntopic,metals,the price of gold and silver\n"
    )
    words = ["classify", "Gold flat ahead of Fed meeting", "--labels", str(tmp_path / "labels.csv"), "--json", "--run"]
    alone = json.loads(CliRunner().invoke(main, [*words, str(tmp_path / "absent")]).stdout)
    beside = json.loads(CliRunner().invoke(main, [*words, str(fitted)]).stdout)
    assert alone["topic"]["label"] == "metals" and alone["topic"]["probability"] > 0.7 and alone["companies"] == {}
    assert beside["topic"] == alone["topic"] and "sentiment" in beside and "GOLDSPC" in beside["companies"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["classify", "..."], "the text has no word to read"),
        (["classify", "Gold", "--run", "absent"], "there is no run folder absent"),
        (["fit", "--run", "x", "--companies", "c.csv"], "belong to your own articles"),
        (["fit", "--run", "x", "--articles", "absent.csv"], "absent.csv"),
        (["fit", "--run", "x", "--articles", "plain.csv"], "nothing to predict"),
        (["demo", "data.headline=1"], "did you mean 'headlines'"),
        (["clasify"], "did you mean 'classify'"),
    ],
)
def test_mistakes_are_one_line(fitted, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.csv").write_text("text\nGold rises\n")
    done = CliRunner(env={"KGREC_RUN": str(fitted)}).invoke(main, words)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.exit_code == 2 and done.stdout == "" and len(lines) == 1 and said in lines[0], done.stderr


def test_demo(kgrec, tmp_path):
    done = kgrec("demo", "data.headlines=120", *QUICK, "--to", "2015-07-02", cwd=tmp_path)
    assert done.code == 0, done.err
    for word in (
        "gain: after-floor",
        "> Infosys falls as TCS gains",
        "[TCS]: ",
        "run folder: runs/demo; alerts: 0",
        "next: kgrec finance classify",
    ):
        assert word in done.out, done.out
    assert (tmp_path / "runs" / "demo" / "metrics.json").exists()
