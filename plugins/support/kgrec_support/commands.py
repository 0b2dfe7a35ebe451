"""`kgrec support demo | fit | ask | chat`: each parses, calls what Python users call, and prints."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
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
    from kgrec_support.compose import Generate
    from kgrec_support.desk import Reply

FEW = {"data": {"per_class": 10}, "train": {"contrastive": 0.5, "steps": 40}}  # of the demo: minutes, not the best figures
SHOWN = ("My new card still has not arrived", "Why was I charged?", "What is the meaning of life?")


def budget_option(command: Callable[..., Any]) -> Callable[..., Any]:
    share = click.FloatRange(0, 1, min_open=True, max_open=True)
    help = "Share of the answers that may be wrong."
    return click.option("--budget", type=share, default=0.03, show_default=True, metavar="SHARE", help=help)(command)


def writing(command: Callable[..., Any]) -> Callable[..., Any]:
    """--compose and who writes: parameters `compose`, `llm`, `endpoint` and `key`."""
    key = click.option("--key", metavar="env:NAME", help="Environment variable that holds the endpoint's key.")
    server = click.option("--endpoint", metavar="URL", help="An OpenAI-compatible server that has --llm.")
    model = click.option("--llm", metavar="MODEL", help="Composed by this language model (hub id, folder, .gguf, package:NAME).")
    plain = click.option("--compose", is_flag=True, help="Where no entry answers alone, quote what the entries say about it.")
    return plain(model(server(key(command))))


@click.command(epilog="Example: kgrec support fit --run runs/faq --faq faq.csv train.epochs=2")
@recipe_arguments
@click.option("--run", "folder", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="Where the run is written.")
@click.option("--faq", type=click.Path(path_type=Path), metavar="FILE", help="Questions and their answers.")
@click.option("--intents", type=click.Path(path_type=Path), metavar="FILE", help="Texts and their labels.")
@click.option("--dialogues", type=click.Path(path_type=Path), metavar="FILE", help="Messages: session, role, text.")
@click.option("--feedback", type=click.Path(path_type=Path), metavar="FILE", help="Thumbs and corrections to learn from.")
@click.option("--locale", metavar="TAG", help="Only rows of this locale, and those without one.")
@as_json
@click.pass_obj
def fit(
    domain: Domain,
    recipes: tuple[Path, ...],
    settings: tuple[str, ...],
    folder: Path,
    as_json: bool,
    locale: str | None,
    **files: Path | None,
) -> None:
    """Fine-tune, compare before and after, test once and write a run. Killed, the same command goes on where it was.

    Without a file the embedded sample is learned. A fifth of the questions is the test, unless the file has a column `split`.
    """
    from kgrec_core.cli.fit import figures

    run = _fitted(domain, (_own_files(files, locale), *recipes, settings), folder, as_json)
    if as_json:
        echo_json(run.metrics)
        return
    click.echo(f"{figures(run.metrics)}\n\n{_promises(run)}\n\nrun folder: {run.folder}")


@click.command(epilog='Example: kgrec support ask "Where is my parcel?" --run runs/faq --budget 0.05')
@click.argument("question")
@click.option("--context", multiple=True, metavar="TURN", help="A turn before the question, oldest first; several times.")
@budget_option
@click.option("--where", metavar="SQL", help="Only entries for which this holds, e.g. \"locale = 'en'\".")
@writing
@click.option("--log/--no-log", default=True, help="Keep the question for `review` (RUN.asked.jsonl, personal data masked).")
@run_arguments
@as_json
def ask(
    folder: Path,
    allow: tuple[str, ...],
    question: str,
    context: tuple[str, ...],
    budget: float,
    where: str | None,
    compose: bool,
    llm: str | None,
    endpoint: str | None,
    key: str | None,
    log: bool,
    as_json: bool,
) -> None:
    """Answer QUESTION, ask back, hand it over or refuse it; and say why."""
    from kgrec_core.run.run import open_run
    from kgrec_support import desk, upkeep

    generate = _generator(llm, endpoint, key)
    run = open_run(folder, allow)
    reply = desk.ask(run, question, context, budget, where)
    if compose or generate:
        reply = desk.composed(run, question, reply, generate)
    if log:
        upkeep.note(run, question, reply)
    echo_json(reply.to_json()) if as_json else click.echo(told(reply))


@click.command(epilog="Example: kgrec support chat --run runs/faq")
@budget_option
@writing
@click.option("--log/--no-log", default=True, help="Keep the questions for `review` (RUN.asked.jsonl, personal data masked).")
@run_arguments
@as_json
def chat(
    folder: Path,
    allow: tuple[str, ...],
    budget: float,
    compose: bool,
    llm: str | None,
    endpoint: str | None,
    key: str | None,
    log: bool,
    as_json: bool,
) -> None:
    """Talk to a run: one question a line, an empty line or the end of the input ends it. With --json, one object a line."""
    import json

    from kgrec_core.run.run import open_run
    from kgrec_support import desk, upkeep
    from kgrec_support.talk import Talk

    generate = _generator(llm, endpoint, key)
    run = open_run(folder, allow)
    talk, prompt = Talk(run, budget), sys.stdin.isatty()
    while True:
        click.echo("> ", nl=False) if prompt else None
        line = sys.stdin.readline()
        if not line.strip():
            if line and not prompt:
                continue
            break
        reply = talk.say(line)
        if compose or generate:
            reply = desk.composed(run, line, reply, generate)
        if log:
            upkeep.note(run, line, reply)
        click.echo(json.dumps(reply.to_json(), ensure_ascii=False) if as_json else told(reply, reason=False))


@click.command(epilog="Example: kgrec support demo --run runs/demo data.per_class=20")
@recipe_arguments
@click.option("--run", "folder", type=click.Path(path_type=Path), default=DEMO, show_default=True, help="Where the run is written.")
@as_json
@click.pass_obj
def demo(domain: Domain, recipes: tuple[Path, ...], settings: tuple[str, ...], folder: Path, as_json: bool) -> None:
    """Fit ten questions of each of a bank's 77 intents, show figures, and ask three: one is answered, one asked back, one a gap."""
    from kgrec_core.cli.fit import figures
    from kgrec_support import desk, upkeep

    run = _fitted(domain, (FEW, *recipes, settings), folder, as_json)
    budget = 0.05
    replies = {question: desk.ask(run, question, budget=budget) for question in SHOWN}
    for question, reply in replies.items():
        upkeep.note(run, question, reply)
    gaps = [question for question, reply in replies.items() if reply.outcome == "hand over"]
    if as_json:
        replied = {question: reply.to_json() for question, reply in replies.items()}
        echo_json({"run": str(run.folder), "metrics": run.metrics, "replies": replied, "gaps": gaps})
        return
    click.echo(f"{figures(run.metrics)}\n\n{_promises(run)}\n\nasked with a budget of {budget:.0%}:\n")
    for question, reply in replies.items():
        click.echo(f"> {question}\n{told(reply)}\n")
    click.echo(f"gaps: {'; '.join(gaps) or 'none'}   (`review` collects what no entry answers)")
    click.echo(f"run folder: {run.folder}")
    click.echo(f'next: kgrec support ask "Can I get a second card?" --run {run.folder} --budget {budget}')
    click.echo(f'      kgrec support add "{SHOWN[-1]}" "42." --run {run.folder}     (asked again, it is answered)')
    click.echo(f"      kgrec support report --run {run.folder}")


def told(reply: Reply, reason: bool = True) -> str:
    """A reply for a person at a terminal."""
    lines = [f"{reply.outcome}: {reply.text}"]
    if reply.composed is not None:
        said = reply.composed.cited() or "nothing that is about it"
        lines.append(f"  the entries say ({reply.composed.method}, no budget speaks for it): {said}")
        lines += [f"  {reply.composed.reason}"] if reply.composed.reason else []
    if reason:
        cited = f"  [{', '.join(a.id for a in reply.answers)}]" if reply.answers else ""
        lines.append(f"  why: {reply.reason}{cited}")
        lines += [f"  intent: {reply.intent.id}"] if reply.intent else []
    return "\n".join(lines)


def _fitted(domain: Domain, layers: Sequence[Layer], folder: Path, quiet: bool) -> Run:
    """Fitted; and calibrated on the published run, which knows more questions than the one that was tested."""
    from kgrec_core.cli.fit import progress_bar
    from kgrec_core.pipeline import fit as run_pipeline
    from kgrec_core.recipe.recipe import resolve

    recipe = resolve(domain.recipe, *layers)
    with progress_bar(quiet=quiet) as progress:
        run = run_pipeline(recipe, folder, progress=progress)
        progress("calibration on all questions", 0, 0)
        for task in run.tasks:
            if run.calibration(task.name) is not None:
                run.recalibrate(task.name)
    return run


def _own_files(files: dict[str, Path | None], locale: str | None) -> dict[str, Any]:
    """The recipe layer of the short options; empty where none is given."""
    from kgrec_core.data.reading import column_names
    from kgrec_core.errors import KgrecError
    from kgrec_support.columns import match

    given = {name: str(path.absolute()) for name, path in files.items() if path}
    tables = {name: path for name, path in given.items() if name != "feedback"}
    if not tables:
        if given or locale:
            raise KgrecError("--locale and --feedback belong to your own files; name one with --faq, --intents or --dialogues")
        return {}
    split = {"by": "random", "group": "group", "test": 0.2, "validation": 0.2}
    if any("split" in match(name, column_names(Path(path), f"data.{name}"), {}) for name, path in tables.items() if name != "dialogues"):
        split = {"by": "column", "column": "split"}
    return {"data": {"use": "support", **given, **({"locale": locale} if locale else {})}, "split": split}


def _promises(run: Run) -> str:
    """What the calibration says of a few budgets."""
    from kgrec_support.desk import answering

    calibration = run.calibration(answering(run).name)
    if calibration is None:
        return "no calibration: too few validation questions, so only questions that are much like a known one are answered"
    return "\n".join(f"budget {budget:.0%}: {calibration.guarantee(budget)}" for budget in (0.03, 0.05, 0.1))


def _generator(llm: str | None, url: str | None, key: str | None) -> Generate | None:
    from kgrec_core.errors import KgrecError
    from kgrec_support.generators import endpoint, local

    if url and not llm:
        raise KgrecError("--endpoint needs the name of its model: --llm NAME")
    return None if not llm else endpoint(url, llm, key) if url else local(llm)
