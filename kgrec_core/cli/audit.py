"""`kgrec graph audit RUN`: which relation pays, and what leaks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kgrec_core.cli.run import allow, as_json, run
from kgrec_core.printing import columns, say, say_json

if TYPE_CHECKING:
    from kgrec_core.lifecycle.audit import Audit

LEAKY = 3  # the exit code


@click.command(epilog="Example: kgrec graph audit runs/shop --relation has_brand")
@run
@click.option("--relation", "relations", multiple=True, metavar="NAME", help="Drop this one alone; again for more. Without it: each.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the shuffled graph.")
@allow
@as_json
@click.pass_context
def audit(ctx: click.Context, run: Path, relations: tuple[str, ...], seed: int, allow: tuple[str, ...], as_json: bool) -> None:
    """Fit the retrieval of RUN again without its graph, with a shuffled one and without each relation; and look for leaks.

    Written to RUN.audit.json too, which the report shows. Exit code 3 where the data leak.
    """
    from kgrec_core.cli.progress import progress_bar
    from kgrec_core.lifecycle.audit import audit as audited
    from kgrec_core.run.run import open_run

    opened = open_run(run, allow)
    with progress_bar(quiet=as_json) as progress:
        found = audited(opened, progress, relations, seed)
    say_json(found.to_json()) if as_json else say(told(found))
    ctx.exit(LEAKY if found.leaky else 0)


def told(found: Audit) -> str:
    """What pays, slice by slice, and the leaks, for people."""
    from kgrec_core.report.verdict import figure

    blocks = []
    for task, pays in found.pays.items():
        names = list(dict.fromkeys(name for of in pays.values() for name in of))
        if not names:
            blocks.append(f"{task}: there is no graph to audit")
            continue
        rows = [[f"{task}, {found.metric[task]}", *(name.replace("_", " ") for name in names)]]
        rows += [[_label(name), *(figure(of[n], signed=True) if n in of else "-" for n in names)] for name, of in pays.items()]
        blocks.append(columns(rows))
    lines = [str(leak) for leak in found.leaks] or ["no leak was found"]
    return "\n\n".join([*blocks, "\n".join(lines)])


def _label(name: str) -> str:
    named = {"graph": "the graph pays", "more than shuffled": "more than a shuffled one", "shuffled": "a shuffled one pays"}
    named["graph and language model"] = "graph and language model together pay"
    return named.get(name, f"{name} pays")
