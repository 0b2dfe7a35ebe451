"""A service as processes: one, or workers of one parent, which listens, opens nothing and answers nothing.

Workers are forked before any table is touched: polars computes in threads, which a fork does not take along, and a worker of a parent that
had used them would wait for ever. Each opens the runs itself. What is imported before the fork and what is mapped from files stands in memory
once. A worker that dies is replaced. Connections are shared out evenly: each worker takes one a turn.
SIGTERM ends the accepting, then what is under way, then the process.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any

import pyarrow
import uvicorn
from prometheus_client.multiprocess import mark_process_dead

from kgrec_core.data.privacy import mask
from kgrec_core.errors import KgrecError
from kgrec_core.serving.app import application
from kgrec_core.serving.service import Service

log = logging.getLogger("kgrec.serving")
BACKLOG = 512
LATE = ("faiss", "lightgbm", "bm25s", "sklearn.feature_extraction.text", "sentence_transformers")  # what parts import when they are needed
PAUSE = 1.0  # seconds after which a worker that ended by itself is replaced
SWITCH = 0.001  # seconds after which a thread that computes lets the event loop's go on; with 5 ms a refusal under load waits for several of them
YIELD = 1e-9  # seconds, for which whoever else waits at a socket may run
PR_SET_PDEATHSIG = 1
GRACE = 30  # seconds that requests under way may take at the end
LAST = 5  # seconds more, then the process ends whatever it computes: no thread can be told to stop


def server_of(service: Service) -> Server:
    """Ready to serve on sockets."""
    sys.setswitchinterval(SWITCH)
    config = uvicorn.Config(
        application(service),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=32_768,
    )
    return Server(config, service)


class Server(uvicorn.Server):
    """From the signal on, whoever asks on a connection that stays open is told that it does not; the process ends within GRACE + LAST."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            given_up = threading.Timer(GRACE + LAST, _give_up)
            given_up.daemon = True
            given_up.start()
        self.service.last_words = {"Connection": "close"}
        super().handle_exit(sig, frame)


def _give_up() -> None:
    log.error("what was under way did not end within %d seconds and is given up", GRACE + LAST)
    os._exit(1)


def run_service(make: Callable[[bytes], Service], host: str, port: int, workers: int, say: Callable[[str], None]) -> None:
    """Open the runs and serve until a signal comes. make: from a secret that all workers share. Raises KgrecError where a run cannot be
    opened or the port is taken."""
    logs()
    sock, secret = listening(host, port), secrets.token_bytes(32)
    at = "http://{}:{}".format(*sock.getsockname()[:2])

    def told(runs: Sequence[str]) -> None:
        say(f"{', '.join(runs)} at {at}" + (f", {workers} workers" if workers > 1 else ""))
        sys.stdout.flush()

    def work(ready: Callable[[Sequence[str]], object]) -> None:
        if workers > 1:
            import torch

            torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
        pyarrow.set_memory_pool(pyarrow.system_memory_pool())  # its own keeps twice the graph after it was read
        service = make(secret)
        _give_back()
        ready(list(service.runs))
        server_of(service).run(sockets=[sock if workers == 1 else Shared(fileno=sock.detach())])

    work(told) if workers == 1 else supervised(work, workers, told, sock.close)


def listening(host: str, port: int) -> socket.socket:
    """A bound socket that listens. asyncio sends at once (TCP_NODELAY) only on sockets that say they are TCP; others wait 40 ms for an ACK."""
    try:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.set_inheritable(True)
        return sock
    except OSError as error:
        raise KgrecError(f"{host}:{port} cannot be listened on ({error.strerror}); choose another --port or --host") from None


class Shared(socket.socket):
    """A listening socket of several processes: one connection a turn, then it is another's. asyncio takes all that wait, so that of
    clients who come together one worker gets every one, and the others have nothing to do. (libuv's uv_tcp_simultaneous_accepts, off.)"""

    took = False

    def accept(self) -> tuple[socket.socket, Any]:
        if self.took:
            self.took = False
            raise BlockingIOError  # asyncio comes again at its next turn
        found = super().accept()
        self.took = True
        time.sleep(YIELD)
        return found


Work = Callable[[Callable[[Sequence[str]], object]], None]


def supervised(work: Work, workers: int, told: Callable[[Sequence[str]], None], leave: Callable[[], None]) -> None:
    """Keep so many children at `work`, until SIGTERM or SIGINT, which they get as well. told: which runs the first one has opened; the
    others begin after it. leave: called then, so that nobody waits at a socket that no child takes from. Raises KgrecError where the
    first cannot."""
    ending = False
    children: set[int] = set()

    def end(number: int, frame: object) -> None:
        nonlocal ending
        ending = True
        leave()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    signals = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, end) for number in signals}

    def begin() -> int:
        """Another child, and where it tells what it has opened. No signal comes between its birth and its being known."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        child, place = _forked(work, signals)
        children.add(child)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        return place

    _share_imports()
    try:
        with os.fdopen(begin(), encoding="utf-8") as first:
            said = json.loads(first.readline() or "{}")
        if "runs" in said:
            told(said["runs"])
        elif not ending:
            raise KgrecError(said.get("error", "the first worker ended before it had opened the runs; the log says more"))
        while not ending or children:
            while not ending and len(children) < workers:
                os.close(begin())
            child, status = os.waitpid(-1, os.WNOHANG)
            if child in children:
                children.discard(child)
                mark_process_dead(child)
                if not ending:
                    log.error("worker %d ended (%d) and is replaced", child, status)
                    time.sleep(PAUSE if os.WIFEXITED(status) else 0)
            elif not child:
                time.sleep(0.05)
    finally:
        for number, was in before.items():
            signal.signal(number, was)
        shutil.rmtree(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""), ignore_errors=True)


def _share_imports() -> None:
    """What opening a run imports, now; and nothing of it is walked by the collector again, which would write into every page of it."""
    for module in LATE:
        with suppress(ImportError):
            import_module(module)
    gc.collect()
    gc.freeze()
    _give_back()


def _give_back() -> None:
    """Memory that is free within the heap, to the system; a C library other than glibc does it by itself or not at all."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _forked(work: Work, signals: Sequence[signal.Signals]) -> tuple[int, int]:
    """A child at work, and the end of a pipe that says what it has opened, or why it could not."""
    place, other = os.pipe()
    child = os.fork()
    if child:
        os.close(other)
        return child, place
    code = 1

    def tell(**what: object) -> bool:
        """Whether somebody listens, as of the first worker."""
        with suppress(OSError), os.fdopen(other, "wb") as out:
            out.write(json.dumps(what).encode() + b"\n")
            return True
        return False

    try:
        with suppress(
            OSError, AttributeError
        ):  # Linux: where the parent is killed, nobody would replace those who die, so they end as well
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        for number in signals:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        work(lambda runs: tell(runs=runs))
        code = 0
    except KgrecError as error:
        if not tell(error=str(error)):
            log.error("%s", error)
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
