"""`kgrec DOMAIN fit` and `kgrec DOMAIN evaluate`: parse, call, print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from kgrec_core.cli.parts import columns, echo_json
from kgrec_core.cli.recipe import recipe_arguments
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.recipe import resolve


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Any]:
    """`progress(what, done, total)` as a line on stderr: stages without a length get a spinner."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True, quiet=quiet)
    )
    tasks: dict[str, Any] = {}

    def progress(what: str, done: int, total: int) -> None:
        if what not in tasks:
            for earlier in tasks.values():
                bar.update(earlier, total=1, completed=1) if bar.tasks[earlier].total is None else bar.stop_task(earlier)
            tasks[what] = bar.add_task(what, total=total or None)
        bar.update(tasks[what], completed=done, total=total or None)

    with bar:
        yield progress


@click.command(epilog="Example: kgrec ecommerce fit --run runs/shop --recipe shop.toml train.epochs=1")
@recipe_arguments
@click.option("--run", "folder", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="Where the run is written.")
@click.option("--json", "as_json", is_flag=True, help="Print metrics.json, no progress.")
@click.pass_obj
def fit(domain: Domain, recipes: tuple[Path, ...], settings: tuple[str, ...], folder: Path, as_json: bool) -> None:
    """Fine-tune, compare before and after, test once and write a run. Killed, the same command goes on where it was."""
    recipe = resolve(domain.recipe, *recipes, settings)
    from kgrec_core.pipeline import fit as run_pipeline

    with progress_bar(quiet=as_json) as progress:
        run = run_pipeline(recipe, folder, progress=progress)
    if as_json:
        echo_json(run.metrics)
    else:
        click.echo(figures(run.metrics))
        click.echo(f"\nrun folder: {run.folder}")


@click.command(epilog="Example: kgrec ecommerce evaluate --run runs/shop")
@click.option("--run", "folder", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="A run folder.")
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE", help="Labelled rows the run has not seen, as its own events.")
@click.option("--allow", multiple=True, metavar="FILE:PART", help="A part from a file that may be executed.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def evaluate(folder: Path, data: Path | None, allow: tuple[str, ...], as_json: bool) -> None:
    """Print the test figures of a run, or score it on new labelled rows."""
    from kgrec_core.run.run import open_run

    run = open_run(folder, allow)
    if data is None:
        found = run.metrics
    else:
        from kgrec_core.run.labelled import evaluate_file

        found = evaluate_file(run, data)
    echo_json(found) if as_json else click.echo("\n\n".join(filter(None, (figures(found), _left_out(found.get("skipped", {}))))))


def _left_out(skipped: dict[str, dict[str, Any]]) -> str:
    """A line for every task of which rows could not be scored."""
    lines = []
    for task, why in skipped.items():
        counts = ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in why.items() if what != "reason" and n)
        lines += [f"{task}, left out: {why.get('reason') or counts}"] if counts or "reason" in why else []
    return "\n".join(lines)


def figures(metrics: dict[str, Any]) -> str:
    """The test figures as a table for people."""
    from kgrec_core.evaluation.rank_tables import SYSTEMS

    blocks = []
    for task, of in metrics["tasks"].items():
        for case, found in {"": of["test"], **of["test"].get("variants", {})}.items():
            names = ("accuracy", "macro_f1") if "accuracy" in found["after"] else ("ndcg@10", "recall@20", "mrr", "hit_rate@10")
            head = ", ".join(filter(None, (task, case.replace("_", " "))))
            rows = [[head, *names]]
            systems = [(f"floor: {name}", values) for name, values in found["floor"].items()]
            systems += [(name.replace("_", " "), found[name]) for name in SYSTEMS if name in found]
            rows += [[name, *(_cell(values.get(metric)) for metric in names)] for name, values in systems]
            for name, values in found["gain"].items():
                rows.append([f"gain: {name.replace('_', ' ')}", *(_cell(values.get(metric), signed=True) for metric in names)])
            blocks.append(columns(rows))
    return "\n\n".join([*blocks, *metrics.get("dropped", [])])


def _cell(value: dict[str, float] | None, signed: bool = False) -> str:
    if value is None:
        return "-"
    sign = "+" if signed else ""
    return f"{value['mean']:{sign}.4f} [{value['low']:{sign}.4f}, {value['high']:{sign}.4f}]"
