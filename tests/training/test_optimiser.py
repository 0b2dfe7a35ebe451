"""The optimiser: each layer of a language model has a rate and a decay of its own."""

from __future__ import annotations

from kgrec_core.training.layers import language_models, layers
from kgrec_core.training.optimiser import optimizer, pretrained
from kgrec_core.training.options import Train


def test_each_layer_learns_less_than_the_one_above_it(tuned):
    _, model = tuned(Train(epochs=0))
    groups = optimizer(model.encoder, pretrained(model.encoder), Train(lr=1.0, layer_decay=0.5)).param_groups
    rate = {p: group["lr"] for group in groups for p in group["params"]}
    decay = {p: group["weight_decay"] for group in groups for p in group["params"]}
    bert = language_models(model.encoder)[0]
    assert [{rate[p] for p in layer.parameters()} for layer in layers(bert)] == [{0.25}, {0.5}, {1.0}]
    assert {rate[p] for p in bert.embeddings.parameters()} == {0.125}
    assert all((decay[p] > 0) == (p.ndim > 1) for p in bert.parameters())
    plain = optimizer(model.encoder, pretrained(model.encoder), Train()).param_groups
    assert [group["lr"] for group in plain] == [3e-5, 3e-5]
