"""A language of 48 words in four groups: a question's group is what most of its words are of. Models of it are tiny and random."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

GROUPS = ("card", "loan", "rate", "pin")
WORDS = {group: [f"{group}{chr(97 + i)}" for i in range(12)] for group in GROUPS}
RECIPE = """
[data]
use = "tables"
[data.entities.question]
file = "questions.csv"
id = "id"
text = ["text"]
attributes = ["part"]
[data.entities.intent]
file = "intents.csv"
id = "name"
[data.relations.has_intent]
file = "questions.csv"
source = { kind = "question", column = "id" }
target = { kind = "intent", column = "intent" }
[data.tasks.intent]
relation = "has_intent"
repeats = true
[split]
by = "column"
column = "part"
[encoder]
use = "text"
[head.intent]
use = "classify"
[retrieval.intent]
use = "exact"
[train]
batch = 16
lr = 3e-3
head_lr = 3e-3
validations = 2
[fit]
publish = "chain"
"""


def model(folder: Path, hidden: int, seed: int) -> Path:
    """A sentence-transformers folder: two layers, mean pooling."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "7", *(word for group in GROUPS for word in WORDS[group])]
    cut = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    cut.pre_tokenizer = pre_tokenizers.Whitespace()
    cut.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    PreTrainedTokenizerFast(tokenizer_object=cut, **special).save_pretrained(folder)
    torch.manual_seed(seed)
    sizes = {"hidden_size": hidden, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 2 * hidden}
    config = BertConfig(
        vocab_size=len(words), max_position_embeddings=16, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **sizes
    )
    net = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():  # so that meaning comes from words, not from the two marks around them
        net.embeddings.word_embeddings.weight.mul_(20)
    net.save_pretrained(folder)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"} for i, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": True}))
    return folder


def questions(n: int, seed: int) -> list[tuple[str, str]]:
    """(text, group) of distinct questions: three words of the group and two of others, in any order."""
    draw, found = random.Random(seed), {}
    while len(found) < n:
        group = GROUPS[len(found) % len(GROUPS)]
        words = draw.sample(WORDS[group], 3) + draw.sample(WORDS[draw.choice(GROUPS)], 2)
        draw.shuffle(words)
        found.setdefault(" ".join(words), group)
    return list(found.items())


@pytest.fixture(scope="session")
def bank(tmp_path_factory) -> SimpleNamespace:
    """folder with desk.toml, questions.csv (80 to learn from, 160 validation, 120 test) and more.txt (400 unlabelled); models small and large."""
    folder = tmp_path_factory.mktemp("bank")
    every = questions(760, 0)
    parts = ["train"] * 80 + ["validation"] * 160 + ["test"] * 120
    lines = [f"q{i},{text},{group},{part}" for i, ((text, group), part) in enumerate(zip(every, parts, strict=False))]
    (folder / "questions.csv").write_text("\n".join(["id,text,intent,part", *lines]) + "\n")
    (folder / "intents.csv").write_text("name\n" + "\n".join(GROUPS) + "\n")
    (folder / "more.txt").write_text("\n".join(text for text, _ in every[360:]) + "\n")
    (folder / "desk.toml").write_text(RECIPE)
    return SimpleNamespace(
        folder=folder,
        recipe=folder / "desk.toml",
        more=folder / "more.txt",
        truth=dict(every),
        test=[text for (text, _), part in zip(every, parts, strict=False) if part == "test"],
        small=model(folder / "small", 16, 1),
        large=model(folder / "large", 32, 2),
    )


@pytest.fixture(autouse=True)
def _cache(cache: Path) -> None:
    """Vectors are kept in the tests' own folder."""
