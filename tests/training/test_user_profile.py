"""A column of the users' file, learned beside what they buy: who a user is, told from what they met."""

from __future__ import annotations

import shutil

import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.split import Split, split

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
    assert "what was met, linear" in run.metrics["tasks"]["segment"]["referee"]["contenders"]
    assert queries[0] >= 0 and set(graph.entities["segment"]["id"]) == {"gardener", "sailor"}


@pytest.fixture
def told(shop, folder, cache, tmp_path):
    """told(column, *settings) -> the layers of the e-commerce recipe on a shop that is split by time and whose customers have a file."""
    place = shutil.copytree(shop, tmp_path / "shop")
    orders = [f"{'rb'[u % 2]}more{u},{'rb'[u % 2]}{(u + 3 * n) % 8},2024-0{1 + n // 2}-1{n % 2}" for n in range(6) for u in range(28)]
    (place / "orders.csv").write_text("\n".join([(shop / "orders.csv").read_text().strip(), *orders]) + "\n")
    users = [f"{'rb'[u % 2]}user{u}" for u in range(12)] + [f"{'rb'[u % 2]}more{u}" for u in range(28)]
    lines = [f"{u},{'gardener' if u[0] == 'r' else 'sailor'},{20 + 30 * (u[0] == 'r') + n % 9}" for n, u in enumerate(users[1:])]
    (place / "customers.csv").write_text("\n".join(["customer,segment,age", *lines]) + "\n")
    words = [f"encoder.items={{ use = 'text', model = '{folder}', foreign = 'allow', max_length = 8 }}", "data.entities.user.id=customer"]
    words += ["data.entities.user.file=shop/customers.csv", "train.steps=60", "train.head_lr=0.02"]

    def layers(column: str, *settings: str):
        return "kgrec_ecommerce:recipe.toml", place / "shop.toml", [*words, f"data.entities.user.profile.column={column}", *settings]

    return layers


def test_in_the_ecommerce_recipe_a_column_is_named(told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = fit(resolve(*told("segment", "train.weights.profile=3.0")), tmp_path / "run")
    buys, profile = run.tasks
    assert (buys.name, profile.name, profile.history) == ("buys", "profile", (buys.relation,))
    test = run.metrics["tasks"]["profile"]["test"]
    assert test["after"]["accuracy"]["n"] >= 4 and test["after"]["accuracy"]["mean"] > test["floor"]["majority"]["accuracy"]["mean"]
    assert [of[0].id for of in run.answer([{"history": ["r1", "r2"]}, {"history": ["b1", "b4"]}], "profile", 1)] == ["gardener", "sailor"]
    assert run.answer(["ruser0"], k=3)[0][0].id[0] in "rb", "without a task it is still asked for products"


def test_what_is_held_out_of_a_profile_is_known_to_nobody_and_age_is_a_band(told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = resolve(*told("age", "data.entities.user.profile.edges=[30, 45]"))
    dataset = recipe.data(Registry.discover()).load()
    views, relation = split(dataset, recipe.section("split", Split)), dataset.tasks[1].relation
    assert set(dataset.graph.entities["profile"]["id"]) == {"profile under 30", "profile from 45"}
    held = {part: set(views[part].queries["profile"].nodes.rows) for part in views}
    known = {part: set(view.graph.relations[relation]["source"]) for part, view in views.items()}
    assert not known["train"] & (held["select"] | held["adjust"] | held["test"]) and not known["test"] & held["test"]
    assert sum(map(len, held.values())) == 39 and all(held.values()), "known_only looks at the history"


def test_a_profile_that_cannot_be_is_one_line(told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for column, settings, said in (
        ("sgment", [], r'profile.column = "sgment".*segment'),
        ("segment", ["data.entities.item.profile.column=colour"], "no task of .data.tasks. starts at a item, so it has no history"),
        ("segment", ["data.tasks.profile.relation=buys"], "there is a task profile already"),
    ):
        with pytest.raises(KgrecError, match=said) as error:
            resolve(*told(column, *settings)).data(Registry.discover()).load()
        assert "\n" not in str(error.value)
