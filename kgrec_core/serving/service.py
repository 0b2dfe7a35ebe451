"""What the endpoints of one process share: runs, limits, who may, metrics, logs."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.requests import Request

from kgrec_core.errors import KgrecError
from kgrec_core.run.review import waiting
from kgrec_core.serving.access import Access, Caller
from kgrec_core.serving.batching import Batcher
from kgrec_core.serving.body import Limits
from kgrec_core.serving.canary import PROMOTED, TAKEN, Arm, Canary
from kgrec_core.serving.drift import Drift
from kgrec_core.serving.feedback import FeedbackLog
from kgrec_core.serving.hosted import Hosted
from kgrec_core.serving.metrics import Metrics
from kgrec_core.serving.problem import Refused
from kgrec_core.serving.repeats import Repeats

lines = logging.getLogger("kgrec.access")
log = logging.getLogger("kgrec.serving")
NOTED = 0.1  # seconds between two writings of which answers were given


class Service:
    """runs: by name, the first of a domain answers where none is named. seconds: a request's deadline where it names none. queue: most that
    wait. watch_every: seconds between two looks for a newly published run. feedback: days for which answers are noted, so that events can
    name them; 0 = none are. canary: name of the run that a share of the first one's callers get, the share, and the seconds after an answer
    in which what it was good for counts; see `Canary`. on_drift: the operator's command for when runs have been asked otherwise than they
    were made for, for `drift_holds` seconds; see `Drift`."""

    batcher: Batcher

    def __init__(
        self,
        runs: Mapping[str, Hosted],
        access: Access | None = None,
        limits: Limits | None = None,
        seconds: float = 10.0,
        queue: int = 256,
        state: Path | None = None,
        watch_every: float = 2.0,
        feedback: float = 0.0,
        canary: tuple[str, float, float] | None = None,
        on_drift: str | None = None,
        drift_holds: float = 600.0,
        secret: bytes = b"",
    ) -> None:
        self.runs, self.access, self.limits = dict(runs), access or Access(), limits or Limits()
        self.seconds, self.queue, self.watch_every, self.leaving = seconds, queue, watch_every, False
        self.last_words: dict[str, str] = {}  # headers of every answer from the signal to leave on
        self.metrics = Metrics(self.runs)
        self.secret = secret or secrets.token_bytes(32)  # of this service and all its workers, for as long as it runs
        first = next(iter(self.runs.values())).folder
        self.state = state or first.with_name(f"{first.name}.serve")
        self.repeats = Repeats(self.state / "repeats.sqlite")
        self.feedback = FeedbackLog(self.state, feedback or (7.0 if canary else 0.0))
        self.drift = Drift(self.runs, self.state, on_drift, drift_holds)
        self.canary = self._canary(*canary) if canary else None

    def ready(self) -> dict[str, Any]:
        """Whether it takes requests, and of which runs it cannot read the edits."""
        faulty = [of.name for of in self.runs.values() if of.unreadable]
        return {"ready": not self.leaving, **({"unreadable": faulty} if faulty else {})}

    def named(self, name: Any = None, domain: str = "") -> Hosted:
        """A run by name; without one the first. Raises Refused 404."""
        known = {key: of for key, of in self.runs.items() if domain in ("", of.domain.name)}
        if name is None:
            return next(iter(known.values()))
        if not isinstance(name, str) or name not in known:
            raise Refused(404, f"no run is called {str(name)[:80]!r}; known: {', '.join(known)}")
        return known[name]

    def arm(self, of: Hosted, request: Request, caller: Caller, values: Mapping[str, Any], source: str | None) -> Arm:
        """Which run answers a request that named none: by the header X-User, else by the id in its field `source`, else by the caller's key."""
        if self.canary is None or of is not self.canary.first or "run" in request.query_params:
            return Arm(of, "named" if "run" in request.query_params else "main")
        user = request.headers.get("x-user") or (values.get(source) if source else None)
        arm = self.canary.arm(f"user {user}" if isinstance(user, str) else f"key {caller.name}")
        request.state.run = arm.of.name
        return arm

    @contextmanager
    def judging(self, arm: Arm) -> Iterator[list[Any]]:
        """Around what an arm is asked: the results that are put into the list, or what is raised, are held against the canary."""
        results: list[Any] = []
        try:
            yield results
        except KgrecError as error:
            results.append(error)
            raise
        finally:
            if self.canary is not None and results:
                self.canary.judge(self.feedback, arm, results)

    def _canary(self, name: str, share: float, within: float) -> Canary:
        other = self.named(name)
        first = self.named(None, other.domain.name)
        if first is other:
            raise KgrecError(f"{name} is a canary for no run: name another one of its domain before it")
        mine, its = (of.snapshot.safety for of in (first, other))
        if (mine.state.rules.there or mine.state.decided) and not its.state.rules.there:
            raise KgrecError(f"{name} has no rules, but {first.name} has, or decisions; copy them, or write an empty {its.file}")
        return Canary(first, other, share, self.state, within)

    def admit(self, request: Request, scope: str) -> Caller:
        """Who asks. Raises Refused 401 or 403, and 503 when the service is leaving."""
        if self.leaving:
            raise Refused(503, "the service is ending; ask again in a moment", {"Retry-After": "1"})
        try:
            caller = self.access.caller(request.headers.get("authorization"), request.query_params, scope)
        except Refused as error:
            self.metrics.refused({401: "unknown", 403: "scope"}.get(error.status, "access"))
            raise
        request.state.caller = caller
        return caller

    def spend(self, caller: Caller, requests: int) -> None:
        """Count requests against the caller's rate and quota. Raises Refused 429."""
        try:
            self.access.spend(caller, requests)
        except Refused:
            self.metrics.refused("quota")
            raise

    def log(self, **fields: Any) -> None:
        """One line a request: no text of it."""
        lines.info(json.dumps(fields, ensure_ascii=True))

    def audit(self, caller: Caller, what: str, run: str, edit: int, requests: int, request_id: str) -> None:
        """Who changed what, when; kept in STATE/audit.jsonl."""
        self.repeats.audit(self.state / "audit.jsonl", caller.shown, what, run, edit, requests, request_id)

    async def watch(self) -> None:
        """Reload what is published anew, and go back where another worker was told to."""
        while True:
            await asyncio.sleep(self.watch_every)
            try:
                await asyncio.to_thread(self.look)
            except Exception:  # the next look may be better, and what is served does not hang on it
                log.exception("looking for newly published runs failed")

    async def write_down(self) -> None:
        """Let other workers know which answers were given."""
        while self.feedback.days:
            await asyncio.sleep(NOTED)
            try:
                await asyncio.to_thread(self.feedback.flush)
            except Refused as error:
                self.metrics.refused("notes")
                log.error("%s", error)

    def look(self) -> None:
        """Once; see `watch`."""
        taken = self.taken()
        for of in self.runs.values():
            try:
                if of.published in taken and of.before:
                    of.back()
                elif of.reload(taken):
                    self.metrics.reloads.labels(of.name, "reload").inc()
            except KgrecError as error:
                self.metrics.reloads.labels(of.name, "refused").inc()
                log.error("a newly published %s is not shown: %s", of.name, error)
            with suppress(KgrecError):  # whoever asks the run is told
                self.metrics.review.labels(of.name).set(len(waiting(of.snapshot)))
            self.metrics.unreadable.labels(of.name).set(bool(of.unreadable))
        if self.canary is not None:
            self.look_at(self.canary)
        for run, what in self.drift.look():
            self.metrics.reloads.labels(run, what).inc()
        self.metrics.drifted(self.drift.windows)

    def look_at(self, canary: Canary) -> None:
        """Whether the canary is worse; its state in the metrics."""
        try:
            if canary.look(self.feedback):
                self.metrics.reloads.labels(canary.other.name, "taken back").inc()
        except KgrecError as error:
            log.error("canary %s cannot be tested: %s", canary.other.name, error)
        self.metrics.canary_share.labels(canary.other.name).set(canary.share_now)
        self.metrics.canary_evidence.labels(canary.other.name).set(canary.found["evidence"])

    def taken(self) -> frozenset[str]:
        """Checksums of the runs that were taken back, by whichever worker."""
        try:
            return frozenset((self.state / "taken_back").read_text("utf-8").split())
        except OSError:
            return frozenset()

    def back(self, of: Hosted) -> None:
        """Take the shown run back, here and in every other worker; of a canary, give its callers to the first run. Raises Refused."""
        if self.canary is not None and of is self.canary.other and self.canary.share_now:
            return self.canary.end(TAKEN, "by an operator")
        self._take([*self.taken(), of.back()])

    def promote(self, of: Hosted) -> None:
        """Give every caller to the canary, until another is published. Raises Refused 409 for another run."""
        if self.canary is None or of is not self.canary.other:
            raise Refused(409, f"{of.name} is no canary; start the service with --canary RUN")
        self.canary.end(PROMOTED, "by an operator")

    def reload(self, of: Hosted) -> bool:
        """Load what is published now, also where it was taken back or refused. Raises KgrecError where it cannot be shown."""
        changed = of.reload(force=True)
        self._take(self.taken() - {of.published})
        return changed

    def _take(self, checksums: Iterable[str]) -> None:
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            (self.state / "taken_back").write_text("\n".join(checksums), encoding="utf-8")
        except OSError as error:
            raise Refused(503, f"{self.state} cannot be written ({error.strerror}), so other workers do not hear of it") from None
