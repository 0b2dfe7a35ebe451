"""How much each caller may ask: requests a minute and a day, counted in this process or, for all workers and machines, in Redis.

Where Redis does not answer, each worker counts by itself until it does: answers go on, and nobody asks without bound.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from limits import parse
from limits.errors import ConfigurationError, StorageError
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from kgrec_core.errors import KgrecError
from kgrec_core.serving.problem import Refused

log = logging.getLogger("kgrec.serving")
HERE, REDIS = "memory://", ("redis://", "rediss://", "redis+unix://")
PATIENCE = 0.25  # seconds for which a request waits for Redis
PAUSE = 5.0  # seconds before one that did not answer is asked again
MANY = 10_000  # counters, from which on those whose time is over are dropped


class Counting:
    """most: "minute" or "day" -> requests of each caller, 0 = any number. storage: `HERE` or the address of a Redis.

    Raises KgrecError for another storage, and for a Redis that does not answer.
    """

    def __init__(self, most: Mapping[str, int], storage: str = HERE) -> None:
        self._limits = [(parse(f"{n}/{unit}"), unit) for unit, n in most.items() if n]
        self._here, self._shared, self._again = FixedWindowRateLimiter(Own()), None, 0.0
        if storage != HERE:
            self._shared = FixedWindowRateLimiter(_redis(storage))

    def spend(self, who: str, requests: int) -> None:
        """Raises Refused 429 with Retry-After."""
        for item, unit in self._limits:
            if again := self._over(item, who, requests):
                raise Refused(429, f"{item.amount:,} requests a {unit} are used up; come again in {again} s", {"Retry-After": str(again)})

    def _over(self, item: Any, who: str, requests: int) -> int:
        """Seconds until there is room again, 0 where there is."""
        for counter in (self._shared, self._here):
            if counter is None or (counter is self._shared and time.monotonic() < self._again):
                continue
            try:
                if counter.hit(item, who, cost=requests):
                    return 0
                return max(1, round(counter.get_window_stats(item, who).reset_time - time.time()))
            except StorageError as error:
                self._again = time.monotonic() + PAUSE
                log.error("requests are counted in each worker by itself: Redis does not answer (%s)", error.storage_error)
        return 0


class Own(Storage):
    """Counters of this process, by a clock that nobody sets: limits' own would keep callers out for as long as the time of day is set back."""

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, tuple[float, int]] = {}  # when its window ends, and how many

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        if len(self._counts) > MANY:
            self._counts = {k: of for k, of in self._counts.items() if of[0] > time.monotonic()}
        count = self.get(key)
        until = self._counts[key][0] if count else time.monotonic() + expiry
        self._counts[key] = until, count + amount
        return count + amount

    def get(self, key: str) -> int:
        until, count = self._counts.get(key, (0.0, 0))
        return count if until > time.monotonic() else 0

    def get_expiry(self, key: str) -> float:
        return time.time() + max(0.0, self._counts.get(key, (0.0, 0))[0] - time.monotonic())

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        self._counts, before = {}, self._counts
        return len(before)

    def clear(self, key: str) -> None:
        self._counts.pop(key, None)


def _redis(address: str) -> Storage:
    if not address.startswith(REDIS):
        raise KgrecError("--count-in: requests are counted in memory:// or in a Redis, such as redis://localhost:6379")
    try:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        again: Any = Retry(NoBackoff(), 1)  # a connection that Redis has closed is opened anew, once
        found = storage_from_string(address, wrap_exceptions=True, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=again)
        found.get("kgrec")  # `check` says no more than whether
    except (ImportError, ConfigurationError):
        raise KgrecError('--count-in redis:// needs redis; pip install "kgrec-core[redis]"') from None
    except (StorageError, ValueError) as error:
        why = getattr(error, "storage_error", error)
        raise KgrecError(f"--count-in: this Redis does not answer ({why}); start it, correct its address or count in memory://") from None
    return found
