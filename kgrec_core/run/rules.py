"""What a shop wants of its lists beside the best order: filters, quotas, boosts, variety. The same in a request and in a measurement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from kgrec_core.errors import KgrecError


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Rules for lists. A group is "new" (nobody has chosen it yet), NAME=VALUE by a relation of the graph (brand=ACME), or an SQL condition.

    related: only what the graph relates so, e.g. brand=ACME; several of one name are any of them, != is none of them.
    at_most: so many of each value in a list, e.g. brand=2; a relation or a column.
    at_least: so many of a group in every list that can have them, e.g. new=1 or brand=ACME=2.
    boost: what a group's scores are lifted by, in standard deviations of the list's, e.g. new=0.5.
    diversity: 0 to 1, how far likeness to what stands above counts against a place (mmr).
    """

    related: tuple[str, ...] = field(default=(), metadata={"repeat": True, "metavar": "NAME=VALUE"})
    at_most: Mapping[str, int] = field(default_factory=dict, metadata={"metavar": "NAME=N"})
    at_least: Mapping[str, int] = field(default_factory=dict, metadata={"metavar": "GROUP=N"})
    boost: Mapping[str, float] = field(default_factory=dict, metadata={"metavar": "GROUP=X"})
    diversity: float = 0.0

    def check(self) -> None:
        """Raises KgrecError for a number that is none of its kind; a name is looked up when the graph is there."""
        if not 0 <= self.diversity <= 1:
            raise KgrecError(f"diversity = {self.diversity} must be from 0 (the order as it is) to 1")
        for word, quotas in (("at_most", self.at_most), ("at_least", self.at_least)):
            for name, n in quotas.items():
                if n < 1:
                    raise KgrecError(f"{word} {name} = {n} must be at least 1; to leave a value out, say related {name}!=VALUE")
        for name, lift in self.boost.items():
            if not math.isfinite(lift):
                raise KgrecError(f"boost {name} = {lift} is no number")

    @property
    def reorder(self) -> bool:
        """Whether lists come out in another order, filters aside."""
        return bool(self.at_most or self.at_least or self.boost or self.diversity)

    @property
    def key(self) -> tuple:
        """For comparison: rules of one key are the same."""
        return self.related, *(tuple(sorted(part.items())) for part in (self.at_most, self.at_least, self.boost)), self.diversity
