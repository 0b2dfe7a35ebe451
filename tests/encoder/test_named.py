"""What a language model's files tell before anything is computed: `check` and the beginning of `fit` refuse what fine-tuning would."""

from __future__ import annotations

import time

import pytest
import tiny

from kgrec_core.encoder import named
from kgrec_core.encoder.pretrained import load
from kgrec_core.errors import KgrecError
from kgrec_core.jobs.check import checked, every
from kgrec_core.pipeline import fit
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.recipe import resolve

SHOP = Domain("shop", "kgrec_ecommerce:recipe.toml")
CHINESE = ["红色杯子", "蓝色台灯", "木制椅子", "厨房挂钟"]


@pytest.fixture
def away(monkeypatch):
    """A hub of which nothing answers, asked anew."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    named.reachable.cache_clear()
    yield
    named.reachable.cache_clear()


def refusals(recipe, *words, at_once=True):
    """What `check` says, and the first of it that `fit` ends at."""
    with pytest.raises(KgrecError) as caught:
        checked(SHOP, [recipe, list(words)])
    with pytest.raises(KgrecError) as ended:
        fit(resolve("kgrec_ecommerce:recipe.toml", recipe, list(words)), recipe.parent / "never")
    assert str(ended.value).partition(" (and ")[0] in every(caught.value) and not (recipe.parent / "never").exists()
    return every(caught.value)


@pytest.fixture
def recipe(shop, cache, tmp_path):
    for file in shop.glob("*.csv"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "shop.toml").write_text((shop / "shop.toml").read_text())
    return tmp_path / "shop.toml"


def test_a_name_that_is_nobodys_is_refused_in_seconds_for_encoder_and_teacher_alike(recipe, away):
    began = time.monotonic()
    found = refusals(recipe, "encoder.items.model=nobody/nothing", "train.teacher.model=nobody-else")
    assert [line.partition(":")[0] for line in found] == ["encoder.items.model = 'nobody/nothing'", "train.teacher.model = 'nobody-else'"]
    assert all("no hub can be reached; name a local folder, or package:NAME" in line for line in found)
    with pytest.raises(KgrecError, match="cannot be loaded"):
        load("nobody/nothing")
    assert time.monotonic() - began < 20


def test_layers_that_a_model_does_not_have_are_refused_before_anything_is_computed(recipe, tmp_path):
    model = f"encoder.items.model={tiny.model(tmp_path / 'tiny')}"
    allowed = (model, "encoder.items.foreign=allow")
    assert refusals(recipe, *allowed, "train.freeze=4")[0].startswith("train.freeze = 4: ")
    (line,) = refusals(recipe, *allowed, "encoder.items.train_layers=7")
    assert line.endswith("has 3 layers; choose 0 to 3") and line.startswith("encoder.items.train_layers = 7: ")
    assert checked(SHOP, [recipe, [*allowed, "encoder.items.train_layers=3", "train.freeze=3"]]).doubts


def test_texts_in_a_language_that_the_model_cannot_read_are_told_by_check(recipe):
    rows = "".join(f"{'rb'[n // 8]}{n % 8},{CHINESE[n % 4]}{n},red,{n}\n" for n in range(16))
    (recipe.parent / "products.csv").write_text("sku,name,colour,price\n" + rows)
    (line,) = refusals(recipe)
    assert line.startswith("encoder.items: model ") and "% of the letters of the texts" in line and "multilingual-e5-small" in line
    (doubt,) = [said for said in checked(SHOP, [recipe, ["encoder.items.foreign=allow"]]).doubts if "letters" in said]
    assert doubt == line.removeprefix("encoder.items: ")
    with pytest.raises(KgrecError, match=r"letters of the texts .* \(a doubt, and --strict\)"):
        checked(SHOP, [recipe, ["encoder.items.foreign=allow"]], strict=True)
