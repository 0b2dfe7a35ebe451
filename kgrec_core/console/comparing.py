"""Two served runs side by side: each one's figures with its own interval, slice by slice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from starlette.responses import Response

from kgrec_core.console.page import Page
from kgrec_core.errors import visible
from kgrec_core.run.run import Run
from kgrec_core.serving.problem import Refused


class Beside(NamedTuple):
    """A figure of both: (mean, low, high), None where a run has none; alike: whether both were asked of as many queries."""

    task: str
    case: str
    metric: str
    one: tuple[float, float, float] | None
    other: tuple[float, float, float] | None
    alike: bool


async def comparing(page: Page) -> Response:
    name = page.request.query_params.get("other", "")
    if name not in page.service.runs or name == page.of.name:
        raise Refused(404, f"there is no other run {name[:40]!r} here to compare with")
    other = page.service.runs[name].run
    rows = beside(page.of.run, other)
    same = page.of.run.manifest.get("data") == other.manifest.get("data") and all(row.alike for row in rows)
    return page.answer("compare.html", "Run", other=name, rows=rows, same=same)


def beside(one: Run, other: Run) -> list[Beside]:
    """What both published, figure by figure, in the first one's order; what only one of them was asked stands alone."""
    mine, theirs = dict(_figures(one)), dict(_figures(other))
    return [
        Beside(
            *(visible(part) for part in key), _interval(mine.get(key)), _interval(theirs.get(key)), _n(mine.get(key)) == _n(theirs.get(key))
        )
        for key in dict.fromkeys([*mine, *theirs])
    ]


def _figures(run: Run) -> Iterator[tuple[tuple[str, str, str], Mapping[str, Any]]]:
    for task, of in run.metrics["tasks"].items():
        for case, found in {"": of["test"], **of["test"].get("variants", {})}.items():
            for metric, values in (found.get("published") or found.get("after") or {}).items():
                yield (task, case.replace("_", " "), metric), values


def _interval(values: Mapping[str, Any] | None) -> tuple[float, float, float] | None:
    return (values["mean"], values["low"], values["high"]) if values and values["n"] else None


def _n(values: Mapping[str, Any] | None) -> int:
    return values["n"] if values else 0
