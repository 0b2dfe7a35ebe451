"""`kgrec finance demo | fit | classify`: each parses, calls what Python users call, and prints. `evaluate` is the core's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kgrec_core.cli.parts import as_json, echo_json
from kgrec_core.cli.recipe import recipe_arguments
from kgrec_core.cli.run import DEMO, run_arguments
from kgrec_core.recipe.components import Domain

if TYPE_CHECKING:
    from kgrec_core.recipe.recipe import Layer
    from kgrec_core.run.run import Run
    from kgrec_finance.articles.classify import Classified, Opinion

FEW = {"data": {"headlines": 2500}, "train": {"epochs": 2.0, "contrastive": 0.25}}  # of the demo: minutes, not the best figures
SHOWN = ("Infosys falls as TCS gains on strong order book", "Gold flat ahead of Fed meeting")
SPLIT = {"by": "random", "group": "group", "test": 0.2, "validation": 0.2}  # of a file without a column split


@click.command(epilog="Example: kgrec finance fit --run runs/news --articles news.csv --companies companies.csv train.epochs=2")
@recipe_arguments
@click.option("--run", "folder", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="Where the run is written.")
@click.option("--articles", type=click.Path(path_type=Path), metavar="FILE", help="text or title, and sentiment, topic, entity_sentiment.")
@click.option("--companies", type=click.Path(path_type=Path), metavar="FILE", help="id or name; ticker, aliases, sector, suppliers.")
@click.option("--labels", type=click.Path(path_type=Path), metavar="FILE", help="What labels mean: task, label, text.")
@as_json
@click.pass_obj
def fit(domain: Domain, recipes: tuple[Path, ...], settings: tuple[str, ...], folder: Path, as_json: bool, **files: Path | None) -> None:
    """Fine-tune, compare before and after, test once and write a run. Killed, the same command goes on where it was.

    Without a file the embedded sample is learned. A fifth of the articles is the test, unless the file has a column `split`.
    """
    from kgrec_core.cli.fit import figures

    run = _fitted(domain, (_own_files(files), *recipes, settings), folder, as_json)
    echo_json(run.metrics) if as_json else click.echo(f"{figures(run.metrics)}\n\nrun folder: {run.folder}")


@click.command(epilog='Example: kgrec finance classify "Infosys falls as TCS gains" --run runs/news')
@click.argument("text")
@click.option("--company", "companies", multiple=True, metavar="NAME", help="Also towards this company; several times.")
@click.option("--like", "shown", type=click.IntRange(0), default=3, show_default=True, metavar="N", help="Past articles that are shown.")
@click.option("--labels", type=click.Path(path_type=Path), metavar="FILE", help="Labels that are only described: task, label, text.")
@run_arguments
@as_json
@click.pass_obj
def classify(
    domain: Domain,
    folder: Path,
    allow: tuple[str, ...],
    text: str,
    companies: tuple[str, ...],
    shown: int,
    labels: Path | None,
    as_json: bool,
) -> None:
    """Sentiment and topic of TEXT (- reads it from standard input), sentiment towards each company, and past articles like it.

    With --labels also, or without a run only, which of these labels the text is nearest to by what they mean: no examples are needed.
    """
    from kgrec_core.recipe.recipe import resolve
    from kgrec_core.run.run import open_run
    from kgrec_finance.articles import classify as classifying
    from kgrec_finance.articles.data import open_labels

    text = click.get_text_stream("stdin").read() if text == "-" else text
    run = None if labels and not folder.exists() else open_run(folder, allow)
    found = classifying.classify(run, text, companies, shown=shown) if run else None
    if labels:
        recipe = run.recipe if run else resolve(domain.recipe)
        more = classifying.by_description(text, open_labels(labels), recipe.tables["encoder"])
        found = found._replace(tasks={**found.tasks, **more.tasks}) if found else more
    echo_json(found.to_json()) if as_json else click.echo(told(found))


@click.command(epilog="Example: kgrec finance demo --run runs/demo data.headlines=5000")
@recipe_arguments
@click.option("--run", "folder", type=click.Path(path_type=Path), default=DEMO, show_default=True, help="Where the run is written.")
@click.option("--to", "until", metavar="DATE", default="2015-11-01", show_default=True, help="Watch the tweets before this day.")
@as_json
@click.pass_obj
def demo(domain: Domain, recipes: tuple[Path, ...], settings: tuple[str, ...], folder: Path, until: str, as_json: bool) -> None:
    """Fit some of the embedded headlines, show figures, classify two headlines, and watch four months of tweets as they came."""
    from kgrec_core.cli.fit import figures
    from kgrec_finance.articles import classify as classifying

    run = _fitted(domain, (FEW, *recipes, settings), folder, as_json)
    found = [classifying.classify(run, text, shown=1) for text in SHOWN]
    state = folder.with_name(f"{folder.name}.tweets.sqlite")
    if as_json:
        classified = [one.to_json() for one in found]
        echo_json({"run": str(run.folder), "metrics": run.metrics, "classified": classified, "alerts": _watched(folder, state, until)})
        return
    click.echo(figures(run.metrics))
    for one in found:
        click.echo(f"\n> {one.text}\n{told(one)}")
    click.echo("\ntweets of July to October 2015 as the monitor meets them (a profit warning of Walmart on October 14, floods of spam):")
    alerts = _watched(folder, state, until)
    for alert in alerts:
        click.echo(f"  {alert['sentence']}")
    click.echo(f"\nrun folder: {run.folder}; alerts: {len(alerts)}, in {state}")
    click.echo(f'next: kgrec finance classify "{SHOWN[0]}" --run {run.folder}')
    click.echo(f"      kgrec finance explain {alerts[0]['episode'] if alerts else 'ALERT'} --state {state}")
    click.echo(f"      kgrec finance report --state {state}")


def _watched(run: Path, file: Path, until: str) -> list[dict[str, Any]]:
    """The alerts of the embedded tweets by the run's model, as they opened."""
    from kgrec_finance.articles.sample import TWEETS, TWEETS_COMPANIES
    from kgrec_finance.monitoring.state import State
    from kgrec_finance.monitoring.status import episodes
    from kgrec_finance.watching import replay

    for old in (file.with_suffix(".jsonl"), *file.parent.glob(f"{file.name}*")):  # of an earlier demo
        old.unlink(missing_ok=True)
    words = [str(TWEETS), "--companies", str(TWEETS_COMPANIES), "--column", "time=created_at", "--run", str(run), "--state", str(file)]
    replay.main([*words, "--sink", str(file.with_suffix(".jsonl")), "--to", until], standalone_mode=False)
    with State(file, write=False) as state:
        return [changes[0] for changes in episodes(state)]


def told(found: Classified) -> str:
    """A classification for a person at a terminal."""
    lines = [f"read in {found.passages} passages"] if found.passages > 1 else []
    for name, opinion in found.tasks.items():
        lines += _told(name, opinion)
    for id, opinion in found.companies.items():
        lines += _told(f"{found.names[id]} [{id}]" if found.names[id] != id else id, opinion)
    return "\n".join(lines)


def _told(name: str, opinion: Opinion) -> list[str]:
    others = ", ".join(f"{label} {p:.2f}" for label, p in list(opinion.probabilities.items())[1:4])
    note = "" if opinion.calibrated else "   (not calibrated)"
    lines = [f"{name}: {opinion.label} {opinion.probability:.2f}   ({others}){note}"]
    if opinion.second:
        votes = ", ".join(f"{label} {share:.0%}" for label, share in opinion.second.items())
        lines.append(f"  second opinion, the nearest past articles: {votes}")
    lines += [f"  {like.similarity:.2f}  {'|'.join(like.labels)}  {like.text[:120]}" for like in opinion.like]
    return lines


def _fitted(domain: Domain, layers: Sequence[Layer], folder: Path, quiet: bool) -> Run:
    from kgrec_core.cli.fit import progress_bar
    from kgrec_core.pipeline import fit as run_pipeline
    from kgrec_core.recipe.recipe import resolve

    recipe = resolve(domain.recipe, *layers)
    with progress_bar(quiet=quiet) as progress:
        return run_pipeline(recipe, folder, progress=progress)


def _own_files(files: dict[str, Path | None]) -> dict[str, Any]:
    """The recipe layer of the short options; empty where none is given."""
    from kgrec_core.data.reading import column_names
    from kgrec_core.errors import KgrecError
    from kgrec_finance.articles.columns import KNOWN

    given = {name: str(path.absolute()) for name, path in files.items() if path}
    if not given:
        return {}
    if "articles" not in given:
        raise KgrecError("--companies and --labels belong to your own articles; name them with --articles FILE")
    from kgrec_core.data.columns import match

    columns = match(KNOWN["articles"], "articles", column_names(Path(given["articles"]), "data.articles"), {})
    split = {"by": "column", "column": "split"} if "split" in columns else SPLIT
    return {"data": {"use": "news", **given}, "split": split}
