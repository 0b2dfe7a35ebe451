"""`kgrec DOMAIN recipe`, and the recipe arguments that the commands of a domain share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.recipe import resolve


def recipe_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--recipe FILE` (several; a later one wins) and `section.key=value ...`: parameters `recipes` and `settings`.

    A command then calls `resolve(domain.recipe, *recipes, settings)`.
    """
    command = click.argument("settings", nargs=-1, metavar="[SECTION.KEY=VALUE]...")(command)
    file = click.Path(path_type=Path)
    return click.option("--recipe", "recipes", multiple=True, type=file, metavar="FILE", help="A layer over the domain's recipe.")(command)


@click.command(epilog="Example: kgrec ecommerce recipe --recipe mine.toml train.epochs=1 > whole.toml")
@recipe_arguments
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_obj
def recipe(domain: Domain, recipes: tuple[Path, ...], settings: tuple[str, ...], as_json: bool) -> None:
    """Print the recipe that the domain, the files and the settings give."""
    resolved = resolve(domain.recipe, *recipes, settings)
    click.echo(json.dumps(resolved.tables, indent=2, default=str) if as_json else resolved.dumps(), nl=as_json)
