"""What the scripts of this folder that fit a recipe share: where the data sets are, what such a script is asked, and how far it is."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

DATA = Path(os.environ.get("KGREC_DATA", "../shared/data")).absolute()


def stored(name: str, folder: Path = DATA) -> Path:
    """The data set of that name; where it is not, the script ends with code 2 and one line that says where it was looked for."""
    if not (folder / name).exists():
        print(f"no data set {name} in {folder}; KGREC_DATA names the folder of the sets", file=sys.stderr)
        raise SystemExit(2)
    return folder / name


def about(doc: str) -> argparse.ArgumentParser:
    """A parser for a script's own options; its help is the first line of the script's docstring."""
    return argparse.ArgumentParser(description=doc.splitlines()[0])


def asked_of(parser: argparse.ArgumentParser, small: str | None = None) -> argparse.Namespace:
    """What is asked, with what all of them take: --seed, --small (`small` says what it leaves) and settings above the recipe's."""
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help=small)
    parser.add_argument("settings", nargs="*", metavar="section.key=value")
    return parser.parse_intermixed_args()


class Clock:
    """Runs from when it is made; as a fit's `progress` it prints each stage with the seconds so far, of long stages every `every`-th part."""

    def __init__(self, every: int = 1, label: str = "") -> None:
        self.every, self.label, self.began = every, label, time.monotonic()

    @property
    def seconds(self) -> int:
        return round(time.monotonic() - self.began)

    def __call__(self, what: str, done: int, total: int) -> None:
        if not total or done % self.every == 0:
            print(f"{self.label}{self.seconds:6} s  {what}", f"{done}/{total}" if total else "", flush=True)
