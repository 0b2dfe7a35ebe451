"""A column of the users' file, learned beside what they buy: who a user is, told from what they met."""

from __future__ import annotations

import shutil

from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve

PROFILE = """
[data.entities.user]
file = "customers.csv"
id = "customer"
[data.entities.user.links.segment]
column = "segment"
[data.tasks.segment]
relation = "segment"
history = ["buys"]
[head.segment]
use = "classify"
[retrieval.segment]
use = "exact"
[train]
steps = 40
validations = 1
head_lr = 0.01
[train.weights]
segment = 3.0
"""


def test_a_column_becomes_a_task_that_is_read_from_the_history(shop, folder, cache, tmp_path):
    place = shutil.copytree(shop, tmp_path / "shop")
    users = [f"{'rb'[u % 2]}user{u}" for u in range(12)]
    told = ["", "gardener", *("gardener" if u[0] == "r" else "sailor" for u in users[2:])]  # one is not told of, one is told wrongly
    (place / "customers.csv").write_text("customer,segment\n" + "".join(f"{u},{s}\n" for u, s in zip(users, told, strict=True)))
    (place / "profile.toml").write_text(PROFILE)
    words = [f"encoder.items.model={folder}", "encoder.items.foreign=allow", "encoder.items.max_length=8"]
    layers = (place / "shop.toml", place / "profile.toml", [*words, "split.by=random", "split.test=0.2", "split.validation=0.3"])
    run = fit(resolve(*layers), tmp_path / "run")
    assert [task.name for task in run.tasks] == ["buys", "segment"] and run.tasks[1].history[0].name == "buys"
    graph = run.graph
    queries = graph.rows("user", users[:1])
    assert queries[0] >= 0 and set(graph.entities["segment"]["id"]) == {"gardener", "sailor"}
