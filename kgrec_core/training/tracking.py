"""`train.track = ["tensorboard", "wandb", "mlflow"]`: every update and validation to a tracker, through accelerate's own classes.

Weights & Biases writes offline, into train.track_to, unless WANDB_MODE says otherwise; MLflow goes where MLFLOW_TRACKING_URI says. A tracker that fails, for its
server is away, is told of once and left out: what is learned never hangs on it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import Any

from kgrec_core import devices
from kgrec_core.errors import KgrecError, choices
from kgrec_core.training.loop import Record
from kgrec_core.training.options import Train

log = logging.getLogger("kgrec")
PATIENT = {"WANDB_MODE": "offline", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}  # unless the user says
PLAIN = (bool, int, float, str)


def tracked(records: Iterator[Record], options: Train, name: str) -> Iterator[Record]:
    """The records, told to the trackers on their way. Raises KgrecError for a tracker that accelerate does not know or that is not installed."""
    folder = options.track_to or Path("tracked")
    patient = {**PATIENT, "WANDB_DIR": str(folder)} if options.track else {}
    patient = {key: value for key, value in patient.items() if key not in os.environ}
    os.environ.update(patient)
    trackers: dict[str, Any] = {}
    try:
        if options.track and devices.main():
            with redirect_stdout(sys.stderr):  # stdout is for what a command answers
                trackers = _opened(options, name, folder)
        for record in records:
            for which in list(trackers):
                _told(trackers, which, lambda tracker, record=record: tracker.log(_values(record), step=record["step"]))
            yield record
    finally:
        for which in list(trackers):
            _told(trackers, which, lambda tracker: tracker.finish())
        for key in patient:  # of this fit alone: other libraries say on stdout what they make of these
            os.environ.pop(key, None)


def refuse_trackers(options: Train) -> None:
    """Raises KgrecError for a tracker that accelerate does not know or that is not installed."""
    if not options.track:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    from accelerate.utils import LoggerType

    lacking = {str(of) for of in LoggerType} - {str(of) for of in get_available_trackers()}
    for which in options.track:
        if which not in LOGGER_TYPE_TO_CLASS:
            raise choices("tracker", which, LOGGER_TYPE_TO_CLASS, "train.track")
        if which in lacking:
            raise KgrecError(f"train.track: {which} is not installed; pip install {which}, or leave it out")


def _opened(options: Train, name: str, folder: Path) -> dict[str, Any]:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    refuse_trackers(options)
    made: dict[str, Any] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for which in options.track:
        kind, place = LOGGER_TYPE_TO_CLASS[which], {}
        if kind.requires_logging_directory:
            place = {"logging_dir": str(folder)}
        try:
            made[which] = kind(name, **place)
        except Exception as error:
            _gone(which, error)
            continue
        if hasattr(made[which], "start"):
            _told(made, which, lambda tracker: tracker.start())
        if which in made:
            _told(made, which, lambda tracker: tracker.store_init_configuration(_settings(options)))
    return made


def _told(trackers: dict[str, Any], which: str, tell: Any) -> None:
    try:
        with redirect_stdout(sys.stderr):
            tell(trackers[which])
    except Exception as error:
        _gone(which, error)
        trackers.pop(which, None)


def _gone(which: str, error: Exception) -> None:
    log.warning("train.track: %s does not answer and is left out (%s)", which, " ".join(str(error).split())[:160])


def _settings(options: Train) -> dict[str, Any]:
    return {f.name: value for f in fields(options) if isinstance(value := getattr(options, f.name), PLAIN)}


def _values(record: Record) -> dict[str, float]:
    """The numbers of a record: loss and lr of an update, select/TASK of a validation."""
    found = {key: float(value) for key, value in record.items() if isinstance(value, int | float) and key != "step"}
    if "select" in record:
        found = {f"validation_{key}": value for key, value in found.items() if key in ("loss", "seconds", "epoch")}
        found |= {f"select/{task}": float(value) for task, value in record["select"].items()}
    return found
