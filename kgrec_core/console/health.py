"""Health: what is served, how fast, what was refused and who did what; and, for whoever may, the ways to another version of a run."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import RedirectResponse, Response

from kgrec_core.console.page import Page
from kgrec_core.errors import visible
from kgrec_core.serving.problem import Refused
from kgrec_core.serving.service import Service

LAST = 20  # lines of the audit log


async def health(page: Page) -> Response:
    figures = measured(page.service)
    done = await asyncio.to_thread(audited, page.service) if page.may("admin") else []
    values = {"figures": figures, "done": done, "speeds": speeds(figures), "waiting": _one(figures, "kgrec_queue")}
    return page.answer("health.html", "Health", **values, drift=drifted(figures), canary=canary(page.service))


async def swap(page: Page) -> Response:
    """Load the run that is published now, or go back to the one before."""
    what, of, service = page.request.path_params["what"], page.of, page.service
    ways = {"reload": service.reload, "rollback": service.back}
    if what not in ways:
        raise Refused(404, f"health does not know {what[:40]!r}")
    await asyncio.to_thread(ways[what], of)
    service.metrics.reloads.labels(of.name, what).inc()
    service.audit(page.caller, what, of.name, of.snapshot.edit, 1, page.id)
    return RedirectResponse(f"/console/{of.name}/health", 303)


def measured(service: Service) -> list[tuple[str, dict[str, str], float]]:
    """Every figure of the service, all workers together: name, labels, value; none of what is 0."""
    families = text_string_to_metric_families(service.metrics.text().decode())
    return [(s.name, dict(s.labels), s.value) for family in families for s in family.samples if not s.name.endswith("_created") and s.value]


def speeds(figures: list[tuple[str, dict[str, str], float]]) -> list[dict[str, Any]]:
    """By verb: how many requests, their mean milliseconds, and within what 99 % were answered (the histogram's next bound)."""
    sums, counts, bounds = {}, {}, defaultdict(list)
    for name, labels, value in figures:
        verb = labels.get("verb", "")
        if name == "kgrec_request_seconds_sum":
            sums[verb] = value
        elif name == "kgrec_request_seconds_count":
            counts[verb] = value
        elif name == "kgrec_request_seconds_bucket":
            bounds[verb].append((float(labels["le"]), value))
    return [
        {
            "verb": verb,
            "requests": int(n),
            "mean": 1e3 * sums.get(verb, 0.0) / n,
            "within": min((bound for bound, below in bounds[verb] if below >= 0.99 * n), default=float("inf")),
        }
        for verb, n in sorted(counts.items())
    ]


def drifted(figures: list[tuple[str, dict[str, str], float]]) -> list[dict[str, Any]]:
    """How far queries are from the run's sample, by what: of the bound above which it says something, the farthest first."""
    key = ("run", "task", "what", "how")
    bounds = {tuple(labels.get(name, "") for name in key): value for of, labels, value in figures if of == "kgrec_drift_bound"}
    rows = [(tuple(labels.get(name, "") for name in key), value) for of, labels, value in figures if of == "kgrec_drift"]
    found = [{**dict(zip(key, at, strict=True)), "of": value / bounds[at]} for at, value in rows if bounds.get(at, 0) > 0]
    return sorted(found, key=lambda row: -row["of"])


def canary(service: Service) -> dict[str, str]:
    """What the canary is told to be, where there is one."""
    return {name: visible(str(value)) for name, value in service.canary.told().items()} if service.canary is not None else {}


def audited(service: Service) -> list[dict[str, str]]:
    """The last lines of the audit log, the latest first."""
    try:
        with open(service.state / "audit.jsonl", "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 2**16))
            lines = file.read().decode("utf-8", "replace").splitlines()[-LAST:]
    except OSError:
        return []
    found = []
    for line in reversed(lines):
        try:
            found.append({str(name): visible(str(value)) for name, value in json.loads(line).items()})
        except (ValueError, AttributeError):
            continue  # the first of them is cut
    return found


def _one(figures: list[tuple[str, dict[str, str], float]], name: str) -> int:
    return int(sum(value for of, _, value in figures if of == name))
