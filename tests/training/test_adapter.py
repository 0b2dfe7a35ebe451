"""An adapter learns in the language model's place: merged it is a plain model again, else it stands beside it and comes back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from kgrec_core.encoder.text import Text
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Nodes
from kgrec_core.head.rank import Rank
from kgrec_core.model import Model
from kgrec_core.training import adapter
from kgrec_core.training.fitting import train
from kgrec_core.training.layers import below, language_models, layers
from kgrec_core.training.options import Train
from tests import tiny

FEW = {"epochs": 10, "steps": 4, "batch": 12, "head_lr": 0.05, "validations": 1, "schedule": "constant", "warmup": 0.0}
KINDS = {
    "lora": {"kind": "lora", "r": 4},
    "ia3": {"kind": "ia3"},
    "prefix": {"kind": "prefix", "num_virtual_tokens": 2},
    "bottleneck": {"kind": "bottleneck", "width": 4, "layers": [0, 2]},
}


def vectors(encoder: Text, board) -> torch.Tensor:
    graph = board.views["train"].graph
    encoder.eval().refresh(graph)
    with torch.no_grad():
        return encoder(Nodes(graph, "item", np.arange(12), "candidate"))


@pytest.fixture(scope="session")
def decoder(tmp_path_factory) -> str:
    return tiny.model(tmp_path_factory.mktemp("tiny") / "llama", decoder=True)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_adapter_learns_and_what_is_saved_gives_the_same_vectors(board, tuned, tmp_path, kind):
    _, before = tuned(Train(epochs=0))
    came = {name: p.clone() for name, p in before.encoder.state_dict().items()}
    history, model = tuned(Train(**FEW, adapter=KINDS[kind]))
    found = vectors(model.encoder, board)
    assert history and (found - vectors(before.encoder, board)).abs().max() > 1e-3
    assert all(p.requires_grad for p in came.values()) or all(p.requires_grad for p in before.encoder.parameters())
    model.encoder.save(tmp_path / "run")

    again = Text(model="elsewhere")
    again.load(tmp_path / "run")
    torch.testing.assert_close(vectors(again, board), found, atol=1e-5, rtol=1e-4)
    plain = SentenceTransformer(str(tmp_path / "run"), device="cpu")
    texts = board.views["train"].graph.entities["item"]["text"].to_list()
    theirs = torch.nn.functional.normalize(torch.from_numpy(plain.encode(texts)), dim=1)
    merged = kind in ("lora", "ia3")
    assert (theirs - found).abs().max() < 1e-5 if merged else (theirs - vectors(before.encoder, board)).abs().max() < 1e-5
    kept = load_file(tmp_path / "run/kgrec/adapter/adapter_model.safetensors")
    assert kept and sum(t.numel() for t in kept.values()) < sum(t.numel() for t in came.values()) / 2

    adapter.remove(model.encoder)
    names = model.encoder.state_dict().keys()
    assert names == came.keys() and (merged or all(torch.equal(came[n], model.encoder.state_dict()[n]) for n in names))
    model.encoder.save(tmp_path / "plain")
    assert not (tmp_path / "plain/kgrec/adapter").exists()


@pytest.mark.parametrize("members", [1, 2])
def test_what_was_merged_is_kept_as_peft_keeps_it(tuned, folder, tmp_path, members):
    """One adapter, or each of a mean of several: with the model as it came they give the published weights again."""
    scores = iter([0.5, 0.5, 0.6])
    _, model = tuned(Train(**FEW, adapter=KINDS["lora"], ensemble=members), validate=lambda: {"buys": next(scores)})
    model.encoder.save(tmp_path / "run")
    kept = tmp_path / "run/kgrec/adapter"
    places = [kept] if members == 1 else sorted(kept.glob("member-*"))
    with_each = [
        PeftModel.from_pretrained(AutoModel.from_pretrained(folder, add_pooling_layer=False), place).merge_and_unload().state_dict()
        for place in places
    ]
    published = language_models(model.encoder)[0].state_dict()
    assert len(places) == members and with_each[0].keys() <= published.keys()
    for name in with_each[0]:
        torch.testing.assert_close(published[name], torch.stack([of[name] for of in with_each]).mean(0), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_learning_goes_on_with_an_adapter_that_stands_beside(board, tuned, tmp_path, kind, members):
    """As `update` does with a run that was tuned by one."""
    options = Train(**FEW, adapter=KINDS[kind], ensemble=members)
    _, first = tuned(Train(**FEW, adapter=KINDS[kind]))
    first.encoder.save(tmp_path / "run")
    encoder = Text(model="elsewhere", cache=tmp_path / "cache")
    encoder.load(tmp_path / "run")
    model = Model(encoder, {"buys": Rank(temperature=0.1)}, board.tasks).refresh(board.views["train"].graph)
    before, names = vectors(encoder, board), encoder.state_dict().keys()
    train(model, board.views["train"], options, lambda: {"buys": 1.0}, tmp_path / "again", "this", lambda *told: None)
    found = vectors(encoder, board)
    assert (found - before).abs().max() > 1e-3 and encoder.state_dict().keys() == names
    encoder.save(tmp_path / "next")
    other = Text(model="elsewhere")
    other.load(tmp_path / "next")
    torch.testing.assert_close(vectors(other, board), found, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["lora", "bottleneck"])
def test_a_decoder_is_tuned_as_an_encoder(board, tuned, decoder, tmp_path, pooling):
    history, model = tuned(Train(**FEW | {"steps": 40, "validations": 4}, adapter=KINDS[pooling]), model=decoder)
    assert history[-1]["loss"] < history[0]["loss"] - 0.05
    model.encoder.save(tmp_path / "run")
    again = Text(model="elsewhere")
    again.load(tmp_path / "run")
    torch.testing.assert_close(vectors(again, board), vectors(model.encoder, board), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"kind": "lor"}, r"no kind of \[train.adapter\] is called 'lor'; did you mean 'lora'\?"),
        ({"kind": "lora", "rank": 4}, r"no key of \[train.adapter\] with kind lora is called 'rank'.*peft's LoraConfig"),
        ({"kind": "lora", "target_modules": ["attn"]}, r"peft cannot put lora into this model .*; its modules are dense, key, query, value"),
        ({"kind": "lora", "layers_to_transform": [1, 9]}, r"train.adapter.layers_to_transform: the language model has no layer 9; it has 0 to 2"),
        ({"kind": "poly"}, r"peft cannot put poly into this model \(task_ids"),  # a pass needs what a recipe cannot say
        ({"kind": "lily"}, r"peft cannot put lily into this model"),  # it stays inside of the layers
        ({"kind": "bottleneck", "layers": [3]}, r"train.adapter.layers: the language model has no layer 3; it has 0 to 2"),
        ({"kind": "bottleneck", "depth": 3}, r"no key of .* kind bottleneck is called 'depth'.*known: layers, width"),
        ({"kind": "bottleneck", "width": 0}, r"train.adapter.width = 0"),
    ],
)  # fmt: skip
def test_what_the_model_has_not_is_told_in_one_line(tuned, table, said):
    with pytest.raises(KgrecError, match=said) as caught:
        tuned(Train(**FEW, adapter=table))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_whether_it_can_be_put_in_is_tried_without_a_trace(tuned, kind):
    _, model = tuned(Train(epochs=0))
    came = {name: (p.clone(), p.requires_grad) for name, p in model.encoder.named_parameters()}
    adapter.refuse(model.encoder, KINDS[kind])
    for settings in ({"kind": kind, "rank": 2}, {"kind": "bottleneck", "layers": [9]}, {"kind": "lora", "target_modules": ["attn"]}):
        with pytest.raises(KgrecError, match=r"train\.adapter"):
            adapter.refuse(model.encoder, settings)
    found = dict(model.encoder.named_parameters())
    assert found.keys() == came.keys() and all(torch.equal(p, came[n][0]) and p.requires_grad == came[n][1] for n, p in found.items())
    assert not any(hasattr(of, "adapter_") for of in language_models(model.encoder))


def test_an_adapter_needs_a_kind_and_freezes_by_itself(board, toy):
    from kgrec_core.training.loop import Learner

    with pytest.raises(KgrecError, match=r"\[train.adapter\] needs the key 'kind'"):
        Train(adapter={"r": 4})
    with pytest.raises(KgrecError, match=r"train\.adapter freezes the whole language model; remove train\.freeze"):
        Train(adapter={"kind": "lora"}, freeze="all")
    for options in ({"adapter": {"kind": "lora"}}, {"freeze": "embeddings"}, {"compile": True}, {"gradient_checkpointing": True}):
        with pytest.raises(KgrecError, match=f"train.{next(iter(options))}: the encoder has no language model in it"):
            Learner(toy.Latest(), {"buys": Rank()}, board.tasks, board.views["train"], Train(**options))


def test_a_damaged_adapter_is_refused(tuned, tmp_path):
    _, model = tuned(Train(**FEW, adapter=KINDS["bottleneck"]))
    model.encoder.save(tmp_path / "run")
    file = tmp_path / "run/kgrec/adapter/adapter_model.safetensors"
    save_file({name: t * float("nan") for name, t in load_file(file).items()}, file)
    with pytest.raises(KgrecError, match=r"the adapter is missing or damaged \(its weights are others\)"):
        Text(model="elsewhere").load(tmp_path / "run")


# --- freezing -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("freeze", "moved"), [("all", []), ("embeddings", [0, 1, 2]), (0, [0, 1, 2]), (2, [2]), (3, []), ("gradual", [0, 1, 2])]
)
def test_what_is_frozen_stays(board, tuned, freeze, moved):
    _, before = tuned(Train(epochs=0))
    _, after = tuned(Train(**FEW | {"lr": 0.01, "steps": 2 if freeze == "gradual" else 4}, freeze=freeze))
    one, other = (language_models(m.encoder)[0] for m in (before, after))

    def same(a, b) -> bool:
        return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))

    assert [i for i, (a, b) in enumerate(zip(layers(one), layers(other), strict=True)) if not same(a, b)] == moved
    assert same(below(one), below(other))
    assert all(p.requires_grad for p in other.parameters()), "afterwards open, as it came"


def test_layers_open_from_above_the_embeddings_last(tuned, monkeypatch):
    from kgrec_core.training.freezing import Freezing

    opened, before = [], Freezing.before

    def watched(self, learner, number):
        before(self, learner, number)
        bert = language_models(learner.encoder)[0]
        opened.append([all(p.requires_grad for p in part.parameters()) for part in (below(bert), *layers(bert))])

    monkeypatch.setattr(Freezing, "before", watched)
    tuned(Train(**FEW | {"steps": 8, "lr": 0.01}, freeze="gradual"))
    assert [sum(of) for of in opened] == [1, 1, 2, 2, 3, 3, 4, 4] and opened[0][-1] and not opened[5][0]


@pytest.mark.parametrize("number", [4, -1])
def test_more_layers_than_there_are(tuned, number):
    with pytest.raises(KgrecError, match=f"train.freeze = {number}: the language model has 3 layers; choose 0 to 3, "):
        tuned(Train(**FEW, freeze=number))


def test_more_layers_to_learn_than_there_are(tuned):
    with pytest.raises(KgrecError, match=r"encoder.train_layers = 4: the language model has 3 layers; choose 0 to 3, or none"):
        tuned(Train(**FEW), train_layers=4)


def test_one_layer_is_a_layer(tuned, tmp_path):
    one = tiny.model(tmp_path / "one", layers=1)
    (bert,) = language_models(tuned(Train(epochs=0), model=one)[1].encoder)
    assert len(layers(bert)) == 1
    history, model = tuned(Train(**FEW, adapter=KINDS["bottleneck"] | {"layers": [0]}), model=one)
    model.encoder.save(tmp_path / "run")
    assert history and load_file(tmp_path / "run/kgrec/adapter/adapter_model.safetensors")


@pytest.mark.parametrize("publish", ["chain", "best"])
def test_a_whole_fit_with_what_cannot_be_merged(shop, cache, folder, tmp_path, publish):
    """Published, opened again and asked; where the referee takes the chain before fine-tuning, nothing of the adapter is left."""
    from kgrec_core.pipeline import fit
    from kgrec_core.recipe.recipe import resolve

    words = [f"encoder.items.model={folder}", "encoder.items.foreign=allow", f"fit.publish={publish}", "train.adapter.kind=bottleneck"]
    run = fit(resolve(shop / "shop.toml", [*words, "train.adapter.width=2"]), tmp_path / "run")
    kept = list((tmp_path / "run").rglob("adapter_model.safetensors"))
    assert run.tasks[0].name == "buys" and (tmp_path / "run/history.jsonl").read_text()
    assert len(kept) == (publish == "chain")
