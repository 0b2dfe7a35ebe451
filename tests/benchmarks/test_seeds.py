"""A row over several seeds: means of what a script says, and what was asked before is not asked again."""

import json
from pathlib import Path

import warm

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, sys
seed = int(sys.argv[sys.argv.index("--seed") + 1])
open("asked.txt", "a").write(f"{seed} ")
print("on its way")
print(json.dumps({"benchmark": "this", "seed": seed, "of": [seed * 2, {"alone": 1.5}], "given": 7} | ({"odd": 1} if seed else {})))
"""


def test_each_seed_is_asked_once(tmp_path):
    (tmp_path / "this.py").write_text(SCRIPT)
    words = [ROOT / "examples/benchmarks/seeds.py", tmp_path / "this.py", "--to", tmp_path / "kept.jsonl", "train.epochs=2"]
    first = warm.run([*words, "--seeds", "0", "1"], cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    found = json.loads(warm.run([*words, "--seeds", "0", "1", "4"], cwd=tmp_path).stdout.splitlines()[-1])
    assert (tmp_path / "asked.txt").read_text().split() == ["0", "1", "4"] and found["given"] == ["train.epochs=2"]
    assert found["figures"]["of.0"] == {"mean": 10 / 3, "low": 0, "high": 8} | {"mean": 3.333333} and "odd" not in found["figures"]
    warm.run([*words[:-1], "--seeds", "0"], cwd=tmp_path)
    assert (tmp_path / "asked.txt").read_text().split() == ["0", "1", "4", "0"]  # with other settings it is another row
    (tmp_path / "this.py").write_text("raise SystemExit(3)")
    failed = warm.run([words[0], tmp_path / "this.py"], cwd=tmp_path)
    assert failed.returncode != 0 and "this.py ended with 3 for seed 0" in failed.stderr
