"""A run learns from later rows and takes the old one's place, unless it became worse; what was held out stays held out."""

from __future__ import annotations

import json

import polars as pl
import pytest
from click.testing import CliRunner

from kgrec_core.cli.verbs import verb_command
from kgrec_core.errors import KgrecError
from kgrec_core.jobs.standard import STANDARD
from kgrec_core.run import folder as run_folder
from kgrec_core.run.run import open_run
from kgrec_core.update import update

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
    found = update(open_run(copy), [week])
    run = open_run(copy)
    assert found.published and found.folder == str(copy) and found.reason.startswith("not worse: buys, ")
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


def test_what_was_held_out_stays_so_in_a_second_update(copy, week, tmp_path):
    update(open_run(copy), [week])
    first = open_run(copy).graph.relations[open_run(copy).tasks[0].relation]
    later = tmp_path / "later.csv"
    later.write_text(week.read_text().replace("2024-03-", "2024-04-"))
    update(open_run(copy), [later])
    table = open_run(copy).graph.relations[open_run(copy).tasks[0].relation]
    assert table.head(len(first)).equals(first) and set(table["update"]) == {0, 1, 2}
    with pytest.raises(KgrecError, match=r"no row of the files is new to the run .*known rows"):
        update(open_run(copy), [later])


def test_a_worse_one_is_kept_beside_with_the_reason(copy, week, monkeypatch):
    """Weights that are torn: what decides sees it."""
    import torch

    from kgrec_core import update as module

    def torn(model, *rest):
        for parameter in model.encoder.parameters():
            parameter.data = torch.randn_like(parameter)
        for part in model.encoder.modules():
            if hasattr(part, "table_"):
                part.version_ = ""
        return []

    monkeypatch.setattr(module, "fine_tuned", torn)
    before = run_folder.checksum(copy / "manifest.json")
    monkeypatch.setattr(module.Update, "margin", -100.0, raising=False)
    found = update(open_run(copy), [week])
    assert not found.published and found.reason.startswith("worse: buys, ") and found.folder == f"{copy}.update"
    assert run_folder.checksum(copy / "manifest.json") == before
    assert open_run(f"{copy}.update").metrics["updates"][0]["reason"] == found.reason


def test_the_command(copy, week):
    done = CliRunner().invoke(COMMAND, ["--run", str(copy), "--data", str(week)], catch_exceptions=False)
    assert "buys: " in done.output and f"published in {copy}: not worse" in done.output and "buys, new, test" in done.output
    with pytest.raises(KgrecError, match="no file"):
        CliRunner().invoke(COMMAND, ["--run", str(copy), "--data", "none.csv"], catch_exceptions=False)
    with pytest.raises(KgrecError, match="--data FILE"):
        CliRunner().invoke(COMMAND, ["--run", str(copy)], catch_exceptions=False)
    assert "Example: kgrec shop update" in CliRunner().invoke(COMMAND, ["--help"]).output


def test_the_figures_are_json(copy, week):
    done = CliRunner().invoke(COMMAND, ["--run", str(copy), "--data", str(week), "--json"], catch_exceptions=False)
    assert json.loads(done.output)["published"] is True
