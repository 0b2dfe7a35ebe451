"""What tests of plugins share: files of a few lines, real data sets, and a plugin's commands as processes of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import warm
from click.testing import CliRunner

DATA = Path(os.environ.get("KGREC_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write("faq.csv", "question,answer", "Where?,Here.")` -> the path of a file of these lines."""

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


def process(
    module: str, *words: str | Path, cwd: Path | None = None, run: Path | None = None, text: str = "", timeout: float = 1500
) -> Done:
    """`python -m module` with these words; no model is ever fetched."""
    environment = {**os.environ, "GOMP_SPINCOUNT": "0", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    environment |= {"KGREC_RUN": str(run)} if run else {}
    done = warm.run(["-m", module, *words], cwd=cwd, env=environment, text=text, timeout=timeout)
    return Done(done.returncode, done.stdout, done.stderr)


def invoked(group: click.Command, name: str, *words: str | Path, cwd: Path, run: Path, text: str = "") -> Done:
    """The same in this process, where torch is imported once."""
    with chdir(cwd):
        done = CliRunner(env={"KGREC_RUN": str(run)}).invoke(group, [*map(str, words)], prog_name=name, input=text)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr)
