"""The linter's controls: a language model writes the texts, once each, and a small slice of everything runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import warm

from tests import tiny

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("KGREC_DATA", ROOT.parent / "shared" / "data"))
needs_beauty = pytest.mark.skipif(not (DATA / "amazon_beauty").is_dir(), reason=f"amazon_beauty is not in KGREC_DATA ({DATA})")
ENVIRONMENT = {**os.environ, "KGREC_DATA": str(DATA), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}


def asked(*words: object) -> dict:
    done = warm.run([f"examples/benchmarks/{words[0]}.py", *words[1:]], cwd=ROOT, env=ENVIRONMENT, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@needs_beauty
def test_texts_are_written_once_from_what_was_bought_but_for_the_last(tmp_path):
    model, out = tiny.model(tmp_path / "model", decoder=True), tmp_path / "texts"
    found = asked("written", out, "--model", model, "--users", "2")
    assert found["shoppers"] == found["products"] == 2
    kept = [json.loads(line) for line in (out / "texts.jsonl").read_text().splitlines()]
    assert len(kept) == 4 and all(text.startswith(("She uses", "It goes together")) for _, text in kept)
    asked("written", out, "--model", tmp_path / "gone", "--users", "2")
    assert len((out / "texts.jsonl").read_text().splitlines()) == 4


@needs_beauty
def test_the_linter_runs_on_a_small_slice():
    pytest.importorskip("kgrec_support")
    pytest.importorskip("kgrec_ecommerce")
    found = asked("linter", "--small")
    assert not found["false"] and "also_bought" in found["told"] and set(found["alarms"]) >= {"beauty", "order_book"}
