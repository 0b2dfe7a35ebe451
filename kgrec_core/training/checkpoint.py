"""The state of an unfinished fit: written beside and renamed, read with `weights_only=True`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from kgrec_core import devices
from kgrec_core.errors import KgrecError
from kgrec_core.outputs import output
from kgrec_core.training.loop import Learner, Record
from kgrec_core.training.records import SoFar


def resumed(learner: Learner, file: Path, purpose: str) -> SoFar:
    """How far the fit is that `file` holds, the learner brought there; without the file, nothing is done yet.

    purpose: what the checkpoint must belong to.
    """
    state = read(file, purpose)
    if state is None:
        return SoFar()
    learner.load(state["weights"])
    learner.optimizer.load_state_dict(state["optimizer"])
    learner.schedule.load_state_dict(state["schedule"])
    learner.restore(state["beside"])
    return SoFar(state["history"], state["best"], state["best_weights"])


def written(records: Iterator[Record], learner: Learner, so_far: SoFar, file: Path, purpose: str) -> Iterator[Record]:
    """After every validation the main process writes what a killed fit goes on from, to end with the same numbers."""
    for record in records:
        if "select" in record and devices.main():
            same = record["best"] and not learner.instead()
            now = so_far.weights if same else learner.weights()  # the same tensors are written once
            write(file, {
                "purpose": purpose, "weights": now, "optimizer": learner.optimizer.state_dict(),
                "schedule": learner.schedule.state_dict(), "history": so_far.history, "best": so_far.best, "best_weights": so_far.weights,
                "beside": learner.beside(),
            })  # fmt: skip
        yield record


def write(file: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint; killed at any moment, the old or the new one is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with output(file, remedy="free space, and the same command goes on") as beside, open(beside, "wb") as out:
        try:
            torch.save(state, out)
        except RuntimeError as error:  # of the archive that torch closes over what ended it
            raise error.__context__ or error from None


def read(file: Path, purpose: str) -> dict[str, Any] | None:
    """The state, or None where there is none. Raises KgrecError where it was written for another recipe or is damaged."""
    if not file.exists():
        return None
    try:
        state = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:
        raise KgrecError(f"{file} cannot be read ({str(error).splitlines()[0][:120]}); delete it to start the fit again") from error
    if state.get("purpose") != purpose:
        raise KgrecError(
            f"{file} belongs to a fit with another recipe or data; delete {file.parent} to start again, or choose another folder"
        )
    return state
