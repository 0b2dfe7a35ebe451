"""Small files of a news desk, and where the real data sets are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

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
