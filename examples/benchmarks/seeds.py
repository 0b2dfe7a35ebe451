"""A row over several seeds: a benchmark is run with each, in a process of its own, and every figure gets its mean, lowest and highest.

    python examples/benchmarks/seeds.py banking77 [--seeds 0 1 2] [--to seeds.jsonl] [what the script takes ...]
    python examples/benchmarks/seeds.py finance_phrasebank --to phrasebank.jsonl encoder.model=models/mpnet

The script is one of this folder, or a file. --to keeps the line of each seed: with the same file, a command that was killed asks the others only.
One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def figures(found: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Every number by its place, a.b.0."""
    if isinstance(found, dict | list):
        for key, value in found.items() if isinstance(found, dict) else enumerate(found):
            yield from figures(value, f"{place}.{key}" if place else str(key))
    elif isinstance(found, int | float) and not isinstance(found, bool):
        yield place, float(found)


def told(script: Path, seed: int, given: Sequence[str]) -> dict[str, Any]:
    """The JSON object in the last line of the script's output, whose other lines are passed on."""
    print(f"seed {seed}", file=sys.stderr, flush=True)
    command, last = [sys.executable, str(script), "--seed", str(seed), *given], ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout:
            print(line, end="", file=sys.stderr, flush=True)
            last = line if line.strip() else last
    if running.returncode:
        raise SystemExit(f"{script.name} ended with {running.returncode} for seed {seed}")
    return json.loads(last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("script", help="of this folder, or a file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--to", type=Path, help="a line of JSON for every seed that has been asked")
    asked, given = parser.parse_known_args()
    script = Path(asked.script) if asked.script.endswith(".py") else Path(__file__).with_name(f"{asked.script}.py")
    if not script.is_file():
        raise SystemExit(f"there is no {script}")
    lines = asked.to.read_text().splitlines() if asked.to and asked.to.exists() else []
    known = {found["seed"]: found for found in map(json.loads, lines) if found.pop("settings") == given}
    for seed in asked.seeds:
        if seed not in known:
            known[seed] = told(script, seed, given)
            if asked.to:
                with asked.to.open("a") as out:
                    out.write(json.dumps({**known[seed], "seed": seed, "settings": given}) + "\n")
    every: dict[str, list[float]] = {}
    for seed in asked.seeds:
        for place, value in figures(known[seed]):
            every.setdefault(place, []).append(value)
    every.pop("seed", None)
    summed = {
        p: {"mean": round(statistics.mean(v), 6), "low": min(v), "high": max(v)} for p, v in every.items() if len(v) == len(asked.seeds)
    }
    print(json.dumps({"benchmark": "seeds", "script": script.stem, "given": given, "seeds": asked.seeds, "figures": summed}))


if __name__ == "__main__":
    main()
