"""Trackers are told of every update; one that fails is told of once and nothing hangs on it."""

from __future__ import annotations

import json
import logging
import os
from types import SimpleNamespace

import accelerate.tracking
import pytest
from click.testing import CliRunner

from kgrec_core.cli.fit import fit_command
from kgrec_core.errors import KgrecError
from kgrec_core.jobs.fit import Fitted
from kgrec_core.recipe.components import Domain
from kgrec_core.training.fitting import possible
from kgrec_core.training.options import Train
from kgrec_core.training.records import shown
from kgrec_core.training.tracking import tracked

RECORDS = [
    {"step": 1, "loss": 2.0, "lr": 0.1},
    {"step": 2, "loss": 1.0, "lr": 0.1},
    {"step": 2, "epoch": 1.0, "loss": 1.5, "lr": 0.1, "select": {"buys": 0.5}, "seconds": 3.0},
]


class Fake:
    requires_logging_directory = True

    def __init__(self, name, logging_dir):
        self.told = made.setdefault("told", [(name, logging_dir)])

    def store_init_configuration(self, values):
        self.told.append(values)

    def log(self, values, step=None):
        self.told.append((step, values))

    def finish(self):
        self.told.append("finish")


class Away(Fake):
    def log(self, values, step=None):
        made["tried"] = made.get("tried", 0) + 1
        raise ConnectionError("no server\nat localhost:1")


made: dict = {}


@pytest.fixture(autouse=True)
def trackers(monkeypatch):
    made.clear()
    for name, kind in (("fake", Fake), ("away", Away)):
        monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, name, kind)


def test_updates_and_validations_are_told(tmp_path):
    options = Train(track=("fake",), track_to=tmp_path / "t", lr=0.25)
    assert list(tracked(iter(RECORDS), options, "checkpoint")) == RECORDS
    first, settings, *rest, last = made["told"]
    assert first == ("checkpoint", str(tmp_path / "t")) and settings["lr"] == 0.25 and last == "finish"
    assert rest[0] == (1, {"loss": 2.0, "lr": 0.1})
    assert rest[2] == (2, {"validation_epoch": 1.0, "validation_loss": 1.5, "validation_seconds": 3.0, "select/buys": 0.5})


def test_a_server_that_is_away_is_said_once_and_training_goes_on(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "kgrec"):
        assert list(tracked(iter(RECORDS), Train(track=("away", "fake"), track_to=tmp_path), "x")) == RECORDS
    said = [r.getMessage() for r in caplog.records]
    assert said == ["train.track: away does not answer and is left out (no server at localhost:1)"] and made["tried"] == 1
    assert made["told"][-1] == "finish"


def test_an_unknown_tracker_names_those_there_are(tmp_path):
    with pytest.raises(KgrecError, match=r"no tracker is called 'tensorbord'.*tensorboard"):
        list(tracked(iter(RECORDS), Train(track=("tensorbord",), track_to=tmp_path), "x"))
    assert list(tracked(iter(RECORDS), Train(), "x")) == RECORDS


def test_what_this_machine_cannot_do_is_said_before_a_fit_computes(monkeypatch):
    monkeypatch.setattr(accelerate.tracking, "_available_trackers", [])
    for options, said in (
        (Train(track=("fake", "wandb")), "train.track: wandb is not installed; pip install wandb"),
        (Train(track=("tensorbord",)), "no tracker is called 'tensorbord'"),
        (Train(precision="fp16"), "needs a CUDA device"),
    ):
        with pytest.raises(KgrecError, match=said):
            possible(options)
    assert possible(Train(track=("fake",))).track == ("fake",)


class Loud(Fake):
    def __init__(self, name, logging_dir):
        print("opened")
        super().__init__(name, logging_dir)

    def log(self, values, step=None):
        print("View run at http://localhost")


def test_what_trackers_and_others_print_never_reaches_stdout(tmp_path, monkeypatch, capsys):
    """There `--json` says its own, and nothing else."""
    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "loud", Loud)
    assert list(tracked(iter(RECORDS), Train(track=("loud",), track_to=tmp_path), "x")) == RECORDS
    told = capsys.readouterr()
    assert told.out == "" and "opened" in told.err and "View run" in told.err

    def fitted(*asked):
        print("WANDB_MODE is offline")
        return Fitted(SimpleNamespace(metrics={"tasks": {}}, folder=tmp_path), "")

    monkeypatch.setattr("kgrec_core.cli.fit.fitted", fitted)
    done = CliRunner().invoke(fit_command(Domain("shop", "kgrec_ecommerce:recipe.toml")), ["--run", str(tmp_path), "--json"])
    assert json.loads(done.stdout) == {"tasks": {}} and "offline" in done.stderr


def test_what_trackers_keep_on_disk_stands_in_one_place(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_DIR", raising=False)
    seen = []
    monkeypatch.setattr(Fake, "log", lambda self, values, step=None: seen.append(os.environ["WANDB_DIR"]))
    list(tracked(iter(RECORDS), Train(track=("fake",), track_to=tmp_path / "t"), "x"))
    assert set(seen) == {str(tmp_path / "t")} and "WANDB_DIR" not in os.environ


@pytest.mark.parametrize(("name", "written"), [("tensorboard", "events.out.tfevents*"), ("wandb", "run-*.wandb"), ("mlflow", "*")])
def test_a_real_tracker_writes_what_it_is_told(name, written, tmp_path, monkeypatch, capsys):
    pytest.importorskip(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlflow").as_uri())
    list(tracked(iter(RECORDS), Train(track=(name,), track_to=tmp_path / "t"), "fit"))
    assert list(tmp_path.rglob(written)) and capsys.readouterr().out == ""


def test_progress_may_have_a_note():
    told = []

    def progress(what, done, total):
        told.append((what, done, total))

    progress.note = lambda what, said: told.append(said)
    assert list(shown(iter(RECORDS), progress, 2, batch=8)) == RECORDS
    assert told[0] == ("fine-tuning", 1, 2) and told[1].startswith("loss 2.000  ") and told[1].endswith(" examples/s")
