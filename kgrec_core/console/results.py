"""Run: what the fit came to, how sure answers are, and the report that was written."""

from __future__ import annotations

import asyncio
from typing import Any

from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from kgrec_core.calibration.calibration import Calibration
from kgrec_core.console.page import Page
from kgrec_core.errors import visible
from kgrec_core.report.page import summary
from kgrec_core.report.plots import lines
from kgrec_core.serving.problem import Refused

BUDGETS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
INSIDE = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"  # of a file that a run brings


async def results(page: Page) -> Response:
    body = await asyncio.to_thread(summary, page.of.run)
    has, others = (page.of.folder / "report.html").is_file(), [name for name in page.service.runs if name != page.of.name]
    return page.answer("run.html", "Run", body=Markup(visible(body)), has_report=has, others=others, **sureness(page))


def sureness(page: Page) -> dict[str, Any]:
    """What the page's budget promises of every task that has a calibration. Raises Refused 400 for a budget that is none."""
    asked = page.request.query_params.get("budget", "5")
    if not (asked.isascii() and asked.isdigit() and 1 <= int(asked) <= 50):
        raise Refused(400, f"budget = {asked[:20]!r}: it takes percent, a whole number from 1 to 50")
    calibrations = {task.name: page.of.snapshot.calibration(task.name) for task in page.of.run.tasks}
    sure = {name: promised(of, int(asked) / 100) for name, of in calibrations.items() if of is not None}
    return {"sure": sure, "budget": int(asked), "curve": curve}


def promised(calibration: Calibration, budget: float) -> dict[str, Any]:
    """What a budget promises, and how much is answered for others: share answered against share wrong."""
    each = {b: calibration.guarantee(b) for b in BUDGETS}
    points = [(100 * b, of.answered / of.tested) for b, of in each.items() if of.tested]
    return {"said": str(calibration.guarantee(budget)), "points": points}


def curve(points: list[tuple[float, float]], answered: str, wrong: str) -> Markup:
    return Markup(lines({answered: points}, wrong)) if len(points) > 1 else Markup("")


async def report(page: Page) -> Response:
    """The run's own report.html, which may neither run nor load anything."""
    try:
        return HTMLResponse((page.of.folder / "report.html").read_text("utf-8"), headers={"Content-Security-Policy": INSIDE})
    except (OSError, UnicodeDecodeError):
        raise Refused(404, "there is no report.html in the run; `kgrec DOMAIN report` writes it") from None
