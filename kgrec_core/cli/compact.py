"""`kgrec compact RUN`: publish a run again with its edits baked in, so that it opens as fast as without them."""

from __future__ import annotations

from pathlib import Path

import click

from kgrec_core.cli.run import allow, run
from kgrec_core.printing import say


@click.command(epilog="Example: kgrec compact runs/shop")
@run
@allow
def compact(run: Path, allow: tuple[str, ...]) -> None:
    """Bake the edits of RUN into it. They can no longer be undone; processes that have it open go on undisturbed."""
    from kgrec_core.run import carry
    from kgrec_core.run.run import open_run

    baked = carry.compact(open_run(run, allow))
    say(f"{baked:,} edits are baked into {run}; they can no longer be undone" if baked else f"{run} has no edits to bake in")
