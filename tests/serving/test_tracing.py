"""Requests are spans in their caller's trace, without any text of them; without an exporter there are none."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response

from kgrec_core.serving.problem import Refused
from kgrec_core.serving.tracing import PLACE, Tracing

memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")


def asked(path: str) -> Request:
    trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    found = Request(
        {"type": "http", "method": "POST", "path": path, "headers": [(b"traceparent", trace)], "query_string": b"text=jo", "state": {}}
    )
    found.state.run, found.state.id = "shop", "one"
    return found


async def good(request: Request) -> Response:
    return Response("jo@example.com")


async def bad(request: Request) -> Response:
    raise Refused(503, "too busy for jo@example.com")


def test_spans(monkeypatch):
    exporter = memory.InMemorySpanExporter()
    tracing = Tracing(exporter)
    asyncio.run(tracing.handled(good, "/v1/shop/ask")(asked("/v1/shop/ask")))
    with pytest.raises(Refused):
        asyncio.run(tracing.handled(bad, "/v1/shop/ask")(asked("/v1/shop/ask")))
    tracing._provider.force_flush()
    first, second = exporter.get_finished_spans()
    assert (first.name, first.attributes["http.response.status_code"], first.attributes["kgrec.run"]) == ("POST /v1/shop/ask", 200, "shop")
    assert (
        format(first.context.trace_id, "032x") == "4bf92f3577b34da6a3ce929d0e0e4736"
        and second.attributes["http.response.status_code"] == 503
    )
    assert not second.status.is_ok and not second.events and not any("jo" in str(v) for s in (first, second) for v in s.attributes.values())
    tracing.close()


def test_none_without_a_place(monkeypatch):
    monkeypatch.delenv(PLACE, raising=False)
    assert Tracing().handled(good, "/v1") is good
