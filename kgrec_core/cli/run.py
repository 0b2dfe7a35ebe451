"""`--run FOLDER` and `--allow`: how every command that asks a run names it."""

from __future__ import annotations

from pathlib import Path

import click

DEMO = Path("runs/demo")


def run_options(optional: bool = False) -> list[click.Option]:
    """`--run` and `--allow` as parameters `_run` and `_allow` of a command; optional: without a default."""
    shown = {} if optional else {"default": DEMO, "show_default": True}
    folder = click.Option(
        ["--run", "_run"],
        type=click.Path(path_type=Path),
        envvar="KGREC_RUN",
        metavar="FOLDER",
        show_envvar=True,
        help="The run to ask.",
        **shown,
    )
    return [
        folder,
        click.Option(["--allow", "_allow"], multiple=True, metavar="FILE:PART", help="A part from a file that may be executed."),
    ]
