"""What the README shows runs."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_readme_runs(capsys, fitted):
    asking, following = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(compile(asking.replace("runs/news", str(fitted)), "README.md", "exec"), names)
    assert names["found"].companies.keys() == {"INFY", "TCS", "WIPRO"}
    exec(compile(following, "README.md", "exec"), {})
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) > 5_000 and any(" WMT " in row and row.endswith("$WMT") for row in shown)
