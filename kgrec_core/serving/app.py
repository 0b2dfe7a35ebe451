"""The HTTP service: an endpoint for every verb of the runs' domains, made from the same request and function as its command.

app = application(Service(hosted([Path("runs/demo")])))      # an ASGI application; `kgrec serve runs/demo` runs it
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

import kgrec_core
from kgrec_core.errors import KgrecError, choices
from kgrec_core.recipe.components import Verb
from kgrec_core.recipe.registry import load_target
from kgrec_core.requests import about, as_data
from kgrec_core.serving import body as bodies
from kgrec_core.serving.asking import SCOPES, asked, counted
from kgrec_core.serving.batching import Batcher
from kgrec_core.serving.canary import Arm
from kgrec_core.serving.document import EMBEDDINGS, NAMED, document, one_or_many, operation
from kgrec_core.serving.feedback import Feedback
from kgrec_core.serving.heard import feedback, note, source_field
from kgrec_core.serving.hosted import Hosted, verbs_of
from kgrec_core.serving.problem import Refused, described, response
from kgrec_core.serving.schema import schema
from kgrec_core.serving.service import Service
from kgrec_core.serving.tracing import Tracing

log = logging.getLogger("kgrec.serving")
MOST_SECONDS = 60.0
Handler = Callable[[Request], Awaitable[Response]]


def application(service: Service) -> FastAPI:
    """The routes of a service, and the pages of its console."""
    from kgrec_core.console.site import routes

    tracing = Tracing()

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        service.batcher = Batcher(service.metrics, service.queue, service.drift.tell)
        beside = [asyncio.create_task(service.watch()), asyncio.create_task(service.write_down())]
        yield
        service.leaving = True
        for task in beside:
            task.cancel()
        await service.batcher.close()
        with suppress(Refused):  # a full disk: of notes that nobody can write nothing is left
            await asyncio.to_thread(service.feedback.flush)
        tracing.close()

    app = FastAPI(title="kgrec", version=kgrec_core.__version__, lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)

    def add(path: str, handler: Handler, method: str = "POST", **extra: Any) -> None:
        app.add_route(path, _guarded(service, tracing.handled(handler, path), path), methods=[method])
        described_as["paths"][path] = {method.lower(): operation(**extra)}

    described_as = document(service.access.required)
    for domain in {of.domain.name: of.domain for of in service.runs.values()}.values():
        for word, verb in verbs_of(domain).items():
            request = load_target(verb.request, f"verb '{word}'")
            path = f"/v1/{domain.name}/{word}"
            text, _ = about(request)
            one = schema(request, service.limits.number)
            add(
                path,
                _verb(service, domain.name, word, verb),
                summary=verb.help,
                description=text,
                body=one_or_many(one),
                tags=[domain.name],
            )
    add("/v1/embeddings", _embeddings(service), summary="Vectors of texts, in OpenAI's form.", body=EMBEDDINGS, tags=["texts"])
    body = one_or_many(schema(Feedback, service.limits.number))
    add("/v1/feedback", feedback(service), summary="What became of an answer.", description=about(Feedback)[0], body=body, tags=["service"])
    add("/v1/runs", _listing(service), "GET", summary="The runs that are served.", tags=["service"])
    add("/v1/drift", _drift(service), "GET", summary="How far queries are from those the runs were made for.", tags=["service"])
    add("/admin/reload", _admin(service, "reload"), summary="Load a newly published run now.", body=NAMED, tags=["service"])
    add("/admin/rollback", _admin(service, "rollback"), summary="Show the run of before again.", body=NAMED, tags=["service"])
    add("/admin/promote", _admin(service, "promote"), summary="Give every caller to the canary.", body=NAMED, tags=["service"])
    app.add_route("/openapi.json", lambda request: JSONResponse(described_as), methods=["GET"])
    app.add_route("/health/live", lambda request: JSONResponse({"status": "live"}), methods=["GET"])
    app.add_route("/health/ready", lambda request: JSONResponse(service.ready(), 503 if service.leaving else 200), methods=["GET"])
    app.add_route("/metrics", lambda request: Response(service.metrics.text(), media_type="text/plain; version=0.0.4"), methods=["GET"])
    app.add_exception_handler(HTTPException, _not_found)
    for path, methods, page in routes(service):
        app.add_route(path, page, methods=methods)
    return app


def _guarded(service: Service, handler: Handler, path: str) -> Handler:
    """Gives each request an id, an answer in every case, a line in the log and a place in the metrics."""
    verb = path.rpartition("/")[2]

    async def guarded(request: Request) -> Response:
        began, id = time.perf_counter(), _id(request)
        request.state.id, request.state.caller, request.state.run, request.state.whole = id, None, "", began
        try:
            found = await handler(request)
        except KgrecError as error:
            found = response(error, id)
        except Exception:
            log.exception("request %s failed", id)
            found = response(Refused(500, "the service could not answer this; its log says why"), id)
        found.headers.update({"X-Request-Id": id} | service.last_words)
        service.metrics.requests.labels(path.split("/")[2] if path.startswith("/v1/") else "", verb, str(found.status_code)).inc()
        busy, now = found.status_code == 503, time.perf_counter()
        how = service.metrics.turned if busy else service.metrics.latency.labels(verb)
        how.observe(now - (request.state.whole if busy else began))
        caller = getattr(request.state.caller, "shown", "")
        service.log(id=id, verb=verb, run=request.state.run, caller=caller, status=found.status_code, ms=round(1e3 * (now - began), 1))
        return found

    return guarded


def _verb(service: Service, domain: str, word: str, verb: Verb) -> Handler:
    async def handle(request: Request) -> Response:
        caller = service.admit(request, SCOPES[verb.kind])
        of = _run(service, request, domain)
        with service.batcher.place() if verb.kind == "ask" else nullcontext():
            body = await bodies.read(request, service.limits)
        given = bodies.parsed(body, service.limits)
        many = set(given) == {"requests"}
        values = given["requests"] if many else [given]
        if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
            raise Refused(400, 'requests takes a list of objects, each a request: {"requests": [{...}, {...}]}')
        counted(service, caller, values, f"kgrec {domain} {word}")
        source = source_field(verb.request)
        arm = service.arm(of, request, caller, values[0] if values else {}, source) if verb.kind == "ask" else Arm(of)
        of = arm.of
        once_only = request.headers.get("idempotency-key") if verb.kind == "edit" else None
        if verb.kind != "ask":
            service.repeats.ready()
        repeated = service.repeats.key(once_only, caller, f"{of.name} {word}", values)
        with service.repeats.once(repeated) as once:
            if once.before is not None:
                return JSONResponse(once.before, headers={"Idempotent-Replay": "true"})
            with service.judging(arm) as judged:
                results, edit = await asked(
                    service,
                    of,
                    word,
                    verb,
                    values,
                    caller,
                    request.state.id,
                    _seconds(request, service),
                    lambda work: _while_connected(request, work),
                )
                judged += results
            if not many and isinstance(results[0], KgrecError):
                raise results[0]
            told = [{"error": described(r)} if isinstance(r, KgrecError) else {"result": as_data(r)} for r in results]
            whole = once.answer = {"run": of.name, "edit": edit, **({"results": told} if many else told[0])}
        if verb.kind == "ask":
            note(service, arm, edit, caller, source, request, many, zip(values, results, strict=True))
        return JSONResponse(whole)

    return handle


def _embeddings(service: Service) -> Handler:
    async def handle(request: Request) -> Response:
        caller = service.admit(request, "ask")
        with service.batcher.place():
            body = await bodies.read(request, service.limits)
        given = bodies.parsed(body, service.limits)
        texts = [given.get("input")] if isinstance(given.get("input"), str) else given.get("input")
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise Refused(400, "input takes a text or a list of texts")
        if len(texts) > service.limits.requests:
            raise Refused(413, f"{len(texts):,} texts in one body; {service.limits.requests} are allowed")
        if stray := set(given) - {"input", "model", "encoding_format", "user", "dimensions"}:
            raise choices("field of embeddings", sorted(stray)[0], ("input", "model", "encoding_format"))
        if given.get("encoding_format", "float") != "float" or given.get("dimensions") is not None:
            raise Refused(400, 'only encoding_format "float" is served, and all dimensions')
        of = service.named(given.get("model"))
        request.state.run = of.name
        service.spend(caller, len(texts))
        answers = await _while_connected(request, service.batcher.ask(of, "embeddings", VECTORS, texts, _seconds(request, service)))
        data = []
        for number, (vector, _) in enumerate(answers):
            if isinstance(vector, KgrecError):
                raise vector
            data.append({"object": "embedding", "index": number, "embedding": vector})
        return JSONResponse({"object": "list", "data": data, "model": of.name, "usage": {"prompt_tokens": 0, "total_tokens": 0}})

    return handle


def _listing(service: Service) -> Handler:
    async def handle(request: Request) -> Response:
        service.admit(request, "ask")
        runs = [
            {
                "name": of.name,
                "domain": of.domain.name,
                "edit": of.snapshot.edit,
                "published": of.published[:12],
                "rolled_back": of.rolled_back,
                **({"canary": service.canary.told()} if service.canary and of is service.canary.other else {}),
            }
            for of in service.runs.values()
        ]
        return JSONResponse({"runs": runs})

    return handle


def _drift(service: Service) -> Handler:
    async def handle(request: Request) -> Response:
        service.admit(request, "ask")
        return JSONResponse({"runs": [{"run": run, "task": task, **of.told()} for (run, task), of in service.drift.windows.items()]})

    return handle


def _admin(service: Service, what: str) -> Handler:
    async def handle(request: Request) -> Response:
        caller = service.admit(request, "admin")
        given = bodies.parsed(await bodies.read(request, service.limits) or b"{}", service.limits)
        if stray := set(given) - {"run"}:
            raise choices("field", sorted(stray)[0], ("run",))
        of = service.named(given.get("run"))
        request.state.run = of.name
        changed = True
        if what == "reload":
            changed = await asyncio.to_thread(service.reload, of)
        else:
            await asyncio.to_thread({"rollback": service.back, "promote": service.promote}[what], of)
        service.metrics.reloads.labels(of.name, what).inc()
        service.audit(caller, what, of.name, of.snapshot.edit, 1, request.state.id)
        return JSONResponse({"run": of.name, "changed": changed, "published": of.published[:12], "rolled_back": of.rolled_back})

    return handle


async def _while_connected(request: Request, work: Awaitable[Any]) -> Any:
    """What `work` gives; it is cancelled when its caller leaves."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Refused(408, "the caller left")
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _run(service: Service, request: Request, domain: str) -> Hosted:
    of = service.named(request.query_params.get("run"), domain)
    request.state.run = of.name
    return of


def _seconds(request: Request, service: Service) -> float:
    told = request.headers.get("x-deadline-ms")
    if told is None:
        return service.seconds
    if not (told.isascii() and told.isdigit()) or not 0 < int(told[:9]) <= MOST_SECONDS * 1e3:
        raise Refused(400, f"X-Deadline-Ms takes milliseconds, from 1 to {MOST_SECONDS * 1e3:.0f}")
    return int(told) / 1e3


def _id(request: Request) -> str:
    told = request.headers.get("x-request-id", "")
    return told if told.isascii() and told.replace("-", "").isalnum() and len(told) <= 64 else uuid.uuid4().hex


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    told = (
        f"{request.url.path[:80]} is no endpoint of this service; GET /openapi.json lists them"
        if status == 404
        else "this endpoint takes another method"
    )
    return response(Refused(status, told, getattr(error, "headers", None) or {}))


VECTORS = Verb("", "kgrec_core.serving.texts:vectors")
