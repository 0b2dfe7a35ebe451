"""What a recipe says of the time after its first fit: [update] of later data, [tune] of better settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kgrec_core.recipe.ranges import Amount, Count, Inside


@dataclass(frozen=True, kw_only=True)
class Update:
    """How a run learns from later rows.

    replay: old training queries that are learned again beside each new one, drawn anew, so that they are not forgotten (experience replay:
        Rolnick et al. 2019); epochs: passes over both. rate: the share of train.lr and train.head_lr.
    held_out: of the new rows, the share that is asked and not learned, half of it on validation; of dated ones the latest.
    publish: "not-worse": in place of the run where neither old nor new validation queries lose more than `margin` standard errors of the
        paired differences (of fewer than 20 queries, twice that); else beside it. "always", "never": whatever they say.
    """

    replay: Amount = 3.0
    epochs: Amount = 1.0
    rate: Amount = 0.5
    held_out: Inside = 0.4
    publish: Literal["not-worse", "always", "never"] = "not-worse"
    margin: Amount = 1.0


@dataclass(frozen=True, kw_only=True)
class Tune:
    """What `tune` searches.

    space: a key of the recipe -> what it may be: a list of values, or low and high with log = true where a tenth more means the same anywhere.
        Without it train.lr, train.head_lr and train.epochs, but for those that the command line sets.
    updates: at most so many of each trial; 0 = all. range_test: the learning rate is first looked for by one short fit whose rate grows
        with every update (Smith 2017, "Cyclical Learning Rates"); the search then stays within a tenth and thrice of where the loss falls.
    """

    space: Mapping[str, Any] = field(default_factory=dict)
    updates: Count = 0
    range_test: bool = True
