"""The words of every run, whatever its domain: evaluate and report. They are verbs as a domain's own are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgrec_core.errors import KgrecError
from kgrec_core.outputs import output
from kgrec_core.recipe.components import Verb
from kgrec_core.run.rules import Rules

if TYPE_CHECKING:
    from kgrec_core.lifecycle.label_next import Next
    from kgrec_core.lifecycle.update import Updated
    from kgrec_core.run.run import Run
    from kgrec_core.stages import Progress


@dataclass(frozen=True)
class Evaluate:
    """Print the test figures of a run, compute them again, or score it on new labelled rows.

    data: labelled rows the run has not seen, as its own events. again: load the run's own data, split them as it was, and recompute its
        figures, which must be those of the fit.

    Example: kgrec DOMAIN evaluate --run runs/shop
    """

    data: Path | None = None
    again: bool = False


@dataclass(frozen=True)
class Report:
    """Write a self-contained HTML page: figures with intervals, training curve, coverage, example answers.

    out: instead of report.html in the run's folder.

    Example: kgrec DOMAIN report --run runs/shop --out shop.html
    """

    out: Path | None = field(default=None, metadata={"metavar": "FILE.html"})


@dataclass(frozen=True)
class Update:
    """Learn from later rows, replay some of the old ones, and publish in place of the run unless it became worse.

    data: files with the columns of the run's own events: next week's orders, answered questions, labelled news; again for more.

    What was held out stays held out. A run that is worse is kept beside as RUN.update, with the reason; [update] of the recipe is the rule.
    That is no error: `published` in --json says which it was.

    Example: kgrec DOMAIN update --run runs/shop --data week12.csv
    """

    data: tuple[Path, ...] = field(default=(), metadata={"repeat": True, "metavar": "FILE"})

    def __post_init__(self) -> None:
        if not self.data:
            raise KgrecError("update needs what is new: --data FILE, with the columns of the run's own events")


@dataclass(frozen=True, kw_only=True)
class LabelNext:
    """Write the unlabelled texts that help most when somebody labels them: of which the run is unsure, and unlike one another.

    texts: .txt with one a line, or a table with a column for them; column: its name. n: how many. out: FILE.csv with text, guess and sure, and
        an empty column label; beside the texts by default. task: of several.

    Example: kgrec DOMAIN label-next --texts questions.txt -n 50 --run runs/desk
    """

    texts: Path
    n: int = field(default=50, metadata={"option": "-n"})
    out: Path | None = field(default=None, metadata={"metavar": "FILE.csv"})
    task: str | None = None
    column: str = "text"

    def __post_init__(self) -> None:
        if self.n < 1:
            raise KgrecError(f"n = {self.n}: at least one text is to be chosen")


@dataclass(frozen=True, kw_only=True)
class Price(Rules):
    """Say what rules for lists cost: NDCG@10 with and without them, on the select queries, and what they bring.

    task: of several. asked: queries at most. where: only what this SQL condition holds for. exclude: what is left out.

    Example: kgrec DOMAIN price --at-most brand=2 --boost new=0.5 --run runs/shop
    """

    task: str | None = None
    asked: int = 1_000
    where: str | None = field(default=None, metadata={"metavar": "SQL"})
    exclude: tuple[str, ...] = field(default=(), metadata={"metavar": "ID,ID"})

    def __post_init__(self) -> None:
        self.check()
        if not (self.reorder or self.related or self.where or self.exclude):
            raise KgrecError(
                "price needs a rule: --related, --at-most, --at-least, --boost or --diversity, or a filter: --where, --exclude"
            )


def evaluate(run: Run, request: Evaluate, progress: Progress) -> dict[str, Any]:
    """metrics.json, or figures of the same shape: computed again, or of a file's rows."""
    if request.again:
        if request.data is not None:
            raise KgrecError("evaluate: --again computes the run's own test figures, --data those of new rows; give one of them")
        from kgrec_core.lifecycle.held_out import evaluate_again

        return evaluate_again(run)
    if request.data is None:
        return run.metrics
    from kgrec_core.run.labelled import evaluate_file

    return evaluate_file(run, request.data)


def report(run: Run, request: Report, progress: Progress) -> Path:
    """The file that was written."""
    from kgrec_core.report.page import render

    page, file = render(run), request.out or run.folder / "report.html"
    with output(file) as place:
        place.write_text(page, encoding="utf-8")
    return file


def update(run: Run, request: Update, progress: Progress) -> Updated:
    """See `kgrec_core.lifecycle.update.update`."""
    from kgrec_core.lifecycle.update import update as updated_run

    return updated_run(run, request.data, progress)


def updated(found: Updated, request: Update) -> str:
    """What was learned, what it brought, and where it is."""
    from kgrec_core.printing import columns
    from kgrec_core.report.verdict import figure

    lines = [*(f"{task}: {n:,} rows learned" for task, n in found.learned.items() if n), *_left_out(found.skipped)]
    unasked = [task for task, n in found.learned.items() if n and not found.figures.get(task, {}).get("new")]
    lines += [f"{task}: too few new queries to hold one out: all are learned, the old ones decide alone" for task in unasked]
    told = {
        f"{task}, {which}, {part}": of for task, by in found.figures.items() for which, parts in by.items() for part, of in parts.items()
    }
    rows = [["", "queries", "before", "after", "gain"]]
    for name, of in told.items():
        rows.append([name, f"{of['gain']['n']:,}", figure(of["before"]), figure(of["after"]), figure(of["gain"], signed=True)])
    place = (
        f"published in {found.folder}"
        if found.published
        else f"not published, kept in {found.folder}, a run that can be asked; what was there answers on"
    )
    return "\n".join([*lines, "", columns(rows), *filter(None, [found.measured]), "", f"{place}: {found.reason}"])


def label_next(run: Run, request: LabelNext, progress: Progress) -> Next:
    """See `kgrec_core.lifecycle.label_next.label_next`."""
    from kgrec_core.lifecycle.label_next import label_next as next_texts

    return next_texts(run, request.texts, request.n, request.out, request.task, request.column, progress=progress)


def listed(found: Next, request: LabelNext) -> str:
    """The first of them, and where all are."""
    from kgrec_core.printing import columns

    rows = [[f"{sure:.2f}", guess, text[:80]] for sure, guess, text in zip(found.sure, found.guess, found.texts, strict=True)][:10]
    return columns([["sure", "guess", "text"], *rows]) + f"\n\n{len(found.texts):,} of {found.unlabelled:,} texts written to {found.file}"


def price(run: Run, request: Price, progress: Progress) -> dict[str, Any]:
    """See `kgrec_core.lifecycle.price.price`."""
    from kgrec_core.lifecycle.price import price as priced

    return priced(run, request, request.task, request.asked, where=request.where, exclude=request.exclude)


def priced(found: dict[str, Any], request: Price) -> str:
    """What is paid and what for."""
    from kgrec_core.printing import columns
    from kgrec_core.report.verdict import figure

    names = list(found["with"])
    rows = [["", "ndcg@10", *names]]
    rows += [
        [f"{which} the rules", figure(found["ndcg@10"][which]), *(f"{found[which][n]:.4f}" for n in names)] for which in ("without", "with")
    ]
    return columns([*rows, ["the rules bring", figure(found["gain"], signed=True), *([""] * len(names))]])


def evaluated(found: dict[str, Any], request: Evaluate) -> str:
    """Figures, and for every task what could not be scored, or whether it is what the fit recorded."""
    from kgrec_core.printing import figures

    lines = []
    for task, of in found.get("again", {}).items():
        what = f"differ by up to {of['difference']:.2g}: {', '.join(of['differs'][:5])}" if of["differs"] else "are those of the fit"
        lines.append(f"{task}, computed again: {of['figures']:,} figures " + what)
    return "\n\n".join(filter(None, (figures(found), "\n".join([*lines, *_left_out(found.get("skipped", {}))]))))


def _left_out(skipped: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Of every task with rows that were left out, why, or how many of which kind."""
    lines = []
    for task, why in skipped.items():
        counts = ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in why.items() if what != "reason" and n)
        lines += [f"{task}, left out: {why.get('reason') or counts}"] if counts or "reason" in why else []
    return lines


def written(file: Path, request: Report) -> str:
    """Where the page is."""
    return str(file)


STANDARD = {
    word: Verb(f"{__name__}:{word.title().replace('-', '')}", f"{__name__}:{word.replace('-', '_')}", "job", help, f"{__name__}:{shown}")
    for word, help, shown in (
        ("evaluate", "Print a run's test figures, or score new rows.", "evaluated"),
        ("label-next", "Choose the unlabelled texts that help most when labelled.", "listed"),
        ("price", "Say what rules for lists cost in accuracy, and what they bring.", "priced"),
        ("report", "Write a run's figures and examples as one HTML page.", "written"),
        ("update", "Learn from later rows; published unless it became worse.", "updated"),
    )
}
