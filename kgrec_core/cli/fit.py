"""`kgrec DOMAIN fit` and `kgrec DOMAIN demo`, with the options that the domain declares."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

from kgrec_core import devices
from kgrec_core.cli.check import LEAK, STRICT, said_of
from kgrec_core.cli.progress import progress_bar
from kgrec_core.cli.recipe import recipe_options
from kgrec_core.cli.run import DEMO, FILE, JSON
from kgrec_core.cli.verbs import Explained, given_values, options_of
from kgrec_core.jobs.fit import FIT, fitted
from kgrec_core.printing import came_to, figures, say, say_json
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.registry import load_target
from kgrec_core.requests import about, as_data, made


def fit_command(domain: Domain) -> click.Command:
    """`fit`, with options for the domain's own files."""
    example = f"Example: kgrec {domain.name} fit --run runs/mine --recipe mine.toml train.epochs=1"

    def fit(
        _recipe: tuple[str | Path, ...],
        _settings: tuple[str, ...],
        _run: Path,
        _json: bool,
        _verbose: bool,
        _strict: bool,
        _leak: bool,
        **given: Any,
    ) -> None:
        files = made(own, given_values(given), "fit", typed=True).layer() if own else {}
        with progress_bar(quiet=_json) as progress, redirect_stdout(sys.stderr):  # what libraries print is no part of the answer
            run, told = fitted(domain, _run, (files, *_recipe, _settings, said_of(_strict, _leak)), progress)
        say_json(run.metrics) if _json else say(
            "\n\n".join(filter(None, (shown(run.metrics, _verbose), told, f"run folder: {run.folder}")))
        )

    own = load_target(domain.files, f"domain '{domain.name}'") if domain.files else None
    return _command("fit", own, fit, FIT, example, click.Option(["--run", "_run"], required=True, **FOLDER), STRICT, LEAK)


def demo_command(domain: Domain) -> click.Command:
    """`demo`: a small fit of what is embedded in the plugin, and what the domain shows of it."""

    def demo(_recipe: tuple[str | Path, ...], _settings: tuple[str, ...], _run: Path, _json: bool, _verbose: bool, **given: Any) -> None:
        asked = made(own, given_values(given), "demo", typed=True)
        with progress_bar(quiet=_json) as progress, redirect_stdout(sys.stderr):
            run, told = fitted(domain, _run, (asked.layer(), *_recipe, _settings), progress)
        if not devices.main():
            return
        if not _json:
            say("\n\n".join(filter(None, (shown(run.metrics, _verbose), told))) + "\n")
        with progress_bar(quiet=_json) as progress:
            progress("asking the run", 0, 0)
            found = asked.shown(run)
        say_json({"run": str(run.folder), "metrics": run.metrics, **as_data(found)}) if _json else say(asked.told(run, found))

    own = load_target(domain.demo, f"domain '{domain.name}'")
    example = f"Example: kgrec {domain.name} demo --run {DEMO}"
    return _command("demo", own, demo, "", example, click.Option(["--run", "_run"], default=DEMO, show_default=True, **FOLDER))


def shown(metrics: dict[str, Any], verbose: bool) -> str:
    from kgrec_core.data.summary import told
    from kgrec_core.report.verdict import apart

    data = "\n".join(told(metrics["data"])) if "data" in metrics else ""
    leaks = "\n".join(f"{leak['grade']}: {leak['where']}: {leak['said']}" for leak in metrics.get("leaks", ()))
    every = [*dict.fromkeys(map(apart, metrics["tasks"].values())), figures(metrics)] if verbose else []
    return "\n\n".join(filter(None, (data, leaks, came_to(metrics), *every)))


FOLDER: dict[str, Any] = {"type": FILE, "metavar": "FOLDER", "help": "Where the run is written."}


def _command(word: str, own: type | None, callback: Any, text: str, example: str, *more: click.Option) -> click.Command:
    said, shown = about(own) if own else ("", "")
    params = [
        *recipe_options(),
        *more,
        *(options_of(own) if own else ()),
        JSON,
        click.Option(["--verbose", "_verbose"], is_flag=True, help="All systems and gains, not the verdict alone."),
    ]
    return Explained(word, params=params, callback=callback, help="\n\n".join(filter(None, (text, said))), epilog=f"\b\n{shown or example}")
