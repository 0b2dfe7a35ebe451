"""The queue of what waits for a person: what rules or a classifier hold back of a run's answers, and what was decided.

for waiting in queue(run.snapshot): print(waiting.id, waiting.why, waiting.text)
decide(run.snapshot, ["22423"], "allow", by="jo")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from kgrec_core.data.formulas import guarded
from kgrec_core.errors import Conflict, KgrecError, choices
from kgrec_core.outputs import output
from kgrec_core.run.asked import known
from kgrec_core.run.decisions import Decision, fingerprint
from kgrec_core.run.policy import named
from kgrec_core.run.run import Run, open_run
from kgrec_core.run.snapshot import Snapshot

BLOCK = 1_000  # texts that a classifier is asked at once


class Waiting(NamedTuple):
    """why: the rule that holds it."""

    id: str
    text: str
    why: str

    @property
    def seen(self) -> str:
        """What whoever decides on it has seen; see `decide`."""
        return fingerprint(self.text)


def queue(snapshot: Snapshot) -> list[Waiting]:
    """What is held back and nobody has decided on, in the order of the catalogue."""
    held = waiting(snapshot)
    rows = snapshot.graph.gather(snapshot.safety.kind, list(held)).to_dicts() if held else []
    return [Waiting(row["id"], row.get("text") or row["id"], why) for row, why in zip(rows, held.values(), strict=True)]


def waiting(snapshot: Snapshot) -> dict[int, str]:
    """The rows of what waits, and why."""
    safety = snapshot.safety
    return safety.looked(snapshot.graph, safety.kind).waiting if safety.state.rules.there else {}


def decided(snapshot: Snapshot) -> list[Decision]:
    """Those that stand, the latest first."""
    return sorted(snapshot.safety.state.decided.values(), key=lambda of: -of.at)


def decide(snapshot: Snapshot, ids: Sequence[str], verdict: str, by: str, why: str = "", seen: str | None = None) -> None:
    """verdict: "allow", "block", or "open" to take it back. In force at the next question, in every process. seen: the mark `seen` of
    what is decided on (`Waiting`, `Decision`), as it was looked at.

    Raises KgrecError for an unknown id or verdict, where it cannot be saved, and Conflict where somebody else decided, or the text is
    another since it was seen.
    """
    decide_each(snapshot, {verdict: ids}, by, why, seen)


def decide_each(snapshot: Snapshot, verdicts: Mapping[str, Sequence[str]], by: str, why: str = "", seen: str | None = None) -> None:
    """verdict -> ids. Where one is refused nothing is decided of the others. Raises as `decide` does."""
    texts = {verdict: _texts(snapshot, ids, verdict) for verdict, ids in verdicts.items() if ids}
    for verdict, found in texts.items():
        if verdict != "open" and seen is not None and (other := [id for id, text in found.items() if fingerprint(text or id) != seen]):
            raise Conflict(f"{other[0]} has another text than the one that you saw; look at it again")
    if texts:
        snapshot.safety.decisions.decide_each(texts, by, why, seen)


def _texts(snapshot: Snapshot, ids: Sequence[str], verdict: str) -> dict[str, str]:
    """By id. What was decided on can be undone also where the run no longer knows it."""
    kind, graph, made = snapshot.safety.kind, snapshot.graph, snapshot.safety.state.decided if verdict == "open" else {}
    table = graph.gather(kind, known(graph, kind, [id for id in ids if id not in made])).to_dicts()
    return {row["id"]: (row["text"] or "") if "text" in row else row["id"] for row in table} | {
        id: made[id].text for id in ids if id in made
    }


def scan(run: Run) -> int:
    """Ask the classifier of the rules about every text that it has not seen; how many. Raises KgrecError where there is none."""
    snapshot = run.snapshot
    state = snapshot.safety.state
    if not state.rules.classifier:
        raise KgrecError(f"{snapshot.safety.file.name} names no [classifier] that could be asked")
    judge, label = open_run(state.rules.classifier["run"]), state.rules.classifier["label"]
    table = snapshot.graph.entities[snapshot.safety.kind]
    texts = {fingerprint(text or ""): text or "" for text in table["text" if "text" in table.columns else "id"].to_list()}
    new = [text for key, text in texts.items() if key not in state.scores]
    labels = judge.probabilities([]).labels
    if label not in labels:
        raise choices(f"label of the classifier {state.rules.classifier['run']}", label, labels)
    for start in range(0, len(new), BLOCK):
        part = new[start : start + BLOCK]
        chances = np.exp(judge.probabilities(part).log[:, labels.index(label)]).tolist()
        snapshot.safety.decisions.score(named(state.rules), dict(zip(map(fingerprint, part), chances, strict=True)))
    return len(new)


def export(snapshot: Snapshot, file: Path) -> int:
    """Decisions as a table of id, text and verdict, which a classifier can be fitted on; how many. Raises KgrecError."""
    found = decided(snapshot)
    rows = [(of.id, of.text, of.verdict, of.why, of.by, int(of.at)) for of in found]
    with output(file) as place:
        guarded(pl.DataFrame(rows, schema=["id", "text", "verdict", "why", "by", "at"], orient="row")).write_csv(place)
    return len(found)
