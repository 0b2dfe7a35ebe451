"""`kgrec DOMAIN tune`: a better recipe than the one that is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kgrec_core.cli.progress import progress_bar
from kgrec_core.cli.recipe import recipe_options
from kgrec_core.cli.run import FILE, JSON
from kgrec_core.cli.verbs import Explained, given_values, options_of
from kgrec_core.jobs.tune import TUNE, minutes_of, tuned
from kgrec_core.printing import say, say_json
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.registry import load_target
from kgrec_core.requests import about, made


def tune_command(domain: Domain) -> click.Command:
    """`tune`, with options for the domain's own files."""

    def tune(
        _recipe: tuple[str | Path, ...], _settings: tuple[str, ...], _out: Path, _trials: int, _time: str, _json: bool, **given: Any
    ) -> None:
        files = made(own, given_values(given), "tune", typed=True).layer() if own else {}
        with progress_bar(quiet=_json) as progress:
            found = tuned(domain, _out, (files, *_recipe, _settings), _trials, minutes_of(_time), progress)
        if _json:
            say_json(found._asdict())
            return
        lines = [f"{key} = {value}" for key, value in found.settings.items()]
        say(
            "\n".join(
                [
                    *lines,
                    f"select: {found.value:.4f}, the recipe's own settings {found.own:.4f}; {found.trials} trials, {found.cut} cut short",
                ]
            )
        )
        say(f"\nkgrec {domain.name} fit --recipe {found.file} --run FOLDER")

    own = load_target(domain.files, f"domain '{domain.name}'") if domain.files else None
    said = about(own)[0] if own else ""
    params = [
        *recipe_options(),
        click.Option(["--out", "_out"], type=FILE, default=Path("tuned"), show_default=True, metavar="FOLDER",
                     help="Of the study and of best.toml; the same command goes on with it."),
        click.Option(["--trials", "_trials"], type=click.IntRange(1), default=30, show_default=True, metavar="N", help="In all, earlier ones counted."),
        click.Option(["--time", "_time"], default="0", metavar="1h", help="At most so long: 90s, 30m, 1h; 0 = as long as it takes."),
        *(options_of(own) if own else ()),
        JSON,
    ]  # fmt: skip
    example = f"Example: kgrec {domain.name} tune --trials 30 --time 1h --recipe mine.toml"
    return Explained("tune", params=params, callback=tune, help="\n\n".join(filter(None, (TUNE, said))), epilog=f"\b\n{example}")
