"""`auto`: in place of a fusion; a fit tries each and writes the one that pays into its recipe.

[encoder]
use = "auto"
minutes = 10.0
[encoder.text]
use = "text"
model = "sentence-transformers/all-MiniLM-L6-v2"
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from kgrec_core.encoder.fusion import Fusion
from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Encoder
from kgrec_core.recipe.ranges import Amount, Count

CHOICES = ("none", "verbalize", "gate", "attention", "propagate")


class Auto(Fusion):
    """Until a fit has chosen, it is the text's encoder.

    Each choice is trained for `steps` updates, the language model frozen and an adapter in the head instead, and asked the select queries. The best is taken if it
    gains more than one standard error of the paired differences over `none`, the text without a graph. The table of candidates is in the
    run's metrics.json, under `fusions`, and printed.

    text: the encoder that fusions stand around. entity: of entities, for those that need one, else `kge`.
    choices: what is tried, in this order. minutes: for all; what was not begun then is not tried. steps: updates of each.
    """

    def __init__(
        self,
        *,
        text: Encoder,
        entity: Encoder | None = None,
        choices: tuple[str, ...] = CHOICES,
        minutes: Amount = 10.0,
        steps: Count = 200,
    ) -> None:
        super().__init__()
        self.text, self.entity, self.choices, self.minutes, self.steps = text, entity, choices, minutes, steps

    def learn(self, graph: Graph, tasks: Sequence[Task]) -> dict[str, Any]:
        check(self.choices, self.minutes, self.steps)
        return {}

    def assemble(self, settings: dict[str, Any]) -> None:
        """It learns nothing."""

    def forward(self, nodes: Nodes) -> torch.Tensor:
        return self.text(nodes)

    def save(self, folder) -> None:
        self.entity, entity = None, self.entity  # which was never prepared
        super().save(folder)
        self.entity = entity

    def load(self, folder) -> None:
        self.entity = None
        super().load(folder)


def check(names: Sequence[str], minutes: float, steps: int) -> None:
    """Raise KgrecError for what cannot be tried."""
    for name in names:
        if name not in CHOICES:
            raise choices("fusion", name, CHOICES, "encoder.choices names what `auto` tries")
    if "none" not in names:
        raise KgrecError('encoder.choices needs "none": what pays is told against the text without a graph')
    if minutes <= 0 or steps <= 0:
        raise KgrecError(f"encoder.minutes = {minutes:g}, encoder.steps = {steps}: both must be above 0")
