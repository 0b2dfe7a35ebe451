"""`fit` and `demo` of a domain: its recipe, own files and settings to a run, and what the domain says of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kgrec_core import devices
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.registry import load_target
from kgrec_core.verbs import Progress

if TYPE_CHECKING:
    from kgrec_core.recipe.recipe import Layer
    from kgrec_core.run.run import Run


class Fitted(NamedTuple):
    """The open run, and what the domain says of it to people: "" for nothing, and in a process that only helps."""

    run: Run
    told: str


def fitted(domain: Domain, folder: Path, layers: Sequence[Layer], progress: Progress) -> Fitted:
    """Fitted as `pipeline.fit` does; `after_fit` of the domain follows. layers: over the domain's recipe, a later one wins."""
    from kgrec_core.pipeline import fit
    from kgrec_core.recipe.recipe import resolve

    run = fit(resolve(domain.recipe, *layers), folder, progress=progress)
    if not domain.after_fit or not devices.main():
        return Fitted(run, "")
    return Fitted(run, load_target(domain.after_fit, f"domain '{domain.name}'")(run, progress))
