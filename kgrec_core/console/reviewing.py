"""Review: what rules or a classifier hold back, allowed or blocked by whoever may edit; and what was decided."""

from __future__ import annotations

import asyncio
import time

from starlette.responses import RedirectResponse, Response

from kgrec_core.console.page import Page
from kgrec_core.errors import visible
from kgrec_core.run import review

MOST = 50


async def reviewing(page: Page) -> Response:
    snapshot = page.of.snapshot
    waiting = await asyncio.to_thread(review.queue, snapshot)
    made = review.decided(snapshot)
    rows = [(of.id, visible(of.text), of.verdict, visible(of.by), visible(of.why), _when(of.at), of.seen) for of in made[:MOST]]
    return page.answer(
        "review.html",
        "Review",
        waiting=[(of.id, visible(of.text), visible(of.why), of.seen) for of in waiting[:MOST]],
        more=max(0, len(waiting) - MOST),
        decided=rows,
        older=max(0, len(made) - MOST),
        file=snapshot.safety.file.name,
        rules=snapshot.safety.state.rules.there,
    )


async def deciding(page: Page) -> Response:
    """Keep a decision; it is in force at the next question."""
    id, verdict, why = (page.form.get(name, [""])[0] for name in ("id", "verdict", "why"))
    of, service, seen = page.of, page.service, page.form.get("seen", [None])[0]
    await asyncio.to_thread(review.decide, of.snapshot, [id], verdict, page.caller.name, why, seen)
    service.audit(page.caller, f"review {verdict}", of.name, of.snapshot.edit, 1, page.id)
    return RedirectResponse(f"/console/{of.name}/review", 303)


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))
