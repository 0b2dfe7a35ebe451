"""The study of a search for better settings: its folder, which one process has at a time, and what may be wrong with its file."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kgrec_core.errors import KgrecError
from kgrec_core.run.folder import MANIFEST


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """The folder, which only this process searches in; what goes wrong with its study is told. Raises KgrecError."""
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    if "?" in str(folder):  # ends a file's name in the address of a database
        raise KgrecError(f"{folder}: a search's folder has no question mark in its name; name another folder")
    if (folder / MANIFEST).exists():
        raise KgrecError(f"{folder} is a run; name another folder for the search")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "study.lock", "w")  # noqa: SIM115
    except OSError as error:
        raise KgrecError(f"{folder} cannot be written ({error.strerror}); name another folder for the search") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KgrecError(f"another search is at {folder}; wait for it or name another folder") from None
        try:
            yield
        except (SQLAlchemyError, OptunaError) as error:
            told = " ".join(str(error.__cause__ or error).split())[:160]
            raise KgrecError(
                f"{folder / 'study.sqlite'} cannot be read or written ({told}); end what has it open or free space, and the same command goes on"
            ) from error
        finally:
            if not (folder / "study.sqlite").exists():  # of a search that was refused nothing is left
                with suppress(OSError):
                    (folder / "study.lock").unlink()
                    folder.rmdir()


def optuna_of() -> Any:
    try:
        import optuna
    except ImportError:
        raise KgrecError("tune needs optuna; pip install 'kgrec-core[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def opened(optuna: Any, folder: Path, purpose: str, seed: int) -> Any:
    """The study in the folder; what was being tried when it was killed counts as failed."""
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    file, pruner = folder / "study.sqlite", optuna.pruners.MedianPruner(n_startup_trials=4)
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{file}", study_name="kgrec", direction="maximize", load_if_exists=True, pruner=pruner
        )
        study.trials  # noqa: B018  # read, so that what was altered in them shows here
    except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError, ValueError, LookupError, TypeError) as error:
        if isinstance(error, OperationalError) or isinstance(error.__cause__, OperationalError):  # locked, no room: `alone` tells it
            raise
        raise KgrecError(f"{file} is no study of optuna's ({str(error).splitlines()[0][:120]}); remove it or name another folder") from None
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), n_startup_trials=8)  # a search that goes on draws anew
    if study.user_attrs.setdefault("purpose", purpose) != purpose:
        raise KgrecError(f"{folder} holds a study of another recipe or data; remove it or name another folder")
    study.set_user_attr("purpose", purpose)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def finished(study: Any) -> list[Any]:
    return [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]
