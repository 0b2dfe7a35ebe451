"""A shrunk run is an ordinary run that answers as before, or is refused; what learns again has its own weights again."""

from __future__ import annotations

import copy
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from click.testing import CliRunner
from safetensors.numpy import save_file

import kgrec_core
from kgrec_core.cli.shrink import shrink as command
from kgrec_core.encoder.int8 import FILE, Int8, quantised
from kgrec_core.encoder.static import Static
from kgrec_core.encoder.text import Text
from kgrec_core.errors import KgrecError
from kgrec_core.lifecycle.shrink import _gate, shrink
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.run.decisions import Decisions, files
from kgrec_core.teaching import shallow
from kgrec_core.training.layers import layers

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def runs(shop: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory):
    """A run with a language model of random weights, the same in int8, and what was said of it."""
    folder = tmp_path_factory.mktemp("small")
    layer = {"encoder": {"items": {"model": tiny.model(folder / "tiny"), "foreign": "allow"}}, "train": {"epochs": 0.0, "steps": 0}}
    run = fit(resolve(shop / "shop.toml", layer), folder / "shop")
    return run, shrink(run, "int8", loss=1.0)


def text(run) -> Text:
    return next(part for part in run.snapshot.model.encoder.modules() if isinstance(part, Text))


def test_it_is_an_ordinary_run_that_answers_as_before(runs):
    run, found = runs
    small = kgrec_core.open_run(found.folder)
    assert small.manifest["shrunk"] == "int8" and small.metrics["shrunk"]["figures"] == found.figures
    assert set(found.figures["buys"]) == {"before", "after", "gain"} and set(found.ms) == {"before", "after"}
    with torch.inference_mode():
        own, other = (text(of).tower_(["red chair", "blue friend of number 3", "red chair"]).numpy() for of in (run, small))
        alone = text(small).tower_(["red chair"]).numpy()
    assert not (own == other).all() and (other[0] == other[2]).all() and (other[0] == alone[0]).all()
    cosine = (own * other).sum(1) / np.linalg.norm(own, axis=1) / np.linalg.norm(other, axis=1)
    assert cosine.min() > 0.98
    assert [a.id[0] for a in small.answer(["ruser0"], k=5)[0]] == [a.id[0] for a in run.answer(["ruser0"], k=5)[0]]


def test_it_stays_int8_when_saved_and_not_when_it_learns(runs, tmp_path):
    tower = text(kgrec_core.open_run(runs[1].folder)).tower_
    assert tower.instead_ is not None and tower.fingerprint() == tower.pristine
    small = text(kgrec_core.open_run(runs[1].folder))
    small.save(tmp_path)
    assert (tmp_path / "kgrec" / FILE).read_bytes() == small.tower_.instead_.whole
    small.train()
    assert small.tower_.instead_ is None


def test_what_may_not_be_shown_is_not_shown_by_it_either(runs, tmp_path, caplog):
    own = kgrec_core.open_run(shutil.copytree(runs[0].folder, tmp_path / "shop"))
    first = own.answer(["ruser0"], k=2)[0]
    files(own.folder)[0].write_text(f"[block]\nids = [{first[0].id!r}]\n")
    Decisions(files(own.folder)[1]).decide({first[1].id: ""}, "block", "ann")
    shown = [a.id for a in kgrec_core.open_run(own.folder).answer(["ruser0"], k=5)[0]]
    small = kgrec_core.open_run(shrink(own, "bf16", loss=1.0).folder)
    assert [a.id for a in small.answer(["ruser0"], k=5)[0]] == shown and not {a.id for a in first} & set(shown)
    shutil.rmtree(small.folder)
    shrink(own, "bf16", loss=1.0)
    assert f"{files(small.folder)[0]} is there already and stays in force" in caplog.text


def test_nothing_is_printed_that_a_library_tells_the_root_logger(runs, monkeypatch, capfd):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    quantised(text(runs[0]).tower_.model)
    assert not logging.getLogger().handlers and "WARNING:root" not in capfd.readouterr().err


def test_the_command(runs, tmp_path):
    words = [str(runs[0].folder), "--to", "bf16", "--loss", "1", "--out"]
    plain = CliRunner().invoke(command, [*words, str(tmp_path / "plain")])
    assert plain.exit_code == 0 and "one text alone" in plain.stdout and (tmp_path / "plain" / "manifest.json").exists()
    told = json.loads(CliRunner().invoke(command, [*words, str(tmp_path / "told"), "--json"]).stdout)
    assert told["folder"] == str(tmp_path / "told") and set(told["figures"]["buys"]) == {"before", "after", "gain"}


def test_two_bytes_a_weight(runs):
    run, _ = runs
    found = shrink(run, "bf16", loss=1.0)
    small = kgrec_core.open_run(found.folder)
    sizes = [sum(p.stat().st_size for p in Path(of.folder).rglob("model.safetensors")) for of in (run, small)]
    assert sizes[1] < 0.8 * sizes[0]
    pairs = zip(text(run).tower_.parameters(), text(small).tower_.parameters(), strict=True)
    assert all((other == own.to(torch.bfloat16)).all() and other.dtype == torch.float32 for own, other in pairs)
    assert small.answer(["ruser0"], k=1)[0]


def test_fewer_layers_taught_by_the_model_as_it_was(runs, monkeypatch):
    run, _ = runs
    texts = [f"red chair {i}" for i in range(12)] + [f"blue friend of {i}" for i in range(12)]
    whole = text(run).tower_
    with torch.inference_mode():
        wanted = torch.nn.functional.normalize(whole(texts), dim=1)
    apart = {}
    for epochs in (0, 30):
        monkeypatch.setattr(shallow, "EPOCHS", epochs)
        tower = copy.deepcopy(whole)
        shallow.shallow(tower, 2, texts)
        assert len(layers(tower.model)) == tower.model[0].auto_model.config.num_hidden_layers == 2
        with torch.inference_mode():
            apart[epochs] = (torch.nn.functional.normalize(tower(texts), dim=1) - wanted).square().sum(1).mean().item()
    assert apart[30] < 0.5 * apart[0]
    found = shrink(run, "layers=2", loss=1.0)
    small = kgrec_core.open_run(found.folder)
    assert found.folder.endswith(".layers2") and small.manifest["shrunk"] == "layers=2"
    assert len(layers(text(small).tower_.model)) == 2 and len(layers(whole.model)) == 3
    assert small.answer(["ruser0"], k=1)[0]


def test_a_vector_for_each_token(runs, tmp_path):
    run, _ = runs
    small = kgrec_core.open_run(shrink(run, "static", loss=1.0).folder)
    tower = text(small).tower_
    with torch.inference_mode():
        one, other, more = tower(["red chair", "chair red", "red chair 3"])
        own = text(run).tower_(["red chair", "blue friend of 3", "blue chair 5", "red friend 7"]).double()
        mine = tower(["red chair", "blue friend of 3", "blue chair 5", "red friend 7"]).double()
    assert torch.allclose(one, other) and not torch.allclose(one, more), "the mean of its tokens"
    likeness, others = (torch.nn.functional.cosine_similarity(own, of).mean() for of in (mine, mine.roll(1, 0)))
    assert likeness > max(0.7, others + 0.2)
    ids = text(small).tower_.model.tokenizer.all_special_ids
    assert not tower.instead_.vectors[[i for i in ids if i != 1]].any() and tower.instead_.vectors[5:].any(1).all()
    assert small.answer(["ruser0"], k=1)[0]
    save_file({"vectors": tower.instead_.vectors[:-1].copy()}, tmp_path / Static.file)
    with pytest.raises(KgrecError, match=r"not .*shrink it again"):
        tower.answer_by(Static.read(tmp_path / Static.file))
    (tmp_path / Static.file).write_bytes(b"none")
    with pytest.raises(KgrecError, match="no vectors of tokens"):
        Static.read(tmp_path / Static.file)


def test_the_gate():
    """Five of 2,000 worse and none better: with 95 % confidence at most nine are, .0045; half of them as many tell less."""
    before = np.ones(2_000)
    after = before - (np.arange(2_000) < 5)
    found = _gate("task buys", before, after, 0.005, 0)
    assert found["gain"]["mean"] == pytest.approx(-0.0025) and found["gain"]["n"] == 2_000
    with pytest.raises(KgrecError, match=r"task buys: 1.0000 became 0.9950 on 1,000 validation queries; the loss may be 0.009"):
        _gate("task buys", before[:1_000], after[:1_000], 0.005, 0)
    with pytest.raises(KgrecError, match="no validation queries"):
        _gate("task buys", before * np.nan, after * np.nan, 0.005, 0)


def test_what_cannot_be_shrunk(runs, tmp_path):
    run, _ = runs
    with pytest.raises(KgrecError, match=r"no way to shrink is called 'int4'.*bf16, int8, layers, static"):
        shrink(run, "int4")
    for to, told in {
        "layers": "says no number",
        "layers=x": "says no number",
        "layers=3": "has 3 layers",
        "static=2": "takes no number",
    }.items():
        with pytest.raises(KgrecError, match=told):
            shrink(run, to, tmp_path / "no")
    with pytest.raises(KgrecError, match="exists; name another folder"):
        shrink(run, "int8")
    (tmp_path / FILE).write_bytes(b"nothing")
    with pytest.raises(KgrecError, match="no model that onnxruntime reads"):
        Int8.read(tmp_path / FILE)
    copy = Path(shutil.copytree(run.folder, tmp_path / "run"))
    edited = kgrec_core.open_run(copy)
    edited.remove("item", ["r0"])
    with pytest.raises(KgrecError, match="kgrec compact"):
        shrink(edited, "int8")
