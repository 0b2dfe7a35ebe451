"""The endpoint of feedback: events on answers that this service gave, one or many; sent twice they are kept once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kgrec_core.errors import KgrecError
from kgrec_core.recipe.registry import load_target
from kgrec_core.requests import fields_of
from kgrec_core.serving import body as bodies
from kgrec_core.serving.access import Caller
from kgrec_core.serving.canary import Arm
from kgrec_core.serving.feedback import Answered, Feedback, known_to, source_of
from kgrec_core.serving.problem import Refused, described
from kgrec_core.serving.schema import requests_of
from kgrec_core.serving.service import Service

OTHERS = 0.3  # seconds after which another worker has written its notes


def feedback(service: Service) -> Callable[[Request], Awaitable[Response]]:
    """The handler of `POST /v1/feedback`."""

    async def handle(request: Request) -> Response:
        caller = service.admit(request, "ask")
        if not service.feedback.days:
            raise Refused(404, "this service notes no answers, so nothing can be said of them; start it with `kgrec serve --feedback 7`")
        given = bodies.parsed(await bodies.read(request, service.limits), service.limits)
        many = set(given) == {"requests"}
        values = given["requests"] if many else [given]
        if not isinstance(values, list) or not values or not all(isinstance(one, dict) for one in values):
            raise Refused(400, 'requests takes a list of events: {"requests": [{"answer": "...", "event": "clicked", "id": "..."}]}')
        if len(values) > service.limits.requests:
            raise Refused(413, f"{len(values):,} events in one body; {service.limits.requests} are allowed")
        service.spend(caller, len(values))
        with requests_of(Feedback, values, "feedback") as events:
            found = await asyncio.to_thread(_kept, service, caller, events)
            late = [n for n, one in enumerate(found) if one is None]
            if late:  # perhaps another worker answered, a moment ago
                await asyncio.sleep(OTHERS)
                again = await asyncio.to_thread(_kept, service, caller, [events[n] for n in late])
                for n, one in zip(late, again, strict=True):
                    found[n] = _unknown(events[n]) if one is None else one
        if not many and isinstance(found[0], KgrecError):
            raise found[0]
        told = [{"error": described(one)} if isinstance(one, KgrecError) else {"result": {"new": one}} for one in found]
        return JSONResponse({"results": told} if many else told[0])

    return handle


def note(
    service: Service,
    arm: Arm,
    edit: int,
    caller: Caller,
    source: str | None,
    request: Request,
    many: bool,
    asked: Iterable[tuple[Any, Any]],
) -> None:
    """Remember who answered. source: the requests' field that names a known query; asked: each request's JSON and its result."""
    service.metrics.answers.labels(arm.of.name, arm.name).inc()
    if service.feedback.days:
        snapshot = arm.of.snapshot
        about = Answered(arm.of.name, arm.of.published, edit, arm.name, arm.propensity, arm.unit)
        for number, (values, result) in enumerate(asked):
            if not isinstance(result, KgrecError):
                of = source_of(values, source, snapshot.graph, snapshot.tasks)
                service.feedback.note(caller.name, f"{request.state.id}/{number}" if many else request.state.id, about._replace(source=of))


@cache
def source_field(request: str) -> str | None:
    """The field of a verb's request that names a known query: a customer."""
    return next((name for name, field in fields_of(load_target(request, request)).items() if field.how.get("known") == "source"), None)


def _kept(service: Service, caller: Caller, events: Sequence[Feedback | KgrecError]) -> list[Any]:
    """Of each event whether it is new, or why it is refused; None where nobody knows its answer."""
    found: list[Any] = []
    for event in events:
        try:
            if isinstance(event, KgrecError):
                raise event
            about = service.feedback.about(caller.name, event.answer)
            if about is not None:
                snapshot = service.named(about.run).snapshot
                found.append(service.feedback.keep(caller.name, known_to(snapshot.graph, snapshot.tasks, event), about))
                service.metrics.events.labels(about.run, about.arm, event.event).inc()
            else:
                found.append(None)
        except KgrecError as error:
            found.append(error)
    return found


def _unknown(event: Feedback) -> Refused:
    return Refused(404, f"no answer {event.answer[:80]!r} was given to you, or it is too long ago; name the X-Request-Id that came with it")
