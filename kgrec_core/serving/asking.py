"""A verb asked for a caller, with limits, quota, the shared call, metrics and audit: the same for an endpoint and for a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from kgrec_core.errors import KgrecError
from kgrec_core.recipe.components import Verb
from kgrec_core.recipe.registry import load_target
from kgrec_core.serving import body as bodies
from kgrec_core.serving.access import Caller
from kgrec_core.serving.hosted import Hosted
from kgrec_core.serving.problem import Refused
from kgrec_core.serving.schema import requests_of
from kgrec_core.serving.service import Service

SCOPES = {"ask": "ask", "edit": "edit", "job": "admin"}


class Asked(NamedTuple):
    """results: a result or a KgrecError for every request, in their order. edit: the number of the last edit that they have seen."""

    results: list[Any]
    edit: int


def counted(service: Service, caller: Caller, values: Sequence[Mapping[str, Any]], word: str) -> None:
    """Raises Refused: 413 for too many requests, 400 for absurd numbers, 429 where the caller's quota is used up."""
    if len(values) > service.limits.requests:
        raise Refused(
            413,
            f"{len(values):,} requests in one body; {service.limits.requests} are allowed, the command `{word} --in FILE` takes any number",
        )
    for one in values:
        bodies.refuse_large_numbers(one, service.limits)
    service.spend(caller, len(values))


async def asked(
    service: Service,
    of: Hosted,
    word: str,
    verb: Verb,
    values: Sequence[Mapping[str, Any]],
    caller: Caller,
    request_id: str,
    seconds: float,
    wait: Callable[[Awaitable[Any]], Awaitable[Any]] | None = None,
) -> Asked:
    """Answer requests of JSON values. wait: awaits an ask, and gives up when its caller leaves. Raises Refused as the batcher does."""
    with requests_of(load_target(verb.request, f"verb '{word}'"), list(values), word) as made:
        made = [_within(one, service.limits) for one in made]
        good = [one for one in made if not isinstance(one, KgrecError)]
        if verb.kind == "ask":
            work = service.batcher.ask(of, word, verb, good, seconds, caller.name) if good else None
            answers = [] if work is None else await (wait(work) if wait else work)
            found, edit = [result for result, _ in answers], max((edit for _, edit in answers), default=0)
        else:
            found = await service.batcher.edit(of, verb, good) if good else []
            edit = of.snapshot.edit
    left = iter(found)
    results = [one if isinstance(one, KgrecError) else next(left) for one in made]
    for result in results:
        service.metrics.outcome(result)
    if verb.kind != "ask":
        service.audit(caller, word, of.name, edit, sum(not isinstance(result, KgrecError) for result in results), request_id)
    return Asked(results, edit)


def _within(request: Any, limits: bodies.Limits) -> Any:
    """The request; a refusal instead where a whole number in it, also one that came as text, is beyond the limit."""
    if isinstance(request, KgrecError):
        return request
    for of in fields(request):
        value = getattr(request, of.name)
        if isinstance(value, int) and abs(value) > limits.number:
            return Refused(400, f"{of.name} = {str(value)[:40]} is more than a request may ask for ({limits.number:,})")
    return request
