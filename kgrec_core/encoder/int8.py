"""A text tower's transformer in 8-bit whole numbers, run by onnxruntime: three words take a fraction of the time they take torch.

Weights are quantised once, a scale for each output; what flows through them is when it does (dynamic quantisation: ONNX Runtime, "Quantize ONNX models"). Its scale
is that of the whole pass, so a pass has one text and no padding: what comes with a text cannot change its vector.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FILE = "int8.onnx"
REMEDY = 'pip install "kgrec-core[onnx]"'


class Int8:
    """whole: the ONNX file. A process has a session of its own, with one thread: after a fork there are no others."""

    file = FILE

    def __init__(self, whole: bytes) -> None:
        self.whole, self._of = whole, (0, None)
        self.fingerprint = hashlib.blake2b(whole, digest_size=16).hexdigest()

    @classmethod
    def read(cls, file: Path) -> Int8:
        """Raises KgrecError for a file that leads to others or is no model, and where onnxruntime is missing."""
        whole = file.read_bytes()
        if b"\x0a\x08location" in whole:  # the key of tensors that lie in another file
            raise KgrecError(f"{file} names other files; restore the run from a copy or shrink it again")
        found = cls(whole)
        found.session(str(file))
        return found

    def session(self, name: str = FILE) -> Any:
        if self._of[0] != os.getpid():
            try:
                import onnxruntime
            except ImportError:
                raise KgrecError(f"{name}: this run was shrunk to int8 and needs onnxruntime; {REMEDY}") from None
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            try:
                self._of = os.getpid(), onnxruntime.InferenceSession(self.whole, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime has an exception class for every status, with no base but this
                raise KgrecError(f"{name} is no model that onnxruntime reads ({str(error).splitlines()[0][:160]}); shrink again") from None
        return self._of[1]

    def save(self, folder: Path) -> None:
        (folder / FILE).write_bytes(self.whole)

    def vector(self, tokens: NDArray[np.int32], behind: Sequence[torch.nn.Module]) -> torch.Tensor:
        """(1, dim) of one text. behind: what follows the transformer in the model, which computes as ever."""
        ids = tokens[None].astype(np.int64)
        mask = np.ones_like(ids)
        hidden = self.session().run(None, {"input_ids": ids, "attention_mask": mask})[0]
        features: dict[str, Any] = {"token_embeddings": torch.from_numpy(hidden), "attention_mask": torch.from_numpy(mask)}
        for module in behind:
            features = module(features)
        return features["sentence_embedding"]


class _Trunk(torch.nn.Module):
    def __init__(self, transformer: torch.nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


@contextmanager
def _unheard() -> Iterator[None]:
    """onnxruntime warns by the root logger, which would get a handler by that, and print from then on whatever any library tells it."""
    root, nothing = logging.getLogger(), logging.NullHandler()
    root.addHandler(nothing)
    try:
        yield
    finally:
        root.removeHandler(nothing)


def quantised(model: SentenceTransformer) -> Int8:
    """Of a model's transformer; what is behind it (pooling, normalisation) stays in torch. Takes some ten seconds.

    Raises KgrecError where onnx, onnxscript or onnxruntime are missing, for a model with adapters, and for one that cannot be exported.
    """
    try:
        import onnxscript  # noqa: F401, torch's exporter looks for it late
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise KgrecError(f"shrinking to int8 needs {error.name}; {REMEDY}") from None
    if any("lora_" in name for name, _ in model.named_parameters()):
        raise KgrecError("this model has an adapter beside its weights; fit without train.adapter to shrink it")
    from kgrec_core.encoder.pretrained import silence

    free, ids = torch.export.Dim.DYNAMIC, torch.ones((2, 12), dtype=torch.int64)
    with tempfile.TemporaryDirectory(prefix="kgrec-") as name, torch.no_grad(), silence():
        whole, small = Path(name) / "fp32.onnx", Path(name) / FILE
        try:
            torch.onnx.export(
                _Trunk(model[0].auto_model).eval(),
                (ids, torch.ones_like(ids)),
                dynamo=True,
                dynamic_shapes=({0: free, 1: free}, {0: free, 1: free}),
                input_names=["input_ids", "attention_mask"],
                output_names=["hidden"],
                verbose=False,
            ).save(whole)
            with _unheard():
                quantize_dynamic(whole, small, weight_type=QuantType.QInt8, per_channel=True)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise KgrecError(f"this model cannot be exported ({str(error).splitlines()[0][:160]}); it stays as it is") from None
        return Int8(small.read_bytes())
