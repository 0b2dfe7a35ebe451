"""What a fit came to, in sentences."""

from __future__ import annotations

from kgrec_core.cli.fit import shown
from kgrec_core.report.verdict import apart


def task(heard: float, floor: float, n: int = 150, most: int = 150) -> dict:
    def of(mean: float, n: int) -> dict:
        return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "n": n}

    contenders = {name: {"select": of(0.5, 20), "test": of(heard, n), "gain": of(0.0, n)} for name in ("floor: frequency", "repeat")}
    referee = {"published": "repeat", "simple": "repeat", "system": "before", "metric": "ndcg@10", "contenders": contenders}
    figures = {"floor": {"frequency": {"ndcg@10": of(floor, most)}}, "published": {"ndcg@10": of(heard, most)}, "gain": {}}
    return {"test": figures, "referee": referee}


def test_two_figures_of_one_method_are_explained_once_and_only_where_both_are_shown():
    assert apart(task(0.8, 0.8)) == "" and apart({"test": {}}) == ""
    assert "drawn" not in apart(task(0.8235, 0.8170))
    assert "(of 150 queries drawn) as it would answer" in apart(task(0.8235, 0.8170, most=2000))
    metrics = {"tasks": {"buys": task(0.8235, 0.8170), "again": task(0.8235, 0.8170)}}
    assert shown(metrics, True).count("A method of the floor has two figures") == 1
    assert "two figures" not in shown(metrics, False)
