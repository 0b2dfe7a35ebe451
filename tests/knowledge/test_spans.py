"""Facts by the likelihood of what a text says: the question decides, not the word's frequency, and relations compete."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kgrec_core.graph import Graph
from kgrec_core.knowledge import spans
from kgrec_core.knowledge.llm import Llm

RELATIONS = {"colour": "the colour it has", "made_of": "the material it is made of"}
KNOWN = {"the colour it has": {"red": 8.0}, "the material it is made of": {"glass": 7.0, "red": 2.0}}


def likely(prompt, after):
    """A model for which `the` is likely everywhere, `red` answers what colour it is and `glass` what it is made of."""
    text, what = prompt.rpartition("Text: ")[2].split("\n")
    assert all(a.strip() in text for a in after)
    told = KNOWN.get(what.rstrip(":"), {})
    return np.array([-10.0 + 9 * (a.strip() == "the") + told.get(a.strip(), 0.0) for a in after])


def test_the_question_decides_and_every_value_stands_in_the_text():
    found = {relation: (value, sure) for relation, value, sure in spans.facts(likely, "The RED  Glass bowl", RELATIONS)}
    assert found["colour"][0] == "red" and found["made_of"][0] == "glass"
    assert min(sure for _, sure in found.values()) > 0.9


def test_what_no_question_makes_likelier_is_no_fact():
    assert all(sure < 0.1 for *_, sure in spans.facts(likely, "the bowl", RELATIONS))
    assert list(spans.facts(likely, "  ", RELATIONS)) == []


def test_relations_compete_for_a_stretch():
    (*_, sure), (*_, other) = spans.facts(likely, "red", RELATIONS)
    assert sure > 0.9 and other < 0.01


def test_a_local_model_is_asked_so(tmp_path, monkeypatch):
    monkeypatch.setattr("kgrec_core.knowledge.generators.likely", lambda model: likely)
    source = Llm(model="somewhere", relations=RELATIONS, cache=tmp_path)
    import polars as pl

    more = source.read(Graph({"item": pl.DataFrame({"id": ["a", "b"], "text": ["red glass bowl", "the bowl -----\nred"]})}))
    edges = {r.name: t for r, t in more.relations.items()}
    assert len(edges["colour"]) == 2 and len(edges["made_of"]) == 1
    assert all(0.5 <= weight <= 1 for t in edges.values() for weight in t["weight"])
    kept = [json.loads(line) for file in (tmp_path / "llm").iterdir() for line in file.read_text().splitlines()]
    assert len(kept) == 2


def test_likelihood_of_a_causal_model_is_that_of_its_tokens_one_by_one():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    from kgrec_core.knowledge import generators

    words = {w: i for i, w in enumerate(["<e>", "a", "b", "c", "d"])}
    raw = Tokenizer(models.WordLevel(words, unk_token="<e>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    reader = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<e>", unk_token="<e>")
    torch.manual_seed(0)
    how = transformers.LlamaConfig(
        vocab_size=5, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1
    )
    writer = transformers.LlamaForCausalLM(how).eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generators, "causal", lambda model, device: (reader, writer))
        found = generators.likely("tiny")("a b", ["c", "c d a", "d <e>"])

    def alone(prompt, after):
        ids = torch.tensor([reader(prompt)["input_ids"] + (after := reader(after)["input_ids"])])
        with torch.no_grad():
            said = writer(ids).logits.log_softmax(-1)[0]
        start = ids.shape[1] - len(after)
        return sum(float(said[start + i - 1, token]) for i, token in enumerate(after))

    np.testing.assert_allclose(found, [alone("a b", "c"), alone("a b", "c d a"), alone("a b", "d")], atol=1e-5)
