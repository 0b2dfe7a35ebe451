"""Whether a run is asked what it was made for: its sample of queries against the last ones of this process.

A distance counts once it has held for some time; then the operator's command is run, one at a time for all workers. What it publishes is
loaded as any newly published run, and the comparison begins anew.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shlex
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kgrec_core.errors import KgrecError
from kgrec_core.evaluation.drift import Level, mmd, psi_categories, psi_numbers
from kgrec_core.graph import Nodes, Task
from kgrec_core.run.seen import Sample, joined, nearest
from kgrec_core.run.snapshot import Snapshot
from kgrec_core.serving.hosted import Hosted

log = logging.getLogger("kgrec.serving")
WINDOW, LEAST, FRESH = 500, 100, 50  # queries: compared, at least, and new since the last comparison
NUMBERS, CATEGORIES = ("met", "letters", "near", "score"), ("script", "label")

HABIT = ("met", "score")  # of a history: how much of it is sent is its caller's habit, and scores follow that


def levels(before: Sample, now: Sample) -> dict[str, dict[str, Level]]:
    """How they were put -> what is compared -> how far it is; nothing of less than LEAST queries."""
    found: dict[str, dict[str, Level]] = {}
    for how in ("words", "known", "history"):
        one, other = before.of(how), now.of(how)
        if min(len(one), len(other)) < LEAST:
            continue
        of = found[how] = {}
        for name in (*NUMBERS, *CATEGORIES):
            pair = one.given(name), other.given(name)
            if min(map(len, pair)) < LEAST or (name in HABIT and how == "history"):
                continue
            of[name] = psi_numbers(*pair) if name in NUMBERS else psi_categories(*(values.tolist() for values in pair))
        vectors = [sample.vectors[~np.isnan(sample.columns["score"])] for sample in (one, other)]
        if min(map(len, vectors)) >= LEAST:
            of["vectors"] = mmd(*vectors)
    return found


class Window:
    """The last queries of one run's task, and how far they are from its sample."""

    def __init__(self, hosted: Hosted, task: Task) -> None:
        self.hosted, self.task = hosted, task
        self._lock, self._begin = threading.Lock(), hosted.published
        self.found: dict[str, dict[str, Level]] = {}
        self._again()

    def add(self, found: Sample) -> None:
        with self._lock:
            self._samples.append(found)
            self._size += len(found)
            self._fresh += len(found)
            while self._size - len(self._samples[0]) >= WINDOW:
                self._size -= len(self._samples.popleft())

    def look(self, now: float) -> None:
        """Compare, where there is enough new. Raises KgrecError for a run whose sample is damaged."""
        if self._begin != self.hosted.published:
            self._again()
            self._begin = self.hosted.published
        before = self.hosted.sample(self.task.name)
        if before is None or self._size < LEAST or self._fresh < FRESH:
            return
        with self._lock:
            samples, self._fresh = list(self._samples), 0
        self.found = levels(before, _near(joined(samples), self.hosted.snapshot, self.task))
        if not self.drifted:
            self.since = None
        elif self.since is None:
            self.since = now
            log.warning("%s, task %s, is asked otherwise than it was made for: %s", self.hosted.name, self.task.name, self.drifted)

    @property
    def drifted(self) -> list[str]:
        return [f"{how} {name}" for how, of in self.found.items() for name, level in of.items() if level.drifted]

    def told(self) -> dict[str, Any]:
        each = {
            how: {name: {"distance": round(level.value, 4), "bound": round(level.bound, 4)} for name, level in of.items()}
            for how, of in self.found.items()
        }
        since = None if self.since is None else time.time() - (time.monotonic() - self.since)  # seconds UTC
        return {"queries": self._size, "since": since, "drifted": self.drifted, "distances": each}

    def _again(self) -> None:
        with self._lock:
            self._samples: deque[Sample] = deque()
            self._size = self._fresh = 0
        self.found, self.since = {}, None  # since: by a clock that nobody sets, as is all that is waited for


def _near(found: Sample, snapshot: Snapshot, task: Task) -> Sample:
    nodes = Nodes(snapshot.graph, task.relation.source, np.zeros(len(found), np.int64), "query")
    return nearest(found, snapshot.retrievals[task.name], nodes)


class Drift:
    """Of all runs of a service. command: what is run when a distance has held for `holds` seconds; {run} in it is the run's folder."""

    def __init__(self, runs: Mapping[str, Hosted], state: Path, command: str | None = None, holds: float = 600.0) -> None:
        self.windows = {(name, task.name): Window(of, task) for name, of in runs.items() for task in of.snapshot.tasks}
        self.state, self.command, self.holds = state, _words(command), holds
        self._child: subprocess.Popen[bytes] | None = None
        self._again, self._of = 0.0, ""  # when it may begin again, and of which run it is

    def tell(self, hosted: Hosted, task: Task, found: Sample) -> None:
        """A few queries that a run was asked."""
        window = self.windows.get((hosted.name, task.name))
        if window is not None:
            window.add(found)

    def look(self) -> list[tuple[str, str]]:
        """Compare every window and do what is due; of which run the command was begun or has failed, as the metrics call it."""
        done: list[tuple[str, str]] = []
        now, due = time.monotonic(), ""
        for (name, _), window in self.windows.items():
            try:
                window.look(now)
            except KgrecError as error:
                log.error("drift of %s cannot be told: %s", name, error)
            due = due or (name if window.since is not None and now - window.since >= self.holds else "")
        if self._child is not None and (code := self._child.poll()) is not None:
            if code:
                log.error("the command for drift failed (%d); it said what is in %s", code, self.state / "on_drift.log")
                done.append((self._of, "on drift failed"))
            else:
                log.warning("the command for drift has ended")
            self._child, self._again = None, now + self.holds
        if due and self.command and self._child is None and now >= self._again:
            folder = next(window.hosted.folder for (name, _), window in self.windows.items() if name == due)
            if self._begin([word.replace("{run}", str(folder)) for word in self.command]):
                self._of = due
                done.append((due, "on drift"))
        return done

    def _begin(self, words: list[str]) -> bool:
        """Begin a command, unless another worker's is running: the lock is the child's, whoever began it."""
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            with open(self.state / "on_drift.lock", "w") as lock, open(self.state / "on_drift.log", "ab") as out:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=(lock.fileno(),))
        except BlockingIOError:
            return False
        except OSError as error:
            log.error("the command for drift, %s, cannot be begun: %s", words[0], error)
            self._again = time.monotonic() + self.holds
            return False
        log.warning("the command for drift is begun: %s", shlex.join(words))
        return True


def _words(command: str | None) -> list[str]:
    """As a shell would part it, but no shell is asked. Raises KgrecError."""
    try:
        words = shlex.split(command or "")
    except ValueError as error:
        raise KgrecError(f"--on-drift {command}: {error}") from None
    if command is not None and (not words or not any(os.access(Path(p) / words[0], os.X_OK) for p in ("", *os.get_exec_path()))):
        raise KgrecError(f"--on-drift {command!r}: there is no such command; name a program and its words, for a shell write sh -c '...'")
    return words
