"""What a service counts, in Prometheus' form; several workers of one service add up where PROMETHEUS_MULTIPROC_DIR is set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

RELOADS = ("reload", "refused", "rollback", "promote", "taken back", "on drift", "on drift failed")
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """Each service has its own registry, so that several can live in one process. runs: their names."""

    def __init__(self, runs: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        to = {"registry": self.registry}
        self.requests = Counter("kgrec_requests", "Answered requests.", ["domain", "verb", "status"], **to)
        self.latency = Histogram("kgrec_request_seconds", "From a request's arrival to its answer.", ["verb"], buckets=SECONDS, **to)
        self.waited = Histogram("kgrec_queue_seconds", "Waiting for a call.", buckets=SECONDS, **to)
        self.computed = Histogram("kgrec_compute_seconds", "One shared call.", ["verb"], buckets=SECONDS, **to)
        self.batch = Histogram("kgrec_batch_size", "Requests that shared a call.", buckets=(1, 2, 4, 8, 16), **to)
        self.queue = Gauge("kgrec_queue", "Requests that wait.", multiprocess_mode="livesum", **to)
        self.refusals = Counter("kgrec_refusals", "Requests that were refused before any work.", ["why"], **to)
        self.turned = Histogram(
            "kgrec_busy_seconds",
            "From a request's arrival, of its head or of its whole body, to a 503.",
            buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 1),
            **to,
        )
        self.outcomes = Counter(
            "kgrec_outcomes", "What replies came to, where they say so (answer, clarify, hand over).", ["outcome"], **to
        )
        self.events = Counter("kgrec_feedback", "Events on answers.", ["run", "arm", "event"], **to)
        self.answers = Counter("kgrec_answers", "Answers by run and arm.", ["run", "arm"], **to)
        self.canary_share = Gauge("kgrec_canary_share", "Of callers that get the canary.", ["run"], multiprocess_mode="mostrecent", **to)
        self.canary_evidence = Gauge(
            "kgrec_canary_evidence", "That it is worse; 20 take it back.", ["run"], multiprocess_mode="mostrecent", **to
        )
        self.review = Gauge("kgrec_review_waiting", "Answers that wait for a person.", ["run"], multiprocess_mode="livemax", **to)
        self.unreadable = Gauge(
            "kgrec_log_unreadable", "1 where a run's log of edits is damaged or gone.", ["run"], multiprocess_mode="livemax", **to
        )
        of = ["run", "task", "how", "what"]
        self.drift = Gauge(
            "kgrec_drift", "How far queries are from the run's sample: PSI; of vectors MMD².", of, multiprocess_mode="livemax", **to
        )
        self.drift_bound = Gauge("kgrec_drift_bound", "Above which it says something.", of, multiprocess_mode="livemax", **to)
        self.reloads = Counter("kgrec_reloads", "Runs that were swapped, refused or taken back.", ["run", "what"], **to)
        for run, what in product(runs, RELOADS):
            self.reloads.labels(run, what)  # from 0 on: Prometheus sees no increase in a series that begins with one

    def refused(self, why: str) -> None:
        self.refusals.labels(why).inc()

    def drifted(self, windows: Mapping[tuple[str, str], Any]) -> None:
        """What is known of drift now."""
        for (run, task), window in windows.items():
            for how, of in window.found.items():
                for what, level in of.items():
                    self.drift.labels(run, task, how, what).set(level.value)
                    self.drift_bound.labels(run, task, how, what).set(level.bound)

    def outcome(self, result: Any) -> None:
        """Of a result that has an outcome, which."""
        if isinstance(found := getattr(result, "outcome", None), str):
            self.outcomes.labels(found).inc()

    def text(self) -> bytes:
        """As Prometheus reads it."""
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            every = CollectorRegistry()
            MultiProcessCollector(every)
            return generate_latest(every)
        return generate_latest(self.registry)
