"""A span for every request, as OpenTelemetry has them, in the trace of whoever asks; nothing where nobody collects them.

They are sent where OTEL_EXPORTER_OTLP_ENDPOINT says, by the extra `otel`. A span holds what the log's line holds: no text of a request.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from kgrec_core.errors import KgrecError
from kgrec_core.serving.problem import status_of

PLACE = "OTEL_EXPORTER_OTLP_ENDPOINT"
Handler = Callable[[Request], Awaitable[Response]]


class Tracing:
    """Made in the process that serves: what sends has a thread of its own. exporter: instead of what the environment names."""

    def __init__(self, exporter: Any = None) -> None:
        self._provider: Any = None
        if exporter is None and not os.environ.get(PLACE):
            return
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise KgrecError(f'{PLACE} is set, and {error.name} is missing; pip install "kgrec-core[otel]", or unset it') from None
        self._provider = TracerProvider(resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "kgrec")}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))

    def handled(self, handler: Handler, path: str) -> Handler:
        """The handler within a span."""
        if self._provider is None:
            return handler
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, Status, StatusCode

        tracer = self._provider.get_tracer("kgrec")

        async def within(request: Request) -> Response:
            how = {"kind": SpanKind.SERVER, "record_exception": False, "set_status_on_exception": False}
            with tracer.start_as_current_span(f"{request.method} {path}", extract(dict(request.headers)), **how) as span:
                status = 500
                try:
                    found = await handler(request)
                    status = found.status_code
                    return found
                except KgrecError as error:
                    status = status_of(error)
                    raise
                finally:
                    told = {"http.route": path, "http.response.status_code": status}
                    span.set_attributes({**told, "kgrec.run": request.state.run, "kgrec.request_id": request.state.id})
                    if status >= 500:
                        span.set_status(Status(StatusCode.ERROR))

        return within

    def close(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            self._provider.shutdown()
