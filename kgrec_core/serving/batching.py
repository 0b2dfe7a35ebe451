"""Concurrent requests of one verb share a call: one snapshot, one forward pass, one search. What waits is bounded.

No timer: while one call computes, what arrives waits for the next, so a lone request waits for nobody. Texts go through the encoder in
passes of one shape, and at most WIDTH requests share a call, so that an answer does not depend on whom it was asked with.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from kgrec_core.encoder.tower import fixed_shape
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Task
from kgrec_core.recipe.components import Verb
from kgrec_core.run.seen import Sample, watched
from kgrec_core.run.texts import TOGETHER
from kgrec_core.serving.hosted import Hosted
from kgrec_core.serving.metrics import Metrics
from kgrec_core.serving.problem import Refused, busy
from kgrec_core.verbs import call

log = logging.getLogger("kgrec.serving")
HELD = 2.0  # seconds for which a body that is still arriving holds a place
WIDTH = 16  # from 20 queries on FAISS multiplies matrices, whose sums end in other digits


@dataclass(eq=False)
class Waiting:
    """One request. until: on the loop's clock; after that nobody waits for its answer."""

    hosted: Hosted
    word: str
    verb: Verb
    request: Any
    until: float
    came: float
    answer: asyncio.Future = field(repr=False)
    caller: str = ""
    audience: float | None = None  # of what age; only those of one share a call


class Batcher:
    """Made and used on one event loop. queue: most requests that wait. tell: hears which queries each run was asked."""

    def __init__(self, metrics: Metrics, queue: int = 256, tell: Callable[[Hosted, Task, Sample], None] | None = None) -> None:
        self.most, self.metrics, self.tell = queue, metrics, tell
        self._waiting: deque[Waiting] = deque()
        self._held = 0  # places of those whose body is arriving
        self._pool = ThreadPoolExecutor(1, "kgrec-ask")
        self._edits = ThreadPoolExecutor(1, "kgrec-edit")
        self._task: asyncio.Task | None = None
        self._took = 0.05  # seconds of a call, smoothed

    def ask(
        self, hosted: Hosted, word: str, verb: Verb, requests: Sequence[Any], seconds: float, caller: str = ""
    ) -> asyncio.Task[list[tuple[Any, int]]]:
        """A result or KgrecError for each request, with the number of the edit that it has read.

        Raises Refused at once, 503, where too many wait already; the task raises 504 where the deadline passes. Whoever is cancelled leaves
        the queue.
        """
        loop = asyncio.get_running_loop()
        self.refuse_beyond(len(requests))
        now, audience = loop.time(), hosted.audience(caller)
        mine = [Waiting(hosted, word, verb, request, now + seconds, now, loop.create_future(), caller, audience) for request in requests]
        self._waiting.extend(mine)
        self.metrics.queue.set(len(self._waiting))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        task = asyncio.create_task(self._answers(mine, seconds))
        task.add_done_callback(lambda _: [one.answer.cancel() for one in mine])
        return task

    async def _answers(self, mine: Sequence[Waiting], seconds: float) -> list[tuple[Any, int]]:
        try:
            async with asyncio.timeout(seconds):
                return [await one.answer for one in mine]
        except TimeoutError:
            self.metrics.refused("deadline")
            raise Refused(504, f"no answer within {seconds:g} s; ask for less, or allow more with the header X-Deadline-Ms") from None

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among those that wait, from a request's head until its body has arrived, so that whoever is refused is refused at once.

        A slow body loses it after HELD seconds. Raises Refused 503 where there is none.
        """
        self.refuse_beyond(1)
        self._held += 1
        held = [1]

        def leave() -> None:
            self._held -= held.pop() if held else 0

        timer = asyncio.get_running_loop().call_later(HELD, leave)
        try:
            yield
        finally:
            timer.cancel()
            leave()

    def refuse_beyond(self, requests: int) -> None:
        """Raises Refused 503 where so many more do not fit among those that wait."""
        if len(self._waiting) + self._held + requests > self.most:
            self.metrics.refused("queue")
            wait = self._took * len(self._waiting) / WIDTH
            raise busy(f"{len(self._waiting)} requests wait already; come again in a moment", wait)

    async def edit(self, hosted: Hosted, verb: Verb, requests: Sequence[Any]) -> list[Any]:
        """Edits and jobs, one after the other. An edit that has begun is finished, whoever waits for it."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._edits, lambda: call(verb, hosted.run, requests)))

    async def close(self) -> None:
        """Finish what waits."""
        while self._task is not None and not self._task.done():
            await asyncio.sleep(0.01)
        self._pool.shutdown()
        self._edits.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while together := self._next(loop.time()):
            began = time.perf_counter()
            for one in together:
                self.metrics.waited.observe(loop.time() - one.came)
            self.metrics.batch.observe(len(together))
            first = together[0]
            results, edit = await loop.run_in_executor(
                self._pool, self._answered, first.hosted, first.verb, [one.request for one in together], first.caller
            )
            took = time.perf_counter() - began
            self._took += 0.2 * (took - self._took)
            self.metrics.computed.labels(first.word).observe(took)
            for one, result in zip(together, results, strict=True):
                if not one.answer.done():
                    one.answer.set_result((result, edit))

    def _answered(self, hosted: Hosted, verb: Verb, requests: Sequence[Any], caller: str) -> tuple[list[Any], int]:
        with watched(partial(self.tell, hosted) if self.tell else None):
            return answered(hosted, verb, requests, caller)

    def _next(self, now: float) -> list[Waiting]:
        """The oldest request that somebody still waits for, and those like it."""
        found: list[Waiting] = []
        rest: deque[Waiting] = deque()
        for one in self._waiting:
            if one.answer.done() or one.until < now:
                continue  # its caller has left, or been told
            same = not found or _alike(one, found[0])
            (found if same and len(found) < WIDTH else rest).append(one)
        self._waiting = rest
        self.metrics.queue.set(len(rest))
        return found


def _alike(one: Waiting, other: Waiting) -> bool:
    return one.hosted is other.hosted and one.word == other.word and one.audience == other.audience


def answered(hosted: Hosted, verb: Verb, requests: Sequence[Any], caller: str = "") -> tuple[list[Any], int]:
    """Of one snapshot, as it may be shown to a caller: results or errors in the requests' order, and the number of its last edit. Never raises.

    A fault that is nobody's mistake spoils only the request that has it: the others are asked again alone.
    """
    try:
        snapshot = replace(hosted.snapshot, caller=caller)
        with fixed_shape(TOGETHER):
            return call(verb, snapshot, requests), snapshot.edit
    except KgrecError as error:
        return [error] * len(requests), 0
    except Exception:
        if len(requests) > 1:
            found = [answered(hosted, verb, [request], caller) for request in requests]
            return [result for (result,), _ in found], max(edit for _, edit in found)
        log.exception("%s failed", verb.function)
        return [Refused(500, "the service could not answer this; its log says why")], 0
