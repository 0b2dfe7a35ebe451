"""A model that is not whole is refused, and what is known of one model is never taken for another's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from kgrec_core.encoder.pretrained import fingerprint, load
from kgrec_core.errors import KgrecError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "mug", "blue", "cup", "7"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with two tiny layers, mean pooling and ten words."""
    folder = tmp_path_factory.mktemp("models") / "small"
    cut = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    cut.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    PreTrainedTokenizerFast(tokenizer_object=cut, **special).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8, max_position_embeddings=16
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)  # the pooler is not used, and may be missing
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"} for i, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True}))
    return folder


@pytest.fixture
def changed(small: Path, tmp_path: Path) -> Callable[[Callable[[Path], None]], Path]:
    def copy(change: Callable[[Path], None]) -> Path:
        folder = shutil.copytree(small, tmp_path / "changed")
        change(folder)
        return folder

    return copy


def test_a_whole_model_is_loaded_and_known_by_its_content(small, changed):
    assert fingerprint(load(str(small))) == fingerprint(load(str(changed(lambda folder: None))))


def test_missing_weights_would_be_random(changed):
    def cut(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        save_file({k: v for k, v in state.items() if ".layer.1." not in k}, folder / "model.safetensors", {"format": "pt"})

    with pytest.raises(KgrecError, match=r"is not whole: its files lack the weights encoder.layer.1"):
        load(str(changed(cut)))


def test_a_tokenizer_must_tell_texts_apart(changed):
    def without(folder: Path) -> None:
        for file in folder.glob("*token*"):
            file.unlink()

    with pytest.raises(KgrecError, match="its tokenizer takes all texts for the same"):
        load(str(changed(without)))


def test_what_could_not_be_saved_again_is_not_begun_with(changed):
    def quantised(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(
            json.dumps(config | {"quantization_config": {"quant_method": "gguf", "gguf_file": "small.gguf"}})
        )

    with pytest.raises(KgrecError, match=r"says that it is quantised.*remove quantization_config from its config\.json"):
        load(str(changed(quantised)))


def _pooling(folder: Path) -> None:
    said = {"word_embedding_dimension": 8, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(said))


def _words(folder: Path) -> None:
    file = folder / "tokenizer.json"
    whole = json.loads(file.read_text())
    whole["model"]["vocab"] |= {"red": 6, "mug": 5}
    file.write_text(json.dumps(whole))


@pytest.mark.parametrize("change", [_pooling, _words])
def test_other_pooling_or_other_words_are_another_model(small, changed, change):
    assert fingerprint(load(str(small))) != fingerprint(load(str(changed(change))))
