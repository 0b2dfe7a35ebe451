"""A search on validation alone: never below the recipe's own settings, goes on where it was, refuses what is no setting."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kgrec_core.errors import KgrecError
from kgrec_core.graph import View
from kgrec_core.jobs.tune import minutes_of
from kgrec_core.lifecycle.study import alone, opened, optuna_of
from kgrec_core.lifecycle.tune import Tuned, flat, tune
from kgrec_core.recipe.recipe import resolve
from kgrec_core.training import table
from kgrec_core.training.failures import Failed
from kgrec_core.training.loop import Learner
from kgrec_core.training.range_test import range_test, steepest

ROOT = Path(__file__).parents[2]
SPACE = {"train": {"head_lr": {"low": 1e-3, "high": 0.3, "log": True}, "steps": [2, 6]}}


@pytest.fixture
def colours(shop: Path, tmp_path: Path, monkeypatch) -> Path:
    """The recipe of the shop with an encoder from a file, which costs nothing, and a head that learns."""
    pytest.importorskip("optuna")
    folder = tmp_path / "colours"
    shutil.copytree(shop, folder)
    shutil.copy(ROOT / "tests" / "plugins" / "good" / "good_plugin" / "colour.py", folder / "my_colour.py")
    recipe = folder / "shop.toml"
    text = re.sub('use = "text"\nmodel = ".+"', 'use = "my_colour:Colour"', recipe.read_text())
    recipe.write_text(text.replace('use = "rank"', 'use = "rank"\nadapter = true'))
    return recipe


def search(recipe: Path, folder: Path, trials: int, **space) -> Tuned:
    torch.manual_seed(0)
    return tune(resolve(recipe, {"tune": {"space": space or SPACE}}), folder, trials)


def test_the_best_recipe_is_written_and_the_search_goes_on(colours, tmp_path):
    found = search(colours, tmp_path / "tuned", 3)
    assert found.trials == 3 and found.value >= found.own and set(found.settings) == {"train.head_lr", "train.steps"}
    best = resolve(Path(found.file)).tables["train"]
    assert best["steps"] == found.settings["train.steps"] and best["head_lr"] == pytest.approx(found.settings["train.head_lr"])
    again = search(colours, tmp_path / "tuned", 4)
    assert again.trials == 4 and again.value >= found.value and again.own == found.own
    assert not list((tmp_path / "tuned").glob("trial-*.pt"))
    with pytest.raises(KgrecError, match="holds a study of another recipe or data"):
        search(colours, tmp_path / "tuned", 5, train={"steps": [2, 3]})


def test_a_trial_that_fails_is_cut_and_one_that_was_killed_is_not_forgotten(colours, tmp_path, monkeypatch):
    from kgrec_core.lifecycle import tune as module

    tried = []

    def fitted(model, view, options, validate, *rest):
        tried.append(options.head_lr)
        if len(tried) in dies:
            raise dies[len(tried)]
        return [{"select": {"buys": options.head_lr}}]

    monkeypatch.setattr(module, "train", fitted)
    dies = {1: KeyboardInterrupt(), 3: Failed("update 4: the loss is nan")}
    with pytest.raises(KeyboardInterrupt):
        search(colours, tmp_path / "tuned", 3)
    found = search(colours, tmp_path / "tuned", 3)
    assert tried[1] == tried[0] == found.own and (found.trials, found.cut) == (3, 1)  # the recipe's own settings, asked again
    again = search(colours, tmp_path / "tuned", 6)
    assert len(set(tried[1:])) == len(tried) - 1 == 6 and again.value == max(tried[1], tried[3], *tried[4:])  # nothing is drawn twice
    dies = {len(tried) + 1: Failed("update 1: the loss is nan")}
    with pytest.raises(KgrecError, match="the loss is nan"):  # of the recipe itself
        search(colours, tmp_path / "other", 3)


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"split": {"test": [0.1]}}, "split.test is no setting of fine-tuning"),
        ({"train": {"lr": {"low": 1e-3, "high": 1e-4}}}, r"tune.space.train.lr = .* give a list of values, or"),
        ({"train": {"lr": []}}, "give a list of values"),
        ({"train": {"lrr": [1e-3]}}, "lrr"),
    ],
)
def test_a_space_that_is_none_is_refused(colours, tmp_path, space, told):
    with pytest.raises(KgrecError, match=told):
        search(colours, tmp_path / "tuned", 1, **space)


def test_what_the_command_line_sets_is_not_searched_unless_it_is_named(colours, tmp_path, caplog):
    words = ["train.epochs=1", "train.lr=1e-4", "tune.range_test=false"]
    found = tune(resolve(colours, words), tmp_path / "tuned", 2)
    assert set(found.settings) == {"train.head_lr"}
    assert caplog.text.count("not searched, as set on the command line: train.lr, train.epochs; name it in [tune.space]") == 1
    assert resolve(Path(found.file)).tables["train"]["lr"] == 1e-4
    with pytest.raises(KgrecError, match="nothing is left to search"):
        tune(resolve(colours, [*words, "train.head_lr=1e-3"]), tmp_path / "other", 2)


def test_a_study_that_is_none_is_refused(colours, tmp_path):
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "study.sqlite").write_text("nothing of the kind")
    with pytest.raises(KgrecError, match=r"study\.sqlite is no study of optuna's \(.*not a database.*remove it"):
        search(colours, tmp_path / "tuned", 1)


def test_a_folder_that_is_none_is_refused_before_anything_is_read(shop, tmp_path):
    pytest.importorskip("optuna")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text("{}")
    for name, told in (
        ("file", r"file cannot be written .File exists.; name another folder"),
        ("file/in", "file/in cannot be written .Not a directory"),
        ("run", "run is a run; name another folder"),
        ("a?b", "has no question mark in its name"),
    ):
        with pytest.raises(KgrecError, match=told):
            tune(resolve(shop / "shop.toml"), tmp_path / name)
    with pytest.raises(KgrecError, match="trian"):  # whatever is refused leaves no folder
        tune(resolve(shop / "shop.toml", ["trian.epochs=1"]), tmp_path / "tuned")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "run"]


def test_one_search_at_a_time_and_what_locks_its_study_is_told(tmp_path):
    pytest.importorskip("optuna")
    trials = optuna_of()
    with alone(tmp_path), pytest.raises(KgrecError, match=r"another search is at .*; wait for it or name another folder"), alone(tmp_path):
        pass
    with alone(tmp_path):
        study = opened(trials, tmp_path, "mine", 0)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    file = tmp_path / "study.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as db, pytest.raises(KgrecError, match=r"cannot be read or written .*locked"):
        db.execute("BEGIN EXCLUSIVE")
        with alone(tmp_path):
            opened(trials, tmp_path, "mine", 0)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE trial_params SET distribution_json = 'nothing of the kind'")
    with alone(tmp_path), pytest.raises(KgrecError, match=r"study.sqlite is no study of optuna's .*; remove it or name another folder"):
        opened(trials, tmp_path, "mine", 0)


def test_keys_may_be_nested_or_dotted():
    assert flat({"train": {"lr": {"low": 1, "high": 2}}, "head.buys.temperature": [1]}) == {
        "train.lr": {"low": 1, "high": 2},
        "head.buys.temperature": [1],
    }


def test_the_range_test_finds_where_the_loss_falls():
    """A loss that stays at 4, falls around a rate of 1e-4 and bursts above 1e-2."""
    rates = np.geomspace(1e-7, 3e-2, 60).tolist()
    losses = [4 - 3 / (1 + (1e-4 / r) ** 2) + (50 if r > 1e-2 else 0) for r in rates]
    low, high = steepest(rates, losses)
    assert low < 1e-4 < high and high / low == pytest.approx(30)
    assert steepest(rates, np.linspace(1, 2, 60).tolist()) is None and steepest([], []) is None


def test_a_loss_that_is_no_number_ends_the_range_test_alone(colours, tmp_path, monkeypatch):
    from kgrec_core.lifecycle import tune as module

    losses = []

    def update(self, number):
        losses.append(2.0 - len(losses) / 10)
        if len(losses) == 8:
            raise Failed("update 8: the loss is nan")
        return losses[-1]

    monkeypatch.setattr(Learner, "update", update)
    monkeypatch.setattr(module, "train", lambda model, view, options, *rest: [{"select": {"buys": options.lr}}])
    space = {"tune": {"space": {"train.lr": {"low": 1e-5, "high": 1e-3, "log": True}}}}
    found = tune(resolve(colours, space, ["train.steps=0", "train.epochs=20"]), tmp_path / "tuned", 2)
    assert len(losses) == 8 and found.trials == 2 and found.range is not None


def test_the_range_test_of_nothing_to_learn():
    from kgrec_core.training.augment import Augmenting
    from kgrec_core.training.options import Augment, Train

    learner = Learner(nn.Module(), {}, (), View(None, {}), Train(epochs=0, augment=Augment()))
    assert isinstance(table.techniques(learner.options)[0], Augmenting) and range_test(learner) == ([], [])
    learner.end()


def test_the_first_trial_is_the_recipe_s_own_wherever_the_space_lies(colours, tmp_path, monkeypatch):
    from kgrec_core.lifecycle import tune as module

    tried = []

    def fitted(model, view, options, *rest):
        tried.append((options.steps, options.head_lr, options.lr, model.heads["buys"].temperature))
        return [{"select": {"buys": 1.0 / len(tried)}}]

    monkeypatch.setattr(module, "train", fitted)
    monkeypatch.setattr(module, "steepest", lambda *of: [1e-3, 1e-2])
    space = {"train": {"steps": [4, 6], "head_lr": {"low": 0.1, "high": 0.3, "log": True}, "lr": {"low": 1e-4, "high": 1e-2, "log": True}}}
    found = search(colours, tmp_path / "tuned", 2, **space, head={"buys": {"temperature": [0.2, 0.3]}})
    assert tried[0] == (2, 1e-3, 3e-5, 0.05) and found.value == found.own == 1.0 and found.range == (3e-5, 1e-2)


def test_spans():
    assert [minutes_of(s) for s in ("90s", "30m", "1h", "0")] == [1.5, 30, 60, 0]
    with pytest.raises(KgrecError, match="is no span"):
        minutes_of("soon")
