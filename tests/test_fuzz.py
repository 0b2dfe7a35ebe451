"""The fuzz command on a small world: it finds what it must find, and nothing behind the real doors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import warm

FUZZ = Path(__file__).with_name("fuzz.py")


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    """`fuzz(*words)` -> exit code and what the last line says; the runs are fitted once."""
    world = tmp_path_factory.mktemp("fuzz")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

    def fuzz(*words: str) -> tuple[int, dict, str]:
        done = warm.run([FUZZ, "--small", "--world", world, *words], env=environment)
        return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stdout

    return fuzz


def test_it_finds_what_it_must(fuzz):
    code, told, out = fuzz("--doors", "itself", "--n", "6", "--seed", "3")
    assert code == 1 and told["inputs"] == 6 == sum(told[how] for how in ("refused", "taken", "traceback", "crash", "outside"))
    assert min(told[how] for how in ("refused", "taken", "traceback", "crash", "outside")) > 0, out


def test_it_finds_nothing(fuzz):
    code, told, out = fuzz("--n", "100")
    assert code == 0, out
    assert told["inputs"] == 100 == told["refused"] + told["taken"] and min(told["refused"], told["taken"]) > 10
    assert len(told["doors"]) >= 9, told["doors"]
