"""A service as processes: one, or workers that are forked from one that has opened the runs, so that they share its memory.

Forked after the runs are read: graph, vectors and indexes stand in memory once, as no reader writes to them. A worker that dies is
forked again, at once and with nothing to open. SIGTERM ends the accepting, then what is under way, then the process.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from prometheus_client.multiprocess import mark_process_dead

from kgrec_core.data.privacy import mask
from kgrec_core.errors import KgrecError
from kgrec_core.serving.app import application
from kgrec_core.serving.service import Service

log = logging.getLogger("kgrec.serving")
BACKLOG = 512
GRACE = 30  # seconds that requests under way may take at the end


def server_of(service: Service) -> uvicorn.Server:
    """Ready to serve on sockets."""
    config = uvicorn.Config(
        application(service),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=32_768,
    )
    return uvicorn.Server(config)


def run_service(make: Callable[[], Service], host: str, port: int, workers: int, say: Callable[[str], None]) -> None:
    """Open the runs and serve until a signal comes. Raises KgrecError where the port is taken."""
    logs()
    sock = listening(host, port)
    if workers > 1:
        import torch

        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    service = make()
    at = sock.getsockname()
    say(f"{', '.join(service.runs)} at http://{at[0]}:{at[1]}" + (f", {workers} workers" if workers > 1 else ""))
    sys.stdout.flush()
    if workers == 1:
        server_of(service).run(sockets=[sock])
    else:
        supervised(lambda: server_of(service).run(sockets=[sock]), workers)


def listening(host: str, port: int) -> socket.socket:
    """A bound socket that listens."""
    try:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.set_inheritable(True)
        return sock
    except OSError as error:
        raise KgrecError(f"{host}:{port} cannot be listened on ({error.strerror}); choose another --port or --host") from None


def supervised(work: Callable[[], None], workers: int) -> None:
    """Keep so many children at `work`, until SIGTERM or SIGINT, which they get as well."""
    ending = False
    children: set[int] = set()

    def end(number: int, frame: object) -> None:
        nonlocal ending
        ending = True
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    gc.freeze()  # what is there now is never looked through again, so its pages stay shared
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        while not ending or children:
            while not ending and len(children) < workers:
                children.add(_forked(work))
            child, status = os.waitpid(-1, os.WNOHANG)
            if child in children:
                children.discard(child)
                mark_process_dead(child)
                if not ending:
                    log.error("worker %d ended (%d) and is replaced", child, status)
            elif not child:
                time.sleep(0.05)
    finally:
        for number, was in before.items():
            signal.signal(number, was)
        shutil.rmtree(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""), ignore_errors=True)


def _forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        work()
        code = 0
    finally:
        os._exit(code)


class Masked(logging.Formatter):
    """What is told of faults, with its traceback: personal data in it is masked, as it may quote what was asked."""

    def format(self, record: logging.LogRecord) -> str:
        return mask([super().format(record)])[0]


def logs() -> None:
    """On standard error: lines of JSON, one a request, which hold no text; and what goes wrong, masked."""
    for name, formatter, level in (
        ("kgrec.access", logging.Formatter("%(message)s"), logging.INFO),
        ("kgrec", Masked("%(asctime)s %(levelname)s %(message)s"), logging.WARNING),
    ):
        handler, logger = logging.StreamHandler(), logging.getLogger(name)
        handler.setFormatter(formatter)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
