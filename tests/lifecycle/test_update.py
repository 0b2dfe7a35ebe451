"""A run learns from later rows and takes the old one's place, unless it became worse; what was held out stays held out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from kgrec_core.cli.verbs import verb_command
from kgrec_core.errors import KgrecError
from kgrec_core.jobs.standard import STANDARD, updated
from kgrec_core.later import Update
from kgrec_core.lifecycle.update import Updated, _verdict, update
from kgrec_core.pipeline import sections
from kgrec_core.recipe.registry import Registry
from kgrec_core.run import folder as run_folder
from kgrec_core.run.run import open_run

ALWAYS = Update(publish="always")
COMMAND = verb_command("update", STANDARD["update"], "shop")


@pytest.fixture
def week(tmp_path):
    """Orders of the week after: every shopper buys twice, by the rule of the shop."""
    file = tmp_path / "week.csv"
    lines = [f"{'rb'[u % 2]}user{u},{'rb'[u % 2]}{(u + 3 * n) % 8},2024-03-{5 + n:02}" for n in range(3) for u in range(12)]
    file.write_text("\n".join(["customer,sku,date", *lines, "ruser0,zz,2024-03-06", "newcomer,r1,2024-03-05"]) + "\n")
    return file


def parts(run) -> dict[tuple[str, int], int]:
    table = run.graph.relations[run.tasks[0].relation]
    return {(part, number): n for part, number, n in table.group_by("part", "update").len().iter_rows()}


def test_next_weeks_orders(copy, week):
    reader = open_run(copy)
    before = reader.graph.relations[reader.tasks[0].relation]

    def killed(what, done, total):
        if what == "fine-tuning" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update(open_run(copy), [week], killed, rule=ALWAYS)
    assert "updates" not in open_run(copy).metrics  # nothing of it is there yet, and the same call goes on
    told = []
    found = update(open_run(copy), [week], lambda what, done, total: told.append((what, done)), rule=ALWAYS)
    assert min(done for what, done in told if what == "fine-tuning" and done) > 1
    run = open_run(copy)
    assert found.published and found.folder == str(copy) and found.reason == 'update.publish = "always"'
    assert "each at the moment of its own held-out rows; a fit split by time asks all" in updated(found, None)
    assert found.skipped["buys"]["unknown_targets"] == 1 and found.learned["buys"] == parts(run)["train", 1]
    table = run.graph.relations[run.tasks[0].relation]
    assert len(table) == len(before) + 37 and run.graph.rows("user", ["newcomer"])[0] >= 0
    latest = table.filter(pl.col("update") == 1).sort("time")
    order = latest["part"].unique(maintain_order=True).to_list()
    assert order == ["train", "validation", "test"]
    assert {which for which in found.figures["buys"]} == {"old", "new"} and found.figures["buys"]["new"]["test"]["after"]["n"] > 0
    assert run.recipe.tables["split"]["by"] == "column" and run.metrics["updates"][0]["files"] == ["week.csv"]
    assert run.metrics["tasks"] == reader.metrics["tasks"]
    assert [a.id for a in run.answer(["newcomer"], k=1)[0]] and reader.graph.rows("user", ["newcomer"])[
        0
    ] < 0  # who reads the old one goes on


def test_new_queries_are_asked_however_few_a_fit_asks(copy, week, monkeypatch):
    how, options, limits = sections(open_run(copy).recipe, Registry.discover())
    monkeypatch.setattr("kgrec_core.lifecycle.update.sections", lambda *of: (how, options, replace(limits, select=1, adjust=1, test=1)))
    figures = update(open_run(copy), [week], rule=ALWAYS).figures["buys"]
    asked = [figures[which][part]["after"]["n"] for which in ("old", "new") for part in ("select", "test")]
    assert all(1 <= n <= 2 for n in asked)  # a shopper has old and new orders; each kind draws one


def test_what_was_held_out_stays_so_in_a_second_update(copy, week, tmp_path):
    opened = open_run(copy)  # one that stays open is the run in place all the same
    update(opened, [week], rule=ALWAYS)
    first = open_run(copy).graph.relations[open_run(copy).tasks[0].relation]
    later = tmp_path / "later.csv"
    later.write_text(week.read_text().replace("2024-03-", "2024-04-"))
    update(opened, [later], rule=ALWAYS)
    assert [of["number"] for of in open_run(copy).metrics["updates"]] == [1, 2]
    table = open_run(copy).graph.relations[open_run(copy).tasks[0].relation]
    assert table.head(len(first)).equals(first) and set(table["update"]) == {0, 1, 2}
    with pytest.raises(KgrecError, match=r"no row of the files is new to the run .*known rows"):
        update(open_run(copy), [later])


def test_rows_of_what_the_run_lacks_name_it(copy, week, tmp_path):
    head, first = week.read_text().splitlines()[:2]
    item = head.split(",").index("sku")
    cells = first.split(",")
    (tmp_path / "misspelt.csv").write_text("\n".join([head, ",".join([*cells[:item], "r99", *cells[item + 1 :]])]) + "\n")
    with pytest.raises(KgrecError, match=r"1 unknown targets.*; the run has no item 'r99': correct the rows, or add it first"):
        update(open_run(copy), [tmp_path / "misspelt.csv"])


def test_one_that_is_not_wanted_is_kept_beside_with_the_reason(copy, week):
    before = run_folder.checksum(copy / "manifest.json")
    found = update(open_run(copy), [week], rule=Update(publish="never"))
    assert not found.published and found.reason == 'update.publish = "never"' and found.folder == f"{copy}.update"
    assert run_folder.checksum(copy / "manifest.json") == before
    assert open_run(f"{copy}.update").metrics["updates"][0]["reason"] == found.reason


def test_a_folder_of_somebody_elses_in_the_place_of_the_one_beside_is_left_alone(copy, week):
    mine = copy.with_name("run.update") / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(KgrecError, match=r"run.update exists and is no run folder; a run that became worse would be kept there; move it"):
        update(open_run(copy), [week], rule=Update(publish="never"))
    assert mine.read_text() == "mine"


def test_the_rule():
    """One standard error of the paired differences; two where few were asked."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 100)
    noise -= noise.mean()
    error = noise.std(ddof=1) / 10

    def decided(shift, n=100):
        return _verdict({"buys": {"old": noise[:n] - noise[:n].mean() + shift}}, Update())

    assert decided(-0.9 * error)[0] and decided(0.0)[0] and not decided(-1.1 * error)[0]
    few = noise[:10].std(ddof=1) / np.sqrt(10)
    assert decided(-1.5 * few, 10)[0] and not decided(-2.1 * few, 10)[0]
    assert decided(-2 * error)[1].startswith("worse: buys, 100 old validation queries: -0.0")
    assert _verdict({"buys": {}}, Update()) == (True, "not worse: there was nothing to ask")


def test_that_no_new_query_is_asked_is_said():
    told = updated(Updated(True, "runs/shop", "not worse", {"buys": {"old": {}, "new": {}}}, {"buys": 3}, {}), None)
    assert "buys: too few new queries to hold one out" in told


def test_the_command(copy, week):
    done = CliRunner().invoke(COMMAND, ["--run", str(copy), "--data", str(week), "--json"], catch_exceptions=False)
    told = json.loads(done.stdout)
    assert told["published"] is told["reason"].startswith("not worse: ") and told["figures"]["buys"]["new"]["test"]["after"]["n"] > 0
    shown = updated(Updated(**told), None)
    assert "buys: " in shown and "published" in shown and "buys, new, test" in shown
    for given, fault in (("none.csv", "none.csv is not there"), (str(copy), "run is no file")):
        with pytest.raises(KgrecError, match=fault):
            CliRunner().invoke(COMMAND, ["--run", str(copy), "--data", given], catch_exceptions=False)
    with pytest.raises(KgrecError, match="--data FILE"):
        CliRunner().invoke(COMMAND, ["--run", str(copy)], catch_exceptions=False)
    assert "Example: kgrec shop update" in CliRunner().invoke(COMMAND, ["--help"]).output


def test_what_is_not_published_says_where_it_is_and_who_answers():
    found = Updated(False, "runs/shop.update", "worse: buys, 20 old validation queries: -0.1000 ± 0.0200", {}, {"buys": 0}, {"buys": {}})
    last = updated(found, None).splitlines()[-1]
    assert last.startswith("not published, kept in runs/shop.update, a run that can be asked; what was there answers on: worse: buys")
