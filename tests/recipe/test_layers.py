"""Layers as files: what cannot be read, what an editor marks, what a later one takes back."""

import pytest

from kgrec_core import KgrecError
from kgrec_core.limits import Fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.split import Split
from kgrec_core.training.options import Train


def test_unreadable_layers(tmp_path):
    with pytest.raises(KgrecError, match=r"recipe .*absent\.toml: No such file or directory"):
        resolve(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("[train\n")
    with pytest.raises(KgrecError, match=r"recipe .*bad\.toml is no TOML: .*line 1"):
        resolve(tmp_path / "bad.toml")
    (tmp_path / "latin.toml").write_bytes(b'[train]\nname = "caf\xe9"\n')
    with pytest.raises(KgrecError, match=r"latin\.toml is no TOML"):
        resolve(tmp_path / "latin.toml")
    with pytest.raises(KgrecError, match=r"recipe 'nobody_has_this:recipe.toml': the package cannot be imported"):
        resolve("nobody_has_this:recipe.toml")


def test_another_split_takes_back_what_earlier_layers_hold_out():
    base = {"split": {"by": "time", "test": "2010-11-01", "validation": "31d", "known_only": True}}
    assert resolve(base, ["split.by=random"]).tables["split"] == {"by": "random", "known_only": True}
    assert resolve(base, ["split.by=random", "split.test=0.3"]).tables["split"]["test"] == 0.3
    assert resolve(base, ["split.by=time"]).tables["split"]["test"] == "2010-11-01"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_recipe_of_an_editor_that_marks_its_files_is_read(tmp_path, encoding):
    (tmp_path / "mine.toml").write_bytes("[train]\r\nepochs = 2.0\r\n".encode(encoding))
    assert resolve(tmp_path / "mine.toml").tables == {"train": {"epochs": 2.0}}


def test_every_mistake_of_a_recipe_is_found():
    tables = {"train": {"epoch": 1, "lr": "fast"}, "split": {"by": ["time"], "seed": {}}, "fit": {"strict": "yes"}}
    with pytest.raises(KgrecError) as caught:
        resolve(tables).check(Registry.discover(), {"train": Train, "split": Split, "fit": Fit})
    assert len(caught.value.every) == 5 and str(caught.value).endswith("(and 4 more mistakes, which `check` lists)")
    with pytest.raises(KgrecError, match="and 1 more mistake,"):
        resolve({"trian": {}, "heads": {}})
    with pytest.raises(KgrecError, match="and 1 more mistake,"):
        resolve(["epochs=1", "train"])


def test_no_epochs_is_no_contrastive_pass_either_unless_the_same_layer_or_a_later_one_asks():
    packaged = {"train": {"contrastive": 0.5, "epochs": 3.0, "lr": 5e-5}}
    assert resolve(packaged, ["train.epochs=0"]).tables["train"] == {"epochs": 0, "lr": 5e-5}
    assert resolve(packaged, ["train.epochs=0.0", "train.contrastive=1"]).tables["train"]["contrastive"] == 1
    assert resolve(packaged, {"train": {"epochs": 0}}, ["train.contrastive=1"]).tables["train"]["contrastive"] == 1
    assert resolve(packaged, ["train.epochs=1"]).tables["train"]["contrastive"] == 0.5
