"""The options that commands share: how a run is named, what of it may be executed, and whether a machine reads the answer."""

from __future__ import annotations

from pathlib import Path

import click

DEMO = Path("runs/demo")
FILE = click.Path(path_type=Path)
_MAY = {"multiple": True, "metavar": "FILE:PART", "help": "A part from a file that may be executed."}

run = click.argument("run", type=FILE)
allow = click.option("--allow", **_MAY)
as_json = click.option("--json", "as_json", is_flag=True, help="For machines.")
JSON = click.Option(["--json", "_json"], is_flag=True, help="For machines.")


def run_options(optional: bool = False) -> list[click.Option]:
    """`--run` and `--allow` as parameters `_run` and `_allow` of a command; optional: without a default."""
    shown = {} if optional else {"default": DEMO, "show_default": True}
    told = {"type": FILE, "envvar": "KGREC_RUN", "metavar": "FOLDER", "show_envvar": True, "help": "The run to ask."}
    return [click.Option(["--run", "_run"], **told, **shown), click.Option(["--allow", "_allow"], **_MAY)]
