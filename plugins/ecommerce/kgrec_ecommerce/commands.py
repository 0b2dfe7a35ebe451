"""The words of `kgrec ecommerce`: each parses, calls the function of the same name, and prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kgrec_core.cli.parts import as_json, columns, echo_json
from kgrec_core.cli.recipe import recipe_arguments
from kgrec_core.cli.run import DEMO, run_arguments
from kgrec_core.recipe.components import Domain

if TYPE_CHECKING:
    from kgrec_core.run.run import Answer, Run


FEW = {"train": {"steps": 40}, "retrieval": {"buys": {"windows": 1}}}  # of the demo: minutes, not the best figures


def _listed(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every question has."""
    where = click.option("--where", metavar="SQL", help="Only products for which this holds, e.g. 'price < 5'.")
    count = click.option("-k", "--top", "k", default=10, show_default=True, metavar="N", help="How many products.")
    return run_arguments(count(where(as_json(command))))


@click.command(epilog="Example: kgrec ecommerce demo --run runs/demo train.epochs=1")
@recipe_arguments
@click.option("--run", "folder", type=click.Path(path_type=Path), default=DEMO, show_default=True, help="Where the run is written.")
@as_json
@click.pass_obj
def demo(domain: Domain, recipes: tuple[Path, ...], settings: tuple[str, ...], folder: Path, as_json: bool) -> None:
    """Fit the embedded order book of a gift shop, show what was gained over a strong baseline, and recommend."""
    from kgrec_core.cli.fit import figures, progress_bar
    from kgrec_core.pipeline import fit
    from kgrec_core.recipe.recipe import resolve

    with progress_bar(quiet=as_json) as progress:
        run = fit(resolve(domain.recipe, FEW, *recipes, settings), folder, progress=progress)
    user = _regular(run)
    if as_json:
        from kgrec_ecommerce.shop import recommend

        echo_json({"run": str(run.folder), "metrics": run.metrics, "user": user, "recommended": _rows(recommend(run, user))})
        return
    click.echo(figures(run.metrics))
    click.echo(f"\n{_example(run, user)}\n\nrun folder: {run.folder}")
    click.echo(f"next: kgrec ecommerce recommend --run {run.folder} --user {user} --where 'price < 5'")
    click.echo(f"      kgrec ecommerce report --run {run.folder}")


@click.command(epilog="Example: kgrec ecommerce recommend --history 22423,21212 -k 5 --where 'price < 5'")
@asking
@click.option("--user", metavar="ID", help="A known customer.")
@click.option("--history", metavar="ID,ID", help="Products chosen so far, oldest first; after those of --user.")
@click.option("--text", metavar="WORDS", help="What is looked for, in words.")
@click.option("--exclude", metavar="ID,ID", help="Products left out.")
@click.option("--new", is_flag=True, help="Only products that nobody has bought yet.")
def recommend(
    folder: Path,
    allow: tuple[str, ...],
    k: int,
    where: str | None,
    as_json: bool,
    user: str | None,
    history: str | None,
    text: str | None,
    exclude: str | None,
    new: bool,
) -> None:
    """Recommend products for a customer, a history, words, or any of these together."""
    from kgrec_core.run.run import open_run
    from kgrec_ecommerce import shop

    _show(shop.recommend(open_run(folder, allow), user, _listed(history), text, k, where, _listed(exclude), new), as_json)


@click.command(epilog="Example: kgrec ecommerce similar 22423 -k 5")
@click.argument("item")
@asking
def similar(folder: Path, allow: tuple[str, ...], k: int, where: str | None, as_json: bool, item: str) -> None:
    """Show the products most like product ITEM."""
    from kgrec_core.run.run import open_run
    from kgrec_ecommerce import shop

    _show(shop.similar(open_run(folder, allow), item, k, where), as_json)


@click.command("add-items", epilog="Example: kgrec ecommerce add-items new.csv --run runs/demo")
@click.argument("file", type=click.Path(path_type=Path))
@run_arguments
@as_json
def add_items(folder: Path, allow: tuple[str, ...], file: Path, as_json: bool) -> None:
    """Add the products of FILE (CSV, TSV, Parquet, JSONL; columns as in the run's recipe): recommendable at once, no training."""
    from kgrec_core.run.run import open_run
    from kgrec_ecommerce import shop

    added = shop.add_items(open_run(folder, allow), file)
    if as_json:
        echo_json(added._asdict())
    else:
        click.echo(f"{len(added.new)} added, {len(added.changed)} changed; {folder} recommends them from now on")


def _show(answers: Sequence[Answer], as_json: bool) -> None:
    echo_json(_rows(answers)) if as_json else click.echo(_table(answers))


def _rows(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    return [answer._asdict() for answer in answers]


def _table(answers: Sequence[Answer]) -> str:
    names = list(dict.fromkeys(name for answer in answers for name in answer.attributes if name not in ("since", "until")))
    rows = [("", "id", *names, "score", "text")]
    for place, answer in enumerate(answers, 1):
        attributes = [_written(answer.attributes.get(name)) for name in names]
        rows.append((str(place), answer.id, *attributes, f"{answer.score:.3f}", answer.text or ""))
    return columns(rows)


def _written(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _regular(run: Run) -> str:
    """The customer with the median number of events among those with at least ten: neither a stranger nor a wholesaler."""
    import numpy as np

    relation = run.tasks[0].relation
    events = run.graph.degree(relation, np.arange(run.graph.size(relation.source)))
    order = np.argsort(events, kind="stable")
    order = order[events[order] >= min(10, events.max())]
    return run.graph.gather(relation.source, [order[len(order) // 2]], "id").item()


def _example(run: Run, user: str) -> str:
    from kgrec_ecommerce.shop import recommend

    relation, graph = run.tasks[0].relation, run.graph
    met = graph.adjacent(relation, graph.rows(relation.source, [user]), last=8).rows[::-1]
    names = graph.gather(relation.target, met)
    bought = columns([(f"  {row['id']}", row.get("text") or "") for row in names.to_dicts()])
    return f"Customer {user} bought lately:\n{bought}\n\nRecommended:\n{_table(recommend(run, user, k=8))}"
