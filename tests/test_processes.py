"""A fit by two processes, as launchers start it, ends as that of one: one run folder, one set of figures, one message where it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import warm

from kgrec_core import devices
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.run.run import open_run
from tests import tiny

HIDDEN = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
ROOT = Path(__file__).parents[1]
LAUNCHERS = {
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "kgrec_core", "--"],
    "accelerate": [
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--main_process_port",
        "0",
        "-m",
        "kgrec_core",
        "--",
    ],
}
LAYER = """
[encoder]
use = "history"
[encoder.items]
use = "tfidf"
width = 8
[head.buys]
use = "rank"
adapter = true
dropout = 0.0    # each process draws its own
[train]
epochs = 2.0
batch = 8
chunk = 5
steps = 0
head_lr = 0.05
"""


@pytest.fixture
def words(shop: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "layer.toml").write_text(LAYER)
    return ["ecommerce", "fit", "--json", "--recipe", str(shop / "shop.toml"), "--recipe", str(tmp_path / "layer.toml"), "--run"]


def started(launcher: str, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *LAUNCHERS[launcher], *words], env=HIDDEN, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def flat(figures: Any, place: str = "") -> dict[str, float]:
    """Every number by its place."""
    if isinstance(figures, dict):
        return {k: v for name, inner in figures.items() for k, v in flat(inner, f"{place}/{name}").items()}
    return {place: figures} if isinstance(figures, int | float) else {}


def test_two_processes_end_with_the_figures_of_one(shop, words, tmp_path):
    alone = fit(resolve("kgrec_ecommerce:recipe.toml", shop / "shop.toml", tmp_path / "layer.toml"), tmp_path / "one" / "run")
    done = started("torchrun", *words, str(tmp_path / "two" / "run"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert [p.name for p in (tmp_path / "two").iterdir()] == ["run"]
    assert flat(json.loads(done.stdout)["tasks"]) == pytest.approx(flat(alone.metrics["tasks"]), rel=1e-6)
    losses = [[record["loss"] for record in run.history] for run in (alone, open_run(tmp_path / "two" / "run"))]
    assert len(losses[0]) == 2 and losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_techniques_are_those_of_one_process_too(shop, words, tmp_path):
    """Adversarial embeddings are moved along the gradient of the whole batch, and the mean of the weights is that of all."""
    model = tiny.model(tmp_path / "bert", layers=1, dropout=0.0)
    settings = [
        f"encoder.items={{ use = 'text', model = '{model}', foreign = 'allow', max_length = 8 }}",
        "train.epochs=1",
        "train.lr=0.01",
    ]
    settings += ["train.average=ema", "train.average_decay=0.8", "train.fgm=0.5", "train.chunk=0", "split.known_only=false"]
    layers = "kgrec_ecommerce:recipe.toml", shop / "shop.toml", tmp_path / "layer.toml"
    alone = fit(resolve(*layers, settings), tmp_path / "one" / "run")
    done = warm.torchrun("-m", "kgrec_core", "--", *words, tmp_path / "two" / "run", *settings, env=HIDDEN)
    assert done.returncode == 0, done.stderr[-3000:]
    assert flat(json.loads(done.stdout)["tasks"]) == pytest.approx(flat(alone.metrics["tasks"]), rel=1e-5)
    losses = [[record["loss"] for record in run.history] for run in (alone, open_run(tmp_path / "two" / "run"))]
    assert losses[0] and losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_failure_is_told_once(words, tmp_path):
    """What all have in common is said by the main process alone: not what the others made of it."""
    done = warm.torchrun("-m", "kgrec_core", "--", *words, tmp_path / "run", "train.epoch=1", env=HIDDEN)
    told = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode != 0 and done.stdout == ""
    assert len(told) == 1 and "error: no key" in told[0] and "did you mean 'epochs'" in told[0]
    assert "KgrecError" not in done.stderr


@pytest.mark.parametrize(("rank", "told"), [("0", 1), ("1", 0)])
def test_when_a_process_is_killed_the_main_one_says_how_to_go_on(rank, told):
    """Its launcher then ends the others."""
    code = "import os, signal; from kgrec_core import __main__; "
    code += "__main__.main = lambda words, **how: os.kill(os.getpid(), signal.SIGTERM); __main__.together(['ecommerce', 'fit'])"
    done = warm.run(["-c", code], env={**HIDDEN, "RANK": rank, "WORLD_SIZE": "2"})
    assert done.returncode == 1
    assert done.stderr.count("another process is lost; the same command goes on from the last checkpoint") == told


KILLED = """
import os, signal, sys, time
from kgrec_core import __main__, devices

def killed(words, **how):
    devices.joined()
    if os.environ["RANK"] == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)

__main__.main = killed
sys.exit(__main__.together(["ecommerce", "fit"]))
"""


@pytest.mark.parametrize("rank", ["0", "1"])
def test_who_is_left_says_which_process_was_killed(rank, tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    done = warm.torchrun(tmp_path / "killed.py", rank, env=HIDDEN | {"PYTHONPATH": str(ROOT)})
    told = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode != 0
    assert told == [f"error: process {rank} was killed or ended; the same command goes on from the last checkpoint"]


def test_the_word_is_taken_once(tmp_path, monkeypatch):
    """Of three, two are left when the third is killed; one may hear of it only once the other has ended."""
    (tmp_path / "word").touch()
    monkeypatch.setattr(devices, "_MEETING", devices._Meeting({0: os.getpid(), 2: 2**22 + 1}, str(tmp_path / "word")))
    assert devices.gone() == [2]
    assert [devices.speaks(), devices.speaks(), devices.speaks(alone=True)] == [True, False, False]


def test_what_is_not_a_fit_is_done_once():
    done = started("accelerate", "list", "encoder", "--json")
    assert done.returncode == 0 and {part["name"] for part in json.loads(done.stdout)} > {"text", "tfidf"}, done.stderr[-2000:]
