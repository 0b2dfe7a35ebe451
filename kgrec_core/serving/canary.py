"""A second run for a share of the callers, taken back by itself where a sequential test of their feedback says that it is worse.

Callers are drawn by a hash, so each has the same run every time. Each counts once: by the first of its answers that anything was said
of, which is good where something of it was clicked, bought or praised in time. Faults count without feedback: a second test asks, every ten
minutes anew, whether the canary fails more callers (each by its first answer in that time). What was decided stands in STATE/canary.json, for
every worker.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.evaluation.sequential import evidence
from kgrec_core.serving.feedback import GOOD, FeedbackLog
from kgrec_core.serving.hosted import Hosted
from kgrec_core.serving.problem import Refused
from kgrec_core.stored import document

log = logging.getLogger("kgrec.serving")
RUNNING, TAKEN, PROMOTED = "running", "taken back", "promoted"
EVERY = 10.0  # seconds between two tests
SLOT = 600.0  # seconds in which a caller counts once among the faults
FAULTS = (500, 504)  # statuses that are the run's fault; a full queue is nobody's
WORSE = (0.01, 0.05, 0.2, 0.8)  # by how much fewer of its callers a canary may answer


class Arm(NamedTuple):
    """Which run answers, as which arm, how probable that was, and for whom (hashed)."""

    of: Hosted
    name: str = "main"
    propensity: float = 1.0
    unit: str = ""


class Canary:
    """first: who answers the others. share: of the callers. within: seconds after an answer in which a good event counts. alpha: how
    probable it may be that a run which is not worse is ever taken back."""

    def __init__(self, first: Hosted, other: Hosted, share: float, state: Path, within: float = 600.0, alpha: float = 0.05) -> None:
        if first.domain is not other.domain:
            raise KgrecError(
                f"{other.folder} speaks {other.domain.name} and {first.folder} {first.domain.name}; a canary is a run of the same domain"
            )
        if not 0 < share < 1:
            raise KgrecError(f"share = {share:g} is no share of the callers; give one between 0 and 1, e.g. 0.1")
        self.first, self.other, self.share, self.within, self.alpha = first, other, share, within, alpha
        self.file = state / "canary.json"
        self.found: dict[str, Any] = {"evidence": 1.0, "callers": {}, "good": {}, "faults": {}}
        self._looked = -np.inf  # by a clock that nobody sets
        self.now = self._record()

    def arm(self, who: str) -> Arm:
        """Of a caller."""
        if self.now["state"] != RUNNING:
            return Arm(self.other, "canary") if self.now["state"] == PROMOTED else Arm(self.first)
        digest = hashlib.sha256(f"{self.other.name}\0{who}".encode()).hexdigest()
        drawn = int(digest[:16], 16) / 2**64 < self.share
        return Arm(self.other, "canary", self.share, digest[:32]) if drawn else Arm(self.first, "main", 1 - self.share, digest[:32])

    def look(self, events: FeedbackLog, every: float = EVERY) -> bool:
        """Read what other workers decided, and test; whether it was taken back now. Raises KgrecError where feedback cannot be read."""
        self.now = self._record()
        if self.now["state"] != RUNNING or time.monotonic() < self._looked + every:
            return False
        self._looked = time.monotonic()
        if self._fails(events):
            return True
        arms, good = outcomes(self._own(events.events(self.now["since"])), self.within, time.time())
        seen = evidence(arms, good, self.share) if len(arms) else np.ones(1)
        self.found = {
            "evidence": round(float(seen.max()), 3),
            "callers": {"main": int((~arms).sum()), "canary": int(arms.sum())},
            "good": {"main": int(good[~arms].sum()), "canary": int(good[arms].sum())},
            "faults": self.found["faults"],
        }
        if seen.max() < 1 / self.alpha:
            return False
        self.end(TAKEN, f"worse: {self._rates()}, evidence {seen.max():.0f}, {1 / self.alpha:.0f} is enough")
        return True

    def judge(self, events: FeedbackLog, arm: Arm, results: Iterable[Any]) -> None:
        """Remember whether a caller was failed: a result or a refusal that is the run's fault."""
        if arm.unit:
            events.judge(self._slot(), arm.unit, arm.of is self.other, any(getattr(result, "status", 200) in FAULTS for result in results))

    def _slot(self) -> int:
        return max(0, int((time.time() - self.now["since"]) // SLOT))

    def _fails(self, events: FeedbackLog) -> bool:
        """Whether it was taken back now, as it fails more callers. alpha is spent over the slots, 1 / (n (n + 1)) of it on the n-th."""
        for slot in range(max(0, self._slot() - 1), self._slot() + 1):
            table = np.array(events.judged(slot), bool).reshape(-1, 2)
            arms, fault = table[:, 0], table[:, 1]
            failed = {"main": int(fault[~arms].sum()), "canary": int(fault[arms].sum())}
            self.found["faults"] = failed
            wanted = (slot + 1) * (slot + 2) / self.alpha
            if fault.any() and (seen := evidence(arms, ~fault, self.share, WORSE).max()) >= wanted:
                said = f"{failed['canary']:,} of {arms.sum():,} canary and {failed['main']:,} of {(~arms).sum():,} main callers were failed"
                self.found["evidence"] = round(float(seen), 3)
                self.end(TAKEN, f"faults: {said}, evidence {seen:.0f}, {wanted:.0f} is enough")
                return True
        return False

    def end(self, state: str, why: str) -> None:
        """Take the run back or give it to everybody, in every worker. Raises Refused 503 where that cannot be written down; here it holds."""
        self.now = {**self.now, "state": state, "why": why}
        log.warning("canary %s is %s: %s", self.other.name, state, why)
        self._write()

    def told(self) -> dict[str, Any]:
        """For `/v1/runs`."""
        return {"of": self.first.name, "share": self.share_now, "state": self.now["state"], "why": self.now["why"], **self.found}

    @property
    def share_now(self) -> float:
        return {RUNNING: self.share, TAKEN: 0.0, PROMOTED: 1.0}[self.now["state"]]

    def _own(self, events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Of the arms as they are drawn now, and of the canary as it is published now."""
        published = {"main": None, "canary": self.now["published"]}
        return [e for e in events if e["unit"] and e["arm"] in published and published[e["arm"]] in (None, e["published"])]

    def _rates(self) -> str:
        said = [f"{self.found['good'][arm]:,} of {self.found['callers'][arm]:,} {arm}" for arm in ("canary", "main")]
        return " and ".join(said) + " callers had something good"

    def _record(self) -> dict[str, Any]:
        """What was decided of the run as it is published now; another publication begins anew."""
        own = {"run": self.other.name, "published": self.other.published, "share": self.share}
        try:
            found = document(self.file)
            if {name: found.get(name) for name in own} == own and found["state"] in (RUNNING, TAKEN, PROMOTED):
                return {**own, "state": found["state"], "since": float(found["since"]), "why": str(found["why"])}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, LookupError, TypeError) as error:
            log.error("%s is damaged (%s); the canary begins anew", self.file, error)
        now = getattr(self, "now", None)
        if now is not None and {name: now[name] for name in own} == own:
            return now  # the file could not be written, or was taken away
        self.now = {**own, "state": RUNNING, "since": time.time(), "why": ""}
        try:
            self._write()
        except Refused as error:
            log.error("%s", error)
        return self.now

    def _write(self) -> None:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            part = self.file.with_name(f"{self.file.name}.{os.getpid()}")
            part.write_text(json.dumps(self.now, indent=1), encoding="utf-8")
            part.replace(self.file)
        except OSError as error:
            raise Refused(503, f"{self.file} cannot be written ({error.strerror}), so other workers do not hear of it") from None


def outcomes(events: Iterable[Mapping[str, Any]], within: float, now: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(callers,) whether each had the canary, and whether its first answer that was spoken of was good, in the order of the answers.

    events: in that order. Answers whose time is not over are left out.
    """
    answers: dict[str, list[Any]] = {}
    for event in events:
        if event["answered"] + within <= now:
            one = answers.setdefault(event["key"], [event["unit"], event["arm"] == "canary", False, False])
            if event["at"] <= event["answered"] + within:
                one[2] = True
                one[3] |= event["event"] in GOOD
    callers: dict[str, tuple[bool, bool]] = {}
    for unit, canary, spoken, good in answers.values():
        if spoken:
            callers.setdefault(unit, (canary, good))
    table = np.array(list(callers.values()), bool).reshape(-1, 2)
    return table[:, 0], table[:, 1]
