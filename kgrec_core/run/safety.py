"""What of a run may be shown, and to whom: a filter between ranking and answer, as RUN.safety.toml beside the run says (`policy.py`). Every
verb passes it.

What is held is looked up anew at each change of rules, decisions or catalogue; nothing has to be asked for to be in the queue. An id that
somebody blocked is never shown. One that somebody allowed is shown although rules would hold it, as long as its text is what they saw.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Graph
from kgrec_core.run.asked import table_meets
from kgrec_core.run.decisions import Decision, Decisions, files, fingerprint
from kgrec_core.run.policy import Policy, named, parsed

log = logging.getLogger("kgrec")


class Looked(NamedTuple):
    """By row of the kind: whether it is shown to whoever is old enough; whether it waits for a decision, and why; the age it is for."""

    shown: NDArray[np.bool_]
    waiting: dict[int, str]
    age: NDArray[np.float64] | None


class Judged(NamedTuple):
    """What the rules say of a table, by row: whether it is shown; of what is not, why it is blocked or waits; the age it is for."""

    shown: NDArray[np.bool_]
    blocked: dict[int, str]
    held: dict[int, str]
    age: NDArray[np.float64] | None


class State(NamedTuple):
    """Rules and decisions as of one moment."""

    rules: Policy
    decided: Mapping[str, Decision]
    scores: Mapping[str, float]


class Safety:
    """Of one run; rules and decisions that change are read again at the next question, in every process. kind: that they are about, where
    the rules do not say."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._kind = kind
        self.file, decided = files(folder)
        self.decisions = Decisions(decided)
        self._state: tuple[Any, State] = ((), State(Policy(), {}, {}))
        self._base: dict[str, tuple[tuple[Any, ...], Judged]] = {}
        self._read()

    @property
    def state(self) -> State:
        """Raises KgrecError at first for faulty rules; later the last good ones stay, and the log says so."""
        if self._mark() != self._state[0]:
            try:
                self._read()
            except KgrecError as error:
                self._state = self._mark(), self._state[1]
                log.error("the rules of before stay in force: %s", error)
        return self._state[1]

    @property
    def kind(self) -> str:
        """Of what."""
        return self.state.rules.kind or self._kind

    def audience(self, caller: str) -> float | None:
        """The age whose answers a caller gets; None = any."""
        ages = self.state.rules.ages
        return ages.get(caller, ages.get(""))

    def open(self, graph: Graph, kind: str, age: float | None) -> NDArray[np.bool_] | None:
        """By row what may be shown at this age; None = everything."""
        state = self.state
        if kind != (state.rules.kind or self._kind) or not (state.rules.there or state.decided):
            return None
        found = self.looked(graph, kind, state)
        if age is None or found.age is None:
            return found.shown
        return found.shown & ~(found.age > age)  # NaN, no age, is for everybody

    def looked(self, graph: Graph, kind: str, state: State | None = None) -> Looked:
        """Made once for a graph and a state, at the cost of what came, changed or was decided since the rules were read."""
        state = state or self.state
        return graph.memo.get(("safety", kind), (state,), lambda: _looked(graph, kind, state, self._base_of(graph, kind, state)))

    def _base_of(self, graph: Graph, kind: str, state: State) -> Judged:
        """Of the first stretch of a kind's rows, which edits leave as it is: judged once for the same rules and scores."""
        first, rules, scores = graph.entities.kinds[kind].tables[0], state.rules, state.scores
        key, found = self._base.get(kind, ((), None))
        if found is None or any(one is not other for one, other in zip(key, (first, rules, scores), strict=True)):
            found = _judged(first, kind, state)
            self._base[kind] = (first, rules, scores), found
        return found

    def _mark(self) -> tuple:
        try:
            found = self.file.stat()
            return found.st_mtime_ns, found.st_size, self.decisions.mark()
        except OSError:
            return 0, 0, self.decisions.mark()

    def _read(self) -> None:
        mark, (before, last) = self._mark(), self._state
        rules = last.rules if before[:2] == mark[:2] else parsed(self.file)
        scores = self.decisions.scores(named(rules)) if rules.classifier else {}
        self._state = mark, State(rules, self.decisions.latest(), last.scores if scores == last.scores else scores)


def _looked(graph: Graph, kind: str, state: State, base: Judged) -> Looked:
    """base: of the rows as the run was opened with them. What came or changed since is judged here, and what was decided."""
    of = graph.entities.kinds[kind]
    late = np.concatenate([of.patched[of.patched < len(base.shown)], np.arange(len(base.shown), len(of))])
    found, gone = _judged(of.gather(late, list(of.schema)), kind, state), set(late.tolist())

    def now(before: Mapping[int, str], new: Mapping[int, str]) -> dict[int, str]:
        return {row: why for row, why in before.items() if row not in gone} | {int(late[at]): why for at, why in new.items()}

    blocked, held = now(base.blocked, found.blocked), now(base.held, found.held)
    shown = np.concatenate([base.shown, np.ones(len(of) - len(base.shown), bool)])
    shown[late] = found.shown
    age = None if base.age is None else np.concatenate([base.age, np.full(len(of) - len(base.age), np.nan)])
    if age is not None:
        age[late] = found.age
    rows = graph.rows(kind, list(state.decided))
    texts = graph.gather(kind, np.maximum(rows, 0), "text")["text"] if "text" in of.schema else list(state.decided)
    for row, decision, text in zip(rows.tolist(), state.decided.values(), texts, strict=True):
        if row >= 0 and decision.verdict == "block":
            blocked[row] = "somebody blocked it"
            shown[row] = False
        elif row >= 0 and decision.text == (text or "") and held.pop(row, None):
            shown[row] = row not in blocked
    alive = graph.alive(kind)
    return Looked(shown, {row: why for row, why in sorted(held.items()) if alive[row] and row not in blocked}, age)


def _judged(table: pl.DataFrame, kind: str, state: State) -> Judged:
    """By the rules alone."""
    rules, ids = state.rules, table["id"].to_list()
    texts = [text or "" for text in table["text"].to_list()] if "text" in table.columns else ids
    blocked, held = (_meets(table, kind, ids, texts, of) for of in (rules.block, rules.hold))
    if rules.classifier:
        block, hold, label = (rules.classifier.get(key, default) for key, default in (("block", 1.0), ("hold", 0.5), ("label", "")))
        for row, text in enumerate(texts):
            p = state.scores.get(fingerprint(text))
            if p is None:
                held.setdefault(row, "the classifier has not seen it; kgrec review RUN --scan")
            elif p >= block:
                blocked.setdefault(row, f"{label} {p:.2f}")
            elif p >= hold:
                held.setdefault(row, f"{label} {p:.2f}")
    shown = np.ones(len(ids), bool)
    shown[[*blocked, *held]] = False
    age = None
    if rules.column is not None:
        if rules.column not in table.columns or not table.schema[rules.column].is_numeric():
            numeric = [name for name, of in table.schema.items() if of.is_numeric()]
            raise choices(f"column of numbers of {kind}, as the rules' [age] wants it", rules.column, numeric)
        age = np.array([np.nan if of is None else of for of in table[rules.column].to_list()], np.float64)
    return Judged(shown, blocked, held, age)


def _meets(table: pl.DataFrame, kind: str, ids: list[str], texts: list[str], of: Mapping[str, Any]) -> dict[int, str]:
    """row -> which rule it meets."""
    found: dict[int, str] = {}
    if of.get("where"):
        mask, _ = table_meets(table, kind, of["where"])
        found |= dict.fromkeys(np.flatnonzero(mask).tolist(), of["where"])
    if words := of.get("words"):
        pattern = re.compile("|".join(_word(word) for word in words), re.IGNORECASE)
        for row, text in enumerate(texts):
            if hit := pattern.search(unicodedata.normalize("NFKC", text)):
                found[row] = f"the word {hit.group()}"
    if wanted := set(of.get("ids", ())):
        found |= {row: "by its id" for row, id in enumerate(ids) if id in wanted}
    return found


def _word(word: str) -> str:
    """Whole words, where letters or digits would go on; Chinese has no such ends."""
    plain = re.escape(unicodedata.normalize("NFKC", word.strip()))
    begin, end = (r"\b" if letter.isascii() and letter.isalnum() else "" for letter in (word.strip()[0], word.strip()[-1]))
    return f"{begin}{plain}{end}"
