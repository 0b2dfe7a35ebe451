"""Seconds until `kgrec --help` and a domain's `--help` are printed, against bare Python with click. Median of alternated runs.

    python examples/benchmarks/startup.py [--small]

The domain is the first one installed; without any, only `kgrec --help` is timed. Prints one JSON line last.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

from kgrec_core.domain import Registry

BARE = "import click\n@click.command()\ndef main(): pass\nmain(['--help'])"
KGREC = "from kgrec_core.cli.main import main\nmain({words!r}, prog_name='kgrec')"
HEAVY = ("torch", "transformers", "faiss", "polars", "numpy", "scipy", "rich", "pyarrow", "sklearn")


def seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def imported(code: str) -> list[str]:
    """The heavy libraries that the command imports."""
    report = f"import atexit, sys\natexit.register(lambda: print(*(m for m in {HEAVY!r} if m in sys.modules), file=sys.stderr))\n"
    done = subprocess.run([sys.executable, "-c", report + code], check=True, capture_output=True, text=True)
    return done.stderr.split()


def main(small: bool) -> None:
    commands = {"bare python + click": BARE, "kgrec --help": KGREC.format(words=["--help"])}
    for name in list(Registry.discover().domains)[:1]:
        commands[f"kgrec {name} --help"] = KGREC.format(words=[name, "--help"])
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(3 if small else 21):
        for name, code in commands.items():
            times[name].append(seconds(code))
    medians = {name: round(statistics.median(found), 3) for name, found in times.items()}
    heavy = {name: imported(code) for name, code in commands.items()}
    print(
        json.dumps({"benchmark": "startup", "seconds": medians, "asked": 0.25, "heavy_imports": heavy, "runs": len(times["kgrec --help"])})
    )


if __name__ == "__main__":
    main("--small" in sys.argv[1:])
