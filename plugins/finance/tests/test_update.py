"""Newly labelled news: the run learns from them, and says what that did to old and new ones."""

from __future__ import annotations

import json
import shutil

from click.testing import CliRunner
from kgrec_finance.__main__ import main

from kgrec_core import open_run


def test_newly_labelled_news(fitted, write, tmp_path):
    folder = shutil.copytree(fitted, tmp_path / "run")
    graph, (task, *_) = open_run(folder).graph, open_run(folder).tasks
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
    assert open_run(found["folder"]).graph.size(task.relation.source) > graph.size(task.relation.source)
