"""`fit` and `demo` of a domain: its recipe, own files and settings to a run, and what the domain says of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kgrec_core import devices
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.registry import load_target
from kgrec_core.requests import fields_of, made
from kgrec_core.stages import Progress, silent

if TYPE_CHECKING:
    from kgrec_core.recipe.recipe import Layer
    from kgrec_core.run.run import Run


FIT = "Fine-tune, compare before and after, test once and write a run. Killed, the same command goes on where it was."


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


def fit_word(domain: Domain) -> Callable[..., Run]:
    """`fit` of a domain's package: the folder, layers over the recipe, and the domain's own files by name; the open run comes back."""
    own = load_target(domain.files, f"domain '{domain.name}'") if domain.files else None
    kinds = inspect.Parameter
    files = [
        kinds(f.name, kinds.KEYWORD_ONLY, default=f.default, annotation=f.annotation) for f in (fields_of(own) if own else {}).values()
    ]
    signature = inspect.Signature(
        [
            kinds("run", kinds.POSITIONAL_OR_KEYWORD),
            kinds("layers", kinds.VAR_POSITIONAL),
            *files,
            kinds("progress", kinds.KEYWORD_ONLY, default=silent),
        ]
    )

    def fit(*given: Any, **named: Any) -> Run:
        bound = signature.bind(*given, **named).arguments
        folder, layers, progress = bound.pop("run"), bound.pop("layers", ()), bound.pop("progress", silent)
        return fitted(domain, Path(folder), (made(own, bound, "fit").layer() if own else {}, *layers), progress).run

    explained = [f"{f.name}: {f.doc}" for f in (fields_of(own) if own else {}).values()]
    fit.__doc__ = "\n".join([FIT, "", "run: the folder. layers: recipe files, tables or settings, as for a recipe.", *explained])
    fit.__signature__ = signature  # type: ignore[attr-defined]
    return fit
