"""What a run is asked, asked of its latest snapshot: see `Snapshot`, where each word is explained."""

from __future__ import annotations

from collections.abc import Sequence

from kgrec_core.calibration.calibration import Calibration
from kgrec_core.explain.explanation import Explanation, Language
from kgrec_core.interfaces import Vectors
from kgrec_core.run.asked import Query
from kgrec_core.run.rules import Rules
from kgrec_core.run.snapshot import Answer, Judged, Snapshot
from kgrec_core.run.texts import Past, Probabilities


class Asks:
    """Base of what has a `snapshot`."""

    snapshot: Snapshot

    def answer(
        self,
        queries: Sequence[Query],
        task: str | None = None,
        k: int = 10,
        where: str | None = None,
        exclude: Sequence[str] = (),
        rules: Rules | None = None,
    ) -> list[list[Answer]]:
        return self.snapshot.answer(queries, task, k, where, exclude, rules)

    def judged(
        self,
        queries: Sequence[Query],
        task: str | None = None,
        k: int = 10,
        where: str | None = None,
        exclude: Sequence[str] = (),
        rules: Rules | None = None,
    ) -> list[Judged]:
        return self.snapshot.judged(queries, task, k, where, exclude, rules)

    def explain(
        self,
        queries: Sequence[Query],
        task: str | None = None,
        k: int = 10,
        where: str | None = None,
        exclude: Sequence[str] = (),
        rules: Rules | None = None,
        language: Language | None = None,
    ) -> list[list[Explanation]]:
        return self.snapshot.explain(queries, task, k, where, exclude, rules, language)

    def similar(self, ids: Sequence[str], task: str | None = None, k: int = 10, where: str | None = None) -> list[list[Answer]]:
        return self.snapshot.similar(ids, task, k, where)

    def encode(self, task: str | None, queries: Sequence[Query]) -> Vectors:
        return self.snapshot.encode(task, queries)

    def probabilities(self, texts: Sequence[str], task: str | None = None) -> Probabilities:
        return self.snapshot.probabilities(texts, task)

    def past(self, queries: Sequence[Query], task: str | None = None, k: int = 3) -> list[Past]:
        return self.snapshot.past(queries, task, k)

    def calibration(self, task: str | None = None) -> Calibration | None:
        return self.snapshot.calibration(task)
