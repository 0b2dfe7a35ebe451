"""The words of the classification: what they print and how they refuse. The monitor's words have tests of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import kgrec_finance
import pytest
from click.testing import CliRunner
from kgrec_finance.__main__ import main
from kgrec_finance.articles.classify import Classify, classify
from kgrec_finance.articles.describing import described

import kgrec_core
from kgrec_core import KgrecError

WORDS = ("recipe", "fit", "evaluate", "report", "demo", *kgrec_finance.DOMAIN.verbs)
COMPANIES = "id,name,aliases,sector\nACME,Acme Corp.,Acme,Tools\nBOLT,Bolt Inc.,螺栓公司,Tools\n"
LABELS = 'task,label,text\ntopic,earnings,"results: profit, loss, sales"\ntopic,deal,a company buys another\ntopic,weather,"rain, sun and storms"\n'


@pytest.fixture(scope="module")
def run(fitted):
    return kgrec_core.open_run(fitted)


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
        assert "Example: kgrec " in shown and "--json" in shown, word


def invoked(*words, text: str | None = None) -> str:
    """What a command says, without a process of its own."""
    done = CliRunner().invoke(main, list(map(str, words)), input=text)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_own_articles_from_file_to_classification(kgrec, quick, tmp_path):
    """fit --articles --companies --labels as a process, evaluate with new rows and classify; a topic without an example is known."""
    for name, text in (("news.csv", news()), ("companies.csv", COMPANIES), ("labels.csv", LABELS)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = ["--articles", "news.csv", "--companies", "companies.csv", "--labels", "labels.csv"]
    done = kgrec("fit", "--run", "own", *files, *quick, "train.epochs=1", cwd=tmp_path)
    assert done.code == 0, done.err
    for task in ("sentiment", "topic", "entity_sentiment"):
        assert f"Published for {task}: " in done.out
    own = tmp_path / "own"
    found = json.loads(invoked("classify", "Acme buys 螺栓公司", "--run", own, "--json"))
    assert found["companies"].keys() == {"ACME", "BOLT"} and found["companies"]["BOLT"]["name"] == "Bolt Inc."
    assert found["topic"]["probabilities"].keys() == {"earnings", "deal", "weather"}
    assert sum(found["sentiment"]["probabilities"].values()) == pytest.approx(1) and found["passages"] == 1
    assert "entity_sentiment" not in found and not found["sentiment"]["calibrated"]
    (tmp_path / "later.csv").write_text("headline,sentiment\nAcme is doing very well these days,positive\nBolt is bankrupt,negative\n")
    assert "sentiment " in invoked("evaluate", "--run", own, "--data", tmp_path / "later.csv")


def test_classify(fitted):
    said = invoked("classify", "-", "--company", "WIPRO", "--like", "2", "--run", fitted, text="Infosys falls as TCS gains\n")
    for word in ("sentiment: ", "[INFY]: ", "[TCS]: ", "[WIPRO]: ", "second opinion, the nearest past articles: "):
        assert word in said, said
    assert said.count("\n") == 4 * 4, "four opinions, each with its votes and two articles"


def test_what_is_said_of_a_text_does_not_depend_on_its_company(run):
    """Floats are compared exactly; a faulty request does not spoil the others."""
    asked = [Classify("Gold flat ahead of Fed meeting", like=0), Classify("Infosys falls as TCS gains", ("WIPRO",), like=2)]
    asked += [Classify("Shares jump", labels=Path("absent.csv")), Classify("Nobody said anything. " * 80), asked[0]]
    gold, tcs, fault, long, again = classify(run.snapshot, asked)
    assert [classify(run.snapshot, [one])[0] for one in asked[:2]] == [gold, tcs] and gold == again
    assert classify(run.snapshot, [asked[3]]) == [long] and long.passages > 1
    assert isinstance(fault, KgrecError) and "absent.csv" in str(fault)
    assert tcs == kgrec_finance.classify(run, "Infosys falls as TCS gains", companies=["WIPRO"], like=2)
    assert tcs.companies.keys() == {"INFY", "TCS", "WIPRO"} and len(tcs.companies["TCS"].like) == 2
    assert gold.companies["GOLDSPC"].like == [] and sum(gold.tasks["sentiment"].second.values()) == pytest.approx(1)


def test_a_label_says_why(run):
    found = kgrec_finance.classify(run, "Infosys falls as TCS gains", explain=True)
    for opinion in (*found.tasks.values(), *found.companies.values()):
        assert opinion.why.item.id == opinion.label and sum(opinion.why.channels.values()) == pytest.approx(opinion.why.score, abs=1e-4)
        assert "why" in opinion.to_json() and str(opinion.why)
    assert "why" not in kgrec_finance.classify(run, "Infosys falls").to_json()["sentiment"]


def test_labels_that_are_only_described(fitted, tmp_path, monkeypatch):
    """By the domain's model, or by the run's where there is one."""
    meanings = {"sport": "football and tennis matches", "metals": "the price of gold and silver"}
    (tmp_path / "labels.csv").write_text("task,label,text\n" + "".join(f"topic,{label},{text}\n" for label, text in meanings.items()))
    words = ["classify", "Gold flat ahead of Fed meeting", "--labels", str(tmp_path / "labels.csv"), "--json"]
    monkeypatch.chdir(tmp_path)
    alone, beside = json.loads(invoked(*words)), json.loads(invoked(*words, "--run", fitted))
    assert alone["topic"]["label"] == "metals" and alone["topic"]["probability"] > 0.7 and alone["companies"] == {}
    (own,) = described([words[1]], list(meanings.values()), kgrec_core.open_run(fitted).recipe.tables["encoder"])
    assert beside["topic"]["probabilities"] == pytest.approx(dict(zip(meanings, own, strict=True)), rel=1e-5)
    assert beside["topic"]["label"] == "metals" and "sentiment" in beside and "GOLDSPC" in beside["companies"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["classify", "..."], "the text has no word to read"),
        (["classify", "Gold", "--run", "absent"], "there is no run folder absent"),
        (["classify", "Gold", "--like", "-1"], "cannot be shown"),
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


def test_demo(demonstrated):
    done, folder = demonstrated
    for word in (
        "Published for sentiment: ",
        "> Infosys falls as TCS gains",
        "[TCS]: ",
        "run folder: runs/demo; alerts: 0",
        "next: kgrec finance classify",
    ):
        assert word in done.out, done.out
    assert (folder / "metrics.json").exists()


def test_a_run_learns_from_newly_labelled_news(fitted, write, tmp_path):
    folder = shutil.copytree(fitted, tmp_path / "run")
    graph, (task, *_) = kgrec_core.open_run(folder).graph, kgrec_core.open_run(folder).tasks
    rows = {
        "positive": "profit of Acme {} rises by {} percent",
        "negative": "loss of Acme {} widens by {} percent",
        "neutral": "Acme {} holds meeting {}",
    }
    lines = [f"{text.format(n, n + 3)},2019-06-{n % 20 + 1:02},{label}" for n in range(16) for label, text in rows.items()]
    file = write("labelled.csv", "text,date,sentiment", *lines)
    done = CliRunner().invoke(main, ["update", "--run", str(folder), "--data", str(file), "--json"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    learned = {name for name, n in found["learned"].items() if n}
    assert learned and all({"before", "after", "gain"} == set(found["figures"][name]["new"]["test"]) for name in learned)
    assert found["published"] is found["reason"].startswith("not worse: ")
    assert found["folder"] == f"{folder}{'' if found['published'] else '.update'}"
    assert kgrec_core.open_run(found["folder"]).graph.size(task.relation.source) > graph.size(task.relation.source)
