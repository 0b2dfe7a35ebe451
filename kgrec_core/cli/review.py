"""`kgrec review RUN`: what is held back of a run's answers, and a person's decisions on it."""

from __future__ import annotations

import getpass
import os
import time
from itertools import combinations
from pathlib import Path

import click

from kgrec_core.cli.run import FILE, as_json, run
from kgrec_core.errors import KgrecError
from kgrec_core.printing import columns, say, say_json

SHOWN, WIDE = 50, 70  # lines; letters of a text


@click.command(epilog="\b\nExample: kgrec review runs/shop\nExample: kgrec review runs/shop --allow 22423 --why 'a cake knife'")
@run
@click.option("--allow", "allowed", multiple=True, metavar="ID", help="Show it from now on; repeat for several.")
@click.option("--block", "blocked", multiple=True, metavar="ID", help="Never show it; repeat for several.")
@click.option("--undo", "opened", multiple=True, metavar="ID", help="Take the decision on it back.")
@click.option("--why", default="", help="Kept with the decision.")
@click.option("--by", default=None, metavar="NAME", help="Who decides; by default the user of this machine.")
@click.option("--scan", is_flag=True, help="Ask the rules' classifier about every text that it has not seen.")
@click.option("--decided", is_flag=True, help="List the decisions instead.")
@click.option("--out", type=FILE, metavar="FILE.csv", help="Write the decisions, to fit a classifier on.")
@as_json
def review(
    run: Path,
    allowed: tuple[str, ...],
    blocked: tuple[str, ...],
    opened: tuple[str, ...],
    why: str,
    by: str | None,
    scan: bool,
    decided: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """List what RUN.safety.toml holds back of RUN's answers, or decide on it; in force at once, in every process, and for the next fit."""
    from kgrec_core.run import review as reviews
    from kgrec_core.run.run import open_run

    told = {"allowed": allowed, "blocked": blocked, "undone": opened}
    for (one, ids), (other, others) in combinations(told.items(), 2):
        if twice := set(ids) & set(others):
            raise KgrecError(f"{min(twice)} is to be {one} and {other}; choose one")
    of = open_run(run)
    reviews.decide_each(of.snapshot, {"allow": allowed, "block": blocked, "open": opened}, by or _user(), why)
    if scan:
        say(f"{reviews.scan(of):,} texts were looked at")
    if out is not None:
        say(f"{reviews.export(of.snapshot, out):,} decisions written to {out}")
    found = reviews.decided(of.snapshot) if decided else reviews.queue(of.snapshot)
    if as_json:
        say_json([one._asdict() for one in found])
    elif decided:
        rows = [
            (one.id, one.verdict, time.strftime("%Y-%m-%d", time.gmtime(one.at)), one.by, _short(one.why), _short(one.text))
            for one in found
        ]
        say(columns([("id", "verdict", "when", "by", "why", "text"), *rows[:SHOWN]]) if rows else "nothing was decided")
    else:
        say(
            columns([("id", "held by", "text"), *((one.id, one.why, _short(one.text)) for one in found[:SHOWN])])
            if found
            else "nothing waits"
        )
    if len(found) > SHOWN and not as_json:
        say(f"and {len(found) - SHOWN:,} more; --json lists all")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # of a container's user nothing but the number may be known
        return str(os.getuid())


def _short(text: str) -> str:
    return text if len(text) <= WIDE else text[: WIDE - 1] + "…"
