"""`kgrec DOMAIN check`: is a recipe, with its files, ready for `fit`?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kgrec_core.cli.recipe import recipe_options
from kgrec_core.cli.run import JSON
from kgrec_core.cli.verbs import Explained, given_values, options_of
from kgrec_core.errors import KgrecError
from kgrec_core.printing import say, say_json
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.registry import load_target
from kgrec_core.requests import about, made

STRICT = click.Option(["--strict", "_strict"], is_flag=True, help="A doubt about the data is an error.")
LEAK = click.Option(["--allow-leak", "_leak"], is_flag=True, help="Let a relation pass that is a task's target in disguise.")


def said_of(strict: bool, leak: bool) -> dict[str, Any]:
    """What the two options say, as the last layer of a recipe."""
    told = {**({"strict": True} if strict else {}), **({"allow_leak": True} if leak else {})}
    return {"fit": told} if told else {}


def check_command(domain: Domain) -> click.Command:
    """`check`, with the options of `fit` for the domain's own files."""

    def check(_recipe: tuple[str | Path, ...], _settings: tuple[str, ...], _strict: bool, _leak: bool, _json: bool, **given: Any) -> None:
        from kgrec_core.data.summary import told
        from kgrec_core.jobs.check import checked, every

        try:
            files = made(own, given_values(given), "check", typed=True).layer() if own else {}
            summary = checked(domain, (files, *_recipe, _settings, said_of(False, _leak)), _strict)
        except KgrecError as error:
            mistakes = every(error)
            say_json({"mistakes": mistakes}) if _json else click.echo("\n".join(f"error: {told}" for told in mistakes), err=True)
            raise SystemExit(2) from None
        say_json(summary.to_json() | {"mistakes": []}) if _json else say("\n".join([*told(summary.to_json()), "no mistake was found"]))

    own = load_target(domain.files, f"domain '{domain.name}'") if domain.files else None
    said = about(own)[0] if own else ""
    text = "Load and check a recipe and its files without fitting: every mistake at once, and what was read."
    params = [*recipe_options(), *(options_of(own) if own else ()), STRICT, LEAK, JSON]
    example = f"Example: kgrec {domain.name} check --recipe mine.toml --strict"
    return Explained("check", params=params, callback=check, help="\n\n".join(filter(None, (text, said))), epilog=f"\b\n{example}")
