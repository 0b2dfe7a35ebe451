"""Labelled rows are scored by a run; what it knows or cannot place is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kgrec_core.cli.fit import figures
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Nodes
from kgrec_core.run.labelled import evaluate_file
from kgrec_core.run.run import Run, open_run


@pytest.fixture(scope="module")
def run(published: Path) -> Run:
    return open_run(published)


# --- new labelled rows ----------------------------------------------------------------------------------------------
def test_labelled_rows_are_scored_and_what_is_left_out_is_said(run, shop):
    found = evaluate_file(run, shop / "next.csv")
    assert found["skipped"] == {"buys": {"unknown_sources": 1, "unknown_targets": 1, "known_rows": 0}}
    test = found["tasks"]["buys"]["test"]
    assert {"after", "encoder_after", "floor", "gain"} <= set(test)
    for of in (test["after"], test["floor"]["popularity"], test["gain"]["after-floor"]):
        assert of["ndcg@10"]["n"] == 2 and set(of["ndcg@10"]) == {"mean", "low", "high", "n"}
    graph, model, retrieval = run.graph, run.snapshot.model, run.snapshot.retrievals["buys"]
    first = [int(np.datetime64(day, "us").astype(np.int64)) for day in ("2024-04-01", "2024-04-03")]  # each source's earliest row
    nodes = Nodes(graph, "user", graph.rows("user", ["ruser0", "buser1"]), "query", np.array(first))
    red, blue = retrieval.search(nodes, model.vectors(run.task(), nodes), 16).rows.tolist()
    r1, r2, b3 = graph.rows("item", ["r1", "r2", "b3"])
    expected = (1 / (min(red.index(r1), red.index(r2)) + 1) + 1 / (blue.index(b3) + 1)) / 2
    assert test["after"]["mrr"]["mean"] == pytest.approx(expected)
    assert "floor: popularity" in figures(found) and "gain: after-floor" in figures(found)  # as `evaluate --data` prints it
    parts = test["variants"]
    assert parts and set(parts) <= {"new_only", "repeat_only", "cold", "cold_alone", "short_history", "other_words"}
    for of in parts.values():
        assert {"after", "encoder_after"} <= set(of) and of["after"]["ndcg@10"]["n"] <= 2 and "popularity" in of["floor"]


def test_rows_the_run_knows_are_not_scored(run, shop, tmp_path):
    with pytest.raises(KgrecError, match=r"orders.csv: no row is left to score for task buys \(.*108 known rows\)"):
        evaluate_file(run, shop / "orders.csv")
    with pytest.raises(KgrecError, match="evaluate: there is no file"):
        evaluate_file(run, tmp_path / "absent.csv")
    (tmp_path / "wrong.csv").write_text("customer,skuu,date\nruser0,r1,2024-04-01\n")
    with pytest.raises(KgrecError, match="did you mean 'skuu'"):
        evaluate_file(run, tmp_path / "wrong.csv")
