"""What is imported before a fork leaves no threads of polars' behind, which the child would wait for."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import glob
import kgrec_core.pipeline, kgrec_core.run.run, kgrec_core.serving.app, kgrec_ecommerce, kgrec_finance.articles.data, kgrec_support.entries
names = {open(file).read().strip() for file in glob.glob("/proc/self/task/*/comm")}
print(sorted(name for name in names if name.removeprefix("polars-").isdigit()))
"""


def test_nothing_asks_polars_when_it_is_imported():
    assert subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=300).stdout.strip() == "[]"
