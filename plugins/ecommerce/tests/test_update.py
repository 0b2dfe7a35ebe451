"""Next week's orders: a run learns from them, says what that brought, and takes the old one's place or is kept beside."""

from __future__ import annotations

import json
import shutil

import polars as pl
import pytest

from kgrec_core import open_run


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
