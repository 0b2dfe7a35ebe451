"""`kgrec keys add | list | revoke`: who may ask a service."""

from __future__ import annotations

import time
from pathlib import Path

import click

from kgrec_core.printing import columns, say
from kgrec_core.serving.keys import SCOPES, Keys

FILE = click.option(
    "--file",
    type=click.Path(path_type=Path),
    default="kgrec-keys.json",
    envvar="KGREC_KEYS",
    show_default=True,
    show_envvar=True,
    help="Where keys are kept, hashed.",
)


@click.group(epilog="Example: kgrec keys add shop --scope ask --scope edit --days 90")
def keys() -> None:
    """Make, list and revoke the keys of a service; `kgrec serve --keys FILE` asks for them."""


@keys.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, default=("ask",), show_default=True, help=f"What it may: {', '.join(SCOPES)}; repeat for several."
)
@click.option("--days", type=float, help="Until it expires; without, it never does.")
@FILE
def add(name: str, scopes: tuple[str, ...], days: float | None, file: Path) -> None:
    """Make a key called NAME and print it, this once."""
    say(Keys(file).add(name, scopes, days))


@keys.command("list")
@FILE
def listed(file: Path) -> None:
    """List the keys: what each may, and until when."""
    rows = [("id", "name", "may", "made", "expires", "")]
    for key in Keys(file).all().values():
        state = "" if key.valid else "revoked" if key.revoked else "expired"
        rows.append((key.id, key.name, " ".join(key.scopes), _day(key.made), _day(key.expires), state))
    say(columns(rows))


@keys.command()
@click.argument("which")
@FILE
def revoke(which: str, file: Path) -> None:
    """Refuse a key from now on. WHICH: its id or name."""
    key = Keys(file).revoke(which)
    say(f"{key.name} ({key.id}) is refused from now on")


def _day(seconds: float | None) -> str:
    return "never" if seconds is None else time.strftime("%Y-%m-%d", time.gmtime(seconds))
