"""`tune` of a domain: its recipe, own files and settings to a recipe that is better on validation."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kgrec_core.errors import KgrecError
from kgrec_core.recipe.components import Domain
from kgrec_core.stages import Progress, silent

if TYPE_CHECKING:
    from kgrec_core.lifecycle.tune import Tuned
    from kgrec_core.recipe.recipe import Layer

TUNE = "Search for better settings by [tune] of the recipe, on its select queries alone, and write the best recipe."
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def tuned(domain: Domain, folder: Path, layers: Sequence[Layer], trials: int, minutes: float, progress: Progress) -> Tuned:
    """See `kgrec_core.lifecycle.tune.tune`. layers: over the domain's recipe, a later one wins."""
    from kgrec_core.lifecycle.tune import tune
    from kgrec_core.recipe.recipe import resolve

    return tune(resolve(domain.recipe, *layers), folder, trials, minutes, progress=progress)


def tune_word(domain: Domain) -> Callable[..., Tuned]:
    """`tune` of a domain's package, with the command's words."""

    def tune(out: Path | str, *layers: Layer, trials: int = 30, time: str = "0", progress: Progress = silent) -> Tuned:
        return tuned(domain, Path(out), layers, trials, minutes_of(time), progress)

    tune.__doc__ = f'{TUNE}\n\nout: of the study and best.toml. layers: as for a recipe. trials: in all; time: at most so long, e.g. "1h".'
    return tune


def minutes_of(span: str) -> float:
    """Minutes of "90s", "30m", "1h", "2d" or "0". Raises KgrecError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", span)
    if match is None or (not match[2] and float(match[1])):
        raise KgrecError(f"--time {span!r} is no span; write 90s, 30m, 1h or 0")
    return float(match[1]) * SECONDS[match[2] or "s"] / 60
