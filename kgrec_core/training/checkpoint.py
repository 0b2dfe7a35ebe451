"""The state of an unfinished fit: written beside and renamed, read with `weights_only=True`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from kgrec_core.errors import KgrecError


def write(file: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint; killed at any moment, the old or the new one is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".part")
    with open(beside, "wb") as out:
        torch.save(state, out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(beside, file)


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
