"""`kgrec DOMAIN recipe`, and the recipe arguments that the commands of a domain share."""

from __future__ import annotations

import re
from pathlib import Path

import click

from kgrec_core.cli.run import JSON
from kgrec_core.printing import say_json
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.recipe import resolve

PACKAGED = re.compile(r"[A-Za-z_][\w.]*:[\w./-]+\.toml")


class Layer(click.ParamType):
    """A file, or one that a package brings, as text: "kgrec_core:beside.toml"."""

    name = "file"

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> str | Path:
        packaged = isinstance(value, str) and PACKAGED.fullmatch(value) and not Path(value).exists()
        return value if packaged else Path(value)


def recipe_options() -> list[click.Parameter]:
    """`--recipe FILE` (several; a later one wins; of a package: `package:FILE.toml`) and `section.key=value ...`: parameters `_recipe` and `_settings`.

    A command then calls `resolve(domain.recipe, *_recipe, _settings)`.
    """
    return [
        click.Option(["--recipe", "_recipe"], multiple=True, type=Layer(), metavar="FILE", help="A layer over the domain's recipe."),
        click.Argument(["_settings"], nargs=-1, metavar="[SECTION.KEY=VALUE]..."),
    ]


def recipe_command(domain: Domain) -> click.Command:
    """`recipe`."""

    def recipe(_recipe: tuple[str | Path, ...], _settings: tuple[str, ...], _json: bool) -> None:
        resolved = resolve(domain.recipe, *_recipe, _settings)
        say_json(resolved.tables) if _json else click.echo(resolved.dumps(), nl=False)

    return click.Command(
        "recipe",
        params=[*recipe_options(), JSON],
        callback=recipe,
        help="Print the recipe that the domain, the files and the settings give.",
        epilog=f"Example: kgrec {domain.name} recipe --recipe mine.toml train.epochs=1 > whole.toml",
    )
