"""Which unlabelled texts to label next: those that a run is unsure of, and that are unlike one another.

    label_next(kgrec_core.open_run("runs/desk"), Path("questions.txt"), 50)

By k-means++ seeding on the run's vectors, each text drawn in proportion to its squared distance from those that were drawn before, times
how unsure the run is of it (Ash et al. 2020, BADGE; Arthur & Vassilvitskii 2007), from the ten times as many that it is least sure of.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.data.formulas import guarded
from kgrec_core.data.rows import header, rows
from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Nodes
from kgrec_core.outputs import output, refuse_place
from kgrec_core.stages import Progress, silent
from kgrec_core.teaching.unlabelled import joined, texts_of

if TYPE_CHECKING:
    from kgrec_core.run.asks import Judged
    from kgrec_core.run.run import Run

AMONG = 10  # times as many as are wanted, the least sure, are drawn from


class Next(NamedTuple):
    """texts: in the order in which they help; guess: what the run would say; sure: how probable it is that this is right."""

    texts: list[str]
    guess: list[str]
    sure: list[float]
    file: str
    unlabelled: int


def label_next(
    run: Run, file: Path, n: int = 50, out: Path | None = None, task: str | None = None, column: str = "text", seed: int = 0,
    progress: Progress = silent,
) -> Next:  # fmt: skip
    """Write a CSV of text, guess and sure, and an empty column `label`. Texts that the run knows are left out.

    Raises KgrecError where nothing is left, where the task's queries have no text, for a file that cannot be written, and for one in which
    somebody has begun to label.
    """
    snapshot = run.snapshot
    of = snapshot.task(task)
    kind = of.relation.source
    if "text" not in snapshot.graph.columns(kind):
        raise KgrecError(f"label-next: a {kind} of task {of.name} has no text; it chooses among texts")
    graph, asked = joined(snapshot.graph, kind, texts_of(file, "--texts", column))
    if not len(asked):
        raise KgrecError(f"label-next: the run knows every text of {file}; give others")
    out = out or file.with_name(f"{file.stem}-next.csv")
    _refuse(out, file)
    texts = graph.gather(kind, asked, "text")["text"].to_list()
    judged: list[Judged] = []
    for start in range(0, len(texts), 256):
        progress("asking", start, len(texts))
        judged += snapshot.judged([{"text": text} for text in texts[start : start + 256]], of.name, 2)
    sure = np.array([_sure(each) for each in judged])
    few = np.argsort(sure, kind="stable")[: AMONG * n]
    vectors = snapshot.model.vectors(of, Nodes(graph, kind, asked[few], "query"))
    chosen = few[drawn(vectors, 1 - sure[few], min(n, len(few)), seed)]
    guess = [judged[i].answers[0].id if judged[i].answers else "" for i in chosen]
    found = Next([texts[i] for i in chosen], guess, [round(float(sure[i]), 4) for i in chosen], str(out), len(texts))
    _write(out, found)
    return found


def drawn(vectors: NDArray[np.float32], weight: NDArray[np.float64], n: int, seed: int) -> list[int]:
    """n of the rows: the first is that of the largest weight, each further one far from all before it."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    rng, chosen = np.random.default_rng(seed), [int(np.argmax(weight))]
    distance = np.full(len(unit), np.inf)
    while len(chosen) < n:
        distance = np.minimum(distance, np.maximum(0, 2 - 2 * unit @ unit[chosen[-1]]))
        chance = distance * weight
        chance[chosen] = 0
        if not chance.sum() > 0:  # only equal texts are left
            chance = np.ones(len(unit))
            chance[chosen] = 0
        chosen.append(int(rng.choice(len(unit), p=chance / chance.sum())))
    return chosen


def _sure(judged: Judged) -> float:
    """P(correct), or where the run was not calibrated how far the first answer is ahead of the second."""
    if judged.probability is not None:
        return float(judged.probability)
    scores = [answer.score for answer in judged.answers]
    return 0.0 if not scores else 1.0 if len(scores) == 1 else float(1 - np.exp(-abs(scores[0] - scores[1])))


def _refuse(out: Path, file: Path) -> None:
    """Before anything is asked. Raises KgrecError for a place where no CSV can be, and for labels that would be lost."""
    if out.suffix.lower() != ".csv":
        raise choices("format of --out", out.suffix, [".csv"])
    refuse_place(out, file)
    if not out.exists() or not out.stat().st_size or "label" not in header(out, "--out"):
        return
    if labels := sum(isinstance(row, dict) and "label" in row for row in rows(out, "--out")):
        raise KgrecError(
            f"{out} holds {labels:,} labels, which would be lost; learn from them, move it away, or name another file with --out"
        )


def _write(out: Path, found: Next) -> None:
    table = pl.DataFrame({"text": found.texts, "label": [None] * len(found.texts), "guess": found.guess, "sure": found.sure})
    with output(out) as place:
        guarded(table.with_columns(pl.col("label").cast(pl.String))).write_csv(place)
