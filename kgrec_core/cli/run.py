"""`--run FOLDER` and `--allow`: how every command that asks a run names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

DEMO = Path("runs/demo")


def run_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--run` and `--allow`: parameters `folder` and `allow`. A command then calls `open_run(folder, allow)`."""
    allow = click.option("--allow", multiple=True, metavar="FILE:PART", help="A part from a file that may be executed.")
    folder = click.option(
        "--run", "folder", type=click.Path(path_type=Path), envvar="KGREC_RUN", default=DEMO, metavar="FOLDER", show_default=True,
        show_envvar=True, help="The run to ask.",
    )  # fmt: skip
    return folder(allow(command))


def run_options(optional: bool = False) -> list[click.Option]:
    """The same for commands that come from a verb: parameters `_run` and `_allow`; optional: without a default."""
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
