"""`kgrec support add | edit | remove | list | undo | review | feedback | recalibrate`: each parses, calls, and prints."""

from __future__ import annotations

from pathlib import Path

import click

from kgrec_core.cli.parts import as_json, columns, echo_json
from kgrec_core.cli.run import run_arguments

WIDE = 70  # characters of a text in a table


@click.command(epilog='Example: kgrec support add "Do you deliver on Sundays?" "No, from Monday to Saturday." --run runs/faq')
@click.argument("question")
@click.argument("answer")
@click.option("--variant", "variants", multiple=True, metavar="QUESTION", help="A further way to ask it; several times.")
@click.option("--id", "id", metavar="ID", help="The entry's id; without one it is made of the answer's text.")
@click.option("--category", metavar="NAME")
@click.option("--locale", metavar="TAG", help="E.g. en or zh-TW.")
@run_arguments
@as_json
def add(
    folder: Path,
    allow: tuple[str, ...],
    question: str,
    answer: str,
    variants: tuple[str, ...],
    id: str | None,
    category: str | None,
    locale: str | None,
    as_json: bool,
) -> None:
    """Add an entry: QUESTION is answered by ANSWER from now on, in every process that has the run open. Slots: {order_id}."""
    from kgrec_core.run.run import open_run
    from kgrec_support import entries

    made = entries.add(open_run(folder, allow), [question, *variants], answer, id, category, locale)
    echo_json(made._asdict()) if as_json else click.echo(_told(made.id, len(made.new), len(made.known)))


@click.command(epilog='Example: kgrec support edit a-1b2c --answer "Yes, until noon." --question "sunday delivery?" --run runs/faq')
@click.argument("id")
@click.option("--answer", metavar="TEXT", help="The answer from now on.")
@click.option("--question", "questions", multiple=True, metavar="TEXT", help="A further way to ask it; several times.")
@run_arguments
@as_json
def edit(folder: Path, allow: tuple[str, ...], id: str, answer: str | None, questions: tuple[str, ...], as_json: bool) -> None:
    """Change the answer of entry ID, give it more questions, or both."""
    from kgrec_core.run.run import open_run
    from kgrec_support import entries

    made = entries.edit(open_run(folder, allow), id, answer, questions)
    echo_json(made._asdict()) if as_json else click.echo(_told(made.id, len(made.new), len(made.known)))


@click.command(epilog="Example: kgrec support remove a-1b2c --run runs/faq")
@click.argument("ids", nargs=-1, required=True)
@run_arguments
@as_json
def remove(folder: Path, allow: tuple[str, ...], ids: tuple[str, ...], as_json: bool) -> None:
    """Remove the entries IDS: they are not found from now on; `undo` or `add` brings them back."""
    from kgrec_core.run.run import open_run
    from kgrec_support import entries

    gone = entries.remove(open_run(folder, allow), ids)
    echo_json({"removed": gone}) if as_json else click.echo(f"removed: {', '.join(gone)}")


@click.command("list", epilog="Example: kgrec support list parcel --run runs/faq; kgrec support list --out faq.csv")
@click.argument("words", nargs=-1)
@click.option("--removed", is_flag=True, help="The removed and expired ones too.")
@click.option("--history", is_flag=True, help="The edits instead, oldest first.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.csv", help="Write all entries as an FAQ that `fit --faq` reads.")
@run_arguments
@as_json
def list_entries(
    folder: Path,
    allow: tuple[str, ...],
    words: tuple[str, ...],
    removed: bool,
    history: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """List the entries that have all WORDS in answer, id or a question."""
    from datetime import UTC, datetime

    from kgrec_core.run.run import open_run
    from kgrec_support import entries, upkeep

    run = open_run(folder, allow)
    if out is not None:
        click.echo(f"{upkeep.export(run, out):,} entries written to {out}")
    elif history:
        edits = run.edits()
        rows = [
            (
                str(e["number"]),
                datetime.fromtimestamp(e["time"] / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S"),
                f"takes back {e['undoes']}" if e["undoes"] else ", ".join(f"{n} {kind}" for kind, n in e["entities"].items()),
            )
            for e in edits
        ]
        echo_json(edits) if as_json else click.echo(columns([("edit", "UTC", "what"), *rows]))
    else:
        found = entries.listed(run, " ".join(words), removed)
        if as_json:
            echo_json([entry._asdict() for entry in found])
            return
        rows = [(e.id, str(len(e.questions)), _short(e.questions[0] if e.questions else ""), _short(e.text or "")) for e in found]
        click.echo(columns([("id", "questions", "first question", "answer"), *rows]))


@click.command(epilog="Example: kgrec support undo --run runs/faq")
@run_arguments
@as_json
def undo(folder: Path, allow: tuple[str, ...], as_json: bool) -> None:
    """Take the last edit back, by another edit; undone again, the one before it."""
    from kgrec_core.run.run import open_run
    from kgrec_support import entries

    number = entries.undo(open_run(folder, allow))
    echo_json({"undone": number}) if as_json else click.echo(f"edit {number} is taken back")


@click.command(epilog="Example: kgrec support review --run runs/faq")
@run_arguments
@as_json
def review(folder: Path, allow: tuple[str, ...], as_json: bool) -> None:
    """Show what an editor should look at: entries that say the same, contradict or confuse each other, and what is asked in vain."""
    from kgrec_core.run.run import open_run
    from kgrec_support import upkeep

    found = upkeep.reviewed(open_run(folder, allow))
    echo_json(found.to_json()) if as_json else click.echo(str(found))


@click.command(epilog="Example: kgrec support feedback thumbs.jsonl --run runs/faq")
@click.argument("file", type=click.Path(path_type=Path))
@run_arguments
@as_json
def feedback(folder: Path, allow: tuple[str, ...], file: Path, as_json: bool) -> None:
    """Take the thumbs and corrections of FILE, one JSON object a line: {time, question, answer_id, verdict, correct_answer_id}.

    verdict: up, down or correct. Kept in RUN.feedback.jsonl; `fit --feedback` learns from it.
    """
    from kgrec_core.run.run import open_run
    from kgrec_support import upkeep

    found = upkeep.taught(open_run(folder, allow), file)
    if as_json:
        echo_json(found._asdict())
        return
    click.echo(f"{found.taken:,} taken, {found.learned:,} questions lead to an answer from now on")
    for fault in found.faults:
        click.echo(f"left out: {fault}", err=True)


@click.command(epilog="Example: kgrec support recalibrate --run runs/faq")
@run_arguments
@as_json
def recalibrate(folder: Path, allow: tuple[str, ...], as_json: bool) -> None:
    """Learn again how sure an answer is, by what the run finds now: after many edits. Seconds; nothing is trained."""
    from kgrec_core.run.run import open_run
    from kgrec_support.desk import answering

    run = open_run(folder, allow)
    found = run.recalibrate(answering(run).name)
    promises = {str(budget): str(found.guarantee(budget)) for budget in (0.03, 0.05, 0.1)}
    echo_json(promises) if as_json else click.echo("\n".join(f"budget {float(b):.0%}: {said}" for b, said in promises.items()))


def _told(id: str, new: int, known: int) -> str:
    added = f"{new} question{'s' if new != 1 else ''} added" if new else "no new question"
    return f"{id}: {added}{f', {known} it had already' if known else ''}; in force from now on"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= WIDE else text[: WIDE - 1] + "…"
