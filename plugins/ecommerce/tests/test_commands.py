"""Every word of `kgrec ecommerce` as a process, on a small shop: what it answers, and how it refuses."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import kgrec_ecommerce
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from kgrec_ecommerce.__main__ import main
from kgrec_ecommerce.shop import Recommend, recommend

from kgrec_core import KgrecError, open_run

WORDS = ("recipe", "fit", "evaluate", "report", "demo", "recommend", "similar", "add-items")


def test_importing_the_plugin_imports_nothing_heavy():
    code = "import sys, kgrec_ecommerce.__main__; print([m for m in ('torch', 'transformers', 'faiss', 'polars', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_help_names_every_word_and_each_has_an_example(kgrec):
    listed = kgrec("--help").out
    for word in WORDS:
        assert f"  {word} " in listed
        assert "Example: kgrec ecommerce" in CliRunner().invoke(main, [word, "--help"]).stdout, word


def test_the_script_is_the_same_group(kgrec):
    code = "from kgrec_core.cli.main import main; main(['ecommerce', 'recipe', '--json'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert json.loads(done.stdout) == json.loads(kgrec("recipe", "--json").out)


def test_every_word_as_a_process(shop):
    """fit is the fixture, demo below; what the answers must be is asked in this process, in the other tests."""
    file = shop.folder / "again.csv"
    file.write_text("sku,name,price\nAGAIN,WOODEN FRAME ANTIQUE WHITE,2.5\n")
    for words in (
        ["evaluate", "--run", shop.run],
        ["recommend", "--user", shop.user],
        ["similar", shop.hostile],
        ["add-items", file],
        ["report"],
    ):
        done = shop.process(*words)
        assert done.code == 0 and done.out, (words, done.err)
    _refused(shop.process("similar", "1"), "no item of this run")


def test_fit_and_evaluate(shop):
    found = json.loads(shop.ask("evaluate", "--run", shop.run, "--json").out)["tasks"]["buys"]["test"]
    for system in (found["before"], found["after"], found["floor"]["popularity"]):
        figure = system["ndcg@10"]
        assert 0 < figure["low"] < figure["mean"] < figure["high"] < 1 and figure["n"] > 50
    assert "gain: after-floor" in shop.ask("evaluate", "--run", shop.run).out


def test_a_customer_who_is_not_known_is_a_stranger(shop):
    """What others buy often, as for an empty history."""
    done, run = shop.ask("recommend", "--user", "newcomer", "-k", "3", "--json"), open_run(shop.run)
    found = [row["id"] for row in json.loads(done.out)]
    graph, relation = run.graph, run.tasks[0].relation
    often = np.median(graph.degree(relation, np.arange(graph.size("item")), inverse=True))
    assert len(found) == 3 and (graph.degree(relation, graph.rows("item", found), inverse=True) > often).all()
    assert found == [answer.id for answer in run.answer([{"history": []}], k=3)[0]]


def test_strangers_are_told_once_however_often_faulty_rows_part_a_batch(shop, caplog):
    asked = [Recommend(user=f"new{n}") for n in range(5)] + [Recommend(history=("no such",))]
    *found, refused = recommend(open_run(shop.run).snapshot, asked)
    assert isinstance(refused, KgrecError) and all(len(one) == 10 for one in found)
    assert [message for message in caplog.messages if "strangers" in message] == [
        "answered as strangers, since this run does not know them: new0, new1, new2 and 2 more"
    ]


def test_recommend_by_customer(shop):
    found = json.loads(shop.ask("recommend", "--user", shop.user, "-k", "7", "--where", "price < 3", "--json").out)
    assert len({row["id"] for row in found}) == 7 and all(row["attributes"]["price"] < 3 for row in found)
    assert [row["score"] for row in found] == sorted((row["score"] for row in found), reverse=True)
    assert {"semantic", "popular", "repeat"} <= set(found[0]["columns"])
    left_out = found[0]["id"]
    again = json.loads(shop.ask("recommend", "--user", shop.user, "-k", "7", "--where", "price < 3", "--exclude", left_out, "--json").out)
    assert left_out not in {row["id"] for row in again}
    assert len({row["id"] for row in again} & {row["id"] for row in found[1:]}) >= 5  # ranks among fewer candidates may move one
    table = shop.ask("recommend", "--user", shop.user, "-k", "2", "--where", "price < 3").out.splitlines()
    assert table[0].split() == ["id", "score", "text", "why", "price"] and table[1].split()[1] == left_out and len(table) == 3


def test_recommend_by_history_text_and_all_together(shop):
    run = open_run(shop.run)
    one, two = (answer.id for answer in kgrec_ecommerce.recommend(run, user=shop.user, k=2))
    for words in (["--history", f"{one},{two}"], ["--text", "red clock"], ["--user", shop.user, "--history", one, "--text", "clock"]):
        found = json.loads(shop.ask("recommend", *words, "-k", "3", "--json").out)
        assert len(found) == 3
    answers = kgrec_ecommerce.recommend(run, history=[one, two], k=3)
    assert [a.id for a in answers] == [
        row["id"] for row in json.loads(shop.ask("recommend", "--history", f"{one},{two}", "-k", "3", "--json").out)
    ]
    assert len(kgrec_ecommerce.recommend(run, user=shop.user, k=10_000)) == run.graph.size("item")


def test_why_a_product_is_recommended(shop):
    done = shop.ask("recommend", "--user", shop.user, "-k", "3", "--explain", "--json")
    assert done.code == 0, done.err
    for answer in json.loads(done.out):
        why = answer["explanation"]
        assert why["item"]["id"] == answer["id"] and sum(why["channels"].values()) == pytest.approx(answer["score"], abs=1e-5)
    said = shop.ask("recommend", "--user", shop.user, "-k", "3", "--explain", "--language", "zh").out
    assert "。" in said and "baseline" in said and "explanation" not in shop.ask("recommend", "--user", shop.user, "--json").out


def test_lists_as_rules_want_them(shop):
    done = shop.ask("recommend", "--user", shop.user, "-k", "8", "--at-most", "price_band=2", "--boost", "price < 2=3", "--json")
    assert done.code == 0 and len(json.loads(done.out)) == 8, done.err
    only = shop.ask("recommend", "--user", shop.user, "--related", "keyword!=red", "--json")
    assert only.code == 0 and not any("RED " in answer["text"] for answer in json.loads(only.out))
    wrong = shop.ask("recommend", "--user", shop.user, "--related", "brand=ACME")
    assert wrong.code == 2 and "no relation of item is called 'brand'" in wrong.err


def test_similar(shop):
    found = json.loads(shop.ask("similar", shop.hostile, "-k", "3", "--json").out)
    assert len(found) == 3 and shop.hostile not in {row["id"] for row in found}


def test_many_at_once_are_answered_as_one_by_one(shop):
    run = open_run(shop.run)
    done = shop.ask("recommend", "--all", "-k", "3", "--where", "price < 3", "--out", "all.csv")
    told = pl.read_csv(shop.folder / "all.csv", schema_overrides={"user": pl.String, "id": pl.String})
    assert "120 rows answered, 0 refused" in done.out and told.group_by("user").len()["len"].to_list() == [3] * 120
    alone = kgrec_ecommerce.recommend(run, user=shop.user, k=3, where="price < 3")
    assert told.filter(user=shop.user).sort("place")["id"].to_list() == [answer.id for answer in alone]
    (shop.folder / "in.csv").write_text(f'user,history,text,k\n{shop.user},,,3\n,"{alone[0].id},{alone[1].id}",,2\n,nothing,,\n,,clock,1\n')
    lines = json.loads(shop.ask("recommend", "--in", "in.csv", "--where", "price < 3", "--out", "in.jsonl", "--json").out)
    assert (lines["rows"], lines["refused"]) == (4, 1) and "no item of this run" in lines["reasons"][0]
    found = [json.loads(line) for line in (shop.folder / "in.jsonl").read_text().splitlines()]
    assert [row["id"] for row in found[0]["result"]] == [answer.id for answer in alone]
    assert [len(line["result"] or ()) for line in found] == [3, 2, 0, 1]
    items = json.loads(shop.ask("similar", "--all", "-k", "1", "--out", "similar.parquet", "--json").out)
    assert items["rows"] == run.graph.alive("item").sum() and items["refused"] == 0


def test_python_has_every_word_with_its_signature():
    assert str(inspect.signature(kgrec_ecommerce.similar)).startswith("(run: 'Run', item: str, k: int = 10, where: str | None = None")
    for word in ("recommend", "similar", "add_items", "evaluate", "report", "fit"):
        assert callable(getattr(kgrec_ecommerce, word)) and word in dir(kgrec_ecommerce)
    modules = {path.stem for path in Path(kgrec_ecommerce.__file__).parent.iterdir()}
    assert not modules & set(kgrec_ecommerce.__all__), "importing such a module would hide the word"


def test_added_items_are_recommendable_at_once(shop):
    run = open_run(shop.run)  # open all the while: it sees what another process adds
    before = {row.id: row for row in kgrec_ecommerce.recommend(run, user=shop.user, k=10_000)}
    file = shop.folder / "new.csv"
    file.write_text("sku,name,price\nNEW1,JUMBO BAG SILVER UNICORN,0.11\n22423,REGENCY CAKESTAND,99.5\n")
    told = json.loads(shop.ask("add-items", file, "--json").out)
    assert told == ({"new": ["NEW1"], "changed": ["22423"]} if "22423" in before else {"new": ["NEW1", "22423"], "changed": []})
    assert json.loads(shop.ask("recommend", "--user", shop.user, "--where", "price < 0.12", "--json").out)[0]["id"] == "NEW1"
    assert [a.id for a in kgrec_ecommerce.recommend(run, user=shop.user, where="price < 0.12")] == ["NEW1"]
    assert [a.attributes["price"] for a in kgrec_ecommerce.recommend(run, user=shop.user, where="price > 99")] == [99.5]
    fresh = json.loads(shop.ask("recommend", "--user", shop.user, "--new", "-k", "300", "--json").out)
    assert "NEW1" in {row["id"] for row in fresh}
    sold = run.graph.degree(run.tasks[0].relation, run.graph.rows("item", [row["id"] for row in fresh]), inverse=True)
    assert not sold.any()
    near = kgrec_ecommerce.similar(run, "NEW1", k=3)
    assert any("JUMBO" in (a.text or "") for a in near), near
    words = run.graph.entities["keyword"]["id"].to_list()
    linked = run.graph.adjacent(next(r for r in run.graph.relations if r.name == "keyword"), run.graph.rows("item", ["NEW1"])).rows
    assert {words[row] for row in linked} >= {"jumbo", "bag"} and "unicorn" not in {words[row] for row in linked}
    assert "0 added, 2 changed" in shop.ask("add-items", file).out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("sku,name,price,colour\nX1,A,1,red\n", "no column of item in this run's recipe is called 'colour'; known: name, price, sku"),
        ("sku,name\nX1,A\n", '"price" is no column of bad.csv'),
        ("sku,name,price\nX1,A,cheap\n", "bad.csv: price must hold numbers only"),
        ("sku,name,price\nX1,A,1\nX1,B,2\n", 'bad.csv row 3: sku "X1" stands in row 2 too'),
        ("sku,name,price\n,A,1\n", "bad.csv row 2: sku is empty"),
        ("sku,name,price\n", "the table has no rows"),
    ],
)
def test_bad_item_files(shop, content, said):
    (shop.folder / "bad.csv").write_text(content)
    done = shop.ask("add-items", "bad.csv")
    _refused(done, said)
    assert "X1" not in open_run(shop.run).graph.entities["item"]["id"].to_list()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recommend"], "needs something to go by: a customer (--user)"),
        (["recommend", "--history", "85123"], "did you mean '85123A'"),
        (["recommend", "--user", "{user}", "-k", "0"], "k = 0 must be at least 1"),
        (["recommend", "--user", "{user}", "--where", "prise < 5"], "'prise' is no column of item; did you mean 'price'?"),
        (["recommend", "--user", "{user}", "--where", "price < ("], "it is no condition"),
        (["recommend", "--user", "{user}", "--where", "price < 0"], "no item is left to choose from"),
        (["recommend", "--user", "{user}", "--exclude", "none"], "no item of this run"),
        (["recommend", "--user", "{user}", "--run", "absent"], "there is no run folder absent"),
        (["similar", "85123"], "did you mean '85123A'"),
        (["add-items", "absent.csv"], "there is no file absent.csv"),
        (["report", "--out", "absent/report.html"], "absent/report.html cannot be written"),
        (["demo", "train.epoch=1"], "did you mean 'epochs'"),
        (["recomend"], "did you mean 'recommend'"),
    ],
)
def test_mistakes_are_one_line(shop, words, said):
    _refused(shop.ask(*(word.format(user=shop.user) for word in words)), said)


def _refused(done, said):
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert done.code == 2 and done.out == "" and "Traceback" not in done.err
    assert len(lines) == 1 and said in lines[0]


def test_demo(tmp_path, kgrec, layer):
    (tmp_path / "small.toml").write_text(layer)
    done = kgrec("demo", "--recipe", "small.toml", "data.where=customer < 12400", "train.steps=1", cwd=tmp_path)
    assert done.code == 0, done.err
    for word in ("Published for buys: ", "test queries", "published gains", "bought lately", "Recommended:", "run folder: runs/demo"):
        assert word in done.out
    assert (tmp_path / "runs" / "demo" / "metrics.json").exists()
    assert kgrec("recommend", "--text", "clock", cwd=tmp_path).code == 0, "runs/demo is the run where none is named"


def test_report_command(shop):
    assert shop.ask("report").out.strip() == str(shop.run / "report.html")
    assert shop.HOSTILE not in (shop.run / "report.html").read_text()
    open_run(shop.run)  # the run is still whole


@pytest.fixture
def later(shop, tmp_path):
    """A copy of the run, and orders of a week after: what the busiest customers bought before, by somebody else."""
    run = shutil.copytree(shop.run, tmp_path / "run")
    orders = pl.read_csv(shop.folder / "orders.csv", infer_schema=False)
    some = orders.sort("time").tail(400).with_columns(pl.col("sku").shift(7, fill_value=orders["sku"][0]))
    some = some.with_columns(time=pl.lit("2010-12-") + (15 + pl.int_range(pl.len()) // 80).cast(pl.String) + "T10:00:00")
    some.write_csv(tmp_path / "week.csv")
    return shop._replace(run=run), tmp_path / "week.csv"


def test_next_weeks_orders(later):
    shop, week = later
    edges, was = len(open_run(shop.run).graph.relations[open_run(shop.run).tasks[0].relation]), shop.run / "manifest.json"
    before = was.read_bytes()
    done = shop.ask("update", "--run", shop.run, "--data", week, "--json")
    found = json.loads(done.out)
    assert done.code == 0 and found["learned"]["buys"] > 100, done.err
    assert all(set(found["figures"]["buys"][which]["test"]) == {"before", "after", "gain"} for which in ("old", "new"))
    taken = found["reason"].startswith("not worse: buys, ")
    assert found["published"] is taken and found["folder"] == f"{shop.run}{'' if taken else '.update'}"
    assert (was.read_bytes() == before) is not taken, "the old run is left alone where it stays"
    run = open_run(found["folder"])
    assert len(run.graph.relations[run.tasks[0].relation]) > edges and run.metrics["updates"][0]["reason"] == found["reason"]
    assert len(json.loads(shop.ask("recommend", "--run", found["folder"], "--user", shop.user, "-k", "3", "--json").out)) == 3
    again = shop.ask("evaluate", "--run", found["folder"], "--again")
    assert again.code == 2 and "has learned from later rows (week.csv) since its fit" in again.err and again.err.count("\n") == 1


def test_orders_that_cannot_be_read_leave_the_run_alone(later):
    shop, week = later
    before = (shop.run / "manifest.json").read_bytes()
    week.write_text("customer,sku,time,quantity\n" + f"{shop.user},{shop.hostile},soon,1\n")
    done = shop.ask("update", "--run", shop.run, "--data", week)
    assert done.code == 2 and "week.csv row" in done.err and '"soon"' in done.err and (shop.run / "manifest.json").read_bytes() == before
