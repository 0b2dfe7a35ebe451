"""`check`: every mistake that a fit would end at, at once; what the data hold; and nothing heavy for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from kgrec_core.cli.check import check_command, said_of
from kgrec_core.cli.fit import fit_command
from kgrec_core.data.summary import told
from kgrec_core.errors import KgrecError
from kgrec_core.jobs.check import asked, checked, every
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.parameters import parameters
from kgrec_core.recipe.ranges import Size
from kgrec_core.recipe.registry import Registry, load
from kgrec_core.recipe.signatures import light, stand_in
from kgrec_core.training.options import Train

ROOT = Path(__file__).parents[2]
SHOP = Domain("shop", "kgrec_ecommerce:recipe.toml")


def test_nine_mistakes_are_told_at_once(shop, minilm, tmp_path):
    for file in ("products.csv", "orders.csv"):
        (tmp_path / file).write_text((shop / file).read_text())
    (tmp_path / "orders.csv").write_text("customer,sku,date\nruser0,zz,soon\n")
    recipe = (shop / "shop.toml").read_text()
    for right, wrong in (
        ('text = ["name"]', 'text = ["nme"]'),
        ('relation = "buys"', 'relation = "bought"'),
        ("steps = 2", 'step = 2\nlr = "fast"'),
        (f'model = "{minilm}"', 'model = "package:absent_model"\nmodle = 1'),
        ('use = "faiss"', 'use = "fais"'),
        ('[head.buys]\nuse = "rank"', '[head.buys]\nuse = "rank"\nloss = "hinge"'),
    ):
        assert right in recipe
        recipe = recipe.replace(right, wrong)
    (tmp_path / "shop.toml").write_text(recipe)
    with pytest.raises(KgrecError) as caught:
        checked(SHOP, [tmp_path / "shop.toml"])
    found = every(caught.value)
    expected = ("'modle'", "head.buys.loss", "'fais'", "train.lr", "'step'", "absent_model is not installed", '"nme"', '"soon"', "'bought'")
    assert [any(word in line for line in found) for word in expected] == [True] * len(expected) and len(found) == len(expected)
    assert not any("\n" in line for line in found)


def test_a_right_recipe_is_summed_up(shop):
    lines = told(checked(SHOP, [shop / "shop.toml"]).to_json())
    assert lines == [
        "products.csv: 16 rows",
        "orders.csv: 108 rows",
        "item: 16, 100% with text (Latin)",
        "user: 12",
        "colour: 2, 100% with text (Latin)",
        "buys: 108 edges of 12 with 16, 2024-01-03 to 2024-03-04",
        "colour: 16 edges of 16 with 2",
        "note: buys: 60 queries are learned from, 12 are validation, 12 are the test; fewer than 20 say little, "
        "so take longer or larger parts in [split]",
    ]


def test_a_split_of_enough_queries_is_told_without_a_warning():
    told_of = asked("buys", {"train": 900, "select": 20, "adjust": 20, "test": 40})
    assert told_of == "buys: 900 queries are learned from, 40 are validation, 40 are the test"


def test_doubts_are_told_and_errors_where_that_is_asked_for(shop, tmp_path, caplog):
    later = f"{datetime.now(UTC) + timedelta(days=90):%Y-%m-%d}"
    (tmp_path / "orders.csv").write_text((shop / "orders.csv").read_text() + f"ruser0,r1,{later}\nruser1,r2,1970-01-01\n")
    layers = [shop / "shop.toml", {"data": {"relations": {"buys": {"file": str(tmp_path / "orders.csv")}}}}]
    doubts = checked(SHOP, layers).doubts
    assert doubts[0] == f"buys: 1 of 110 times lie in the future, the last is {later}" and "1 January 1970" in doubts[1]
    assert doubts[0] in caplog.text
    with pytest.raises(KgrecError) as caught:
        checked(SHOP, layers, strict=True)
    assert every(caught.value) == [f"{doubt} (a doubt, and --strict)" for doubt in doubts]


@pytest.mark.parametrize(
    ("tables", "mistake"),
    [
        ({"data": {"tasks": "none"}}, "data.tasks"),
        ({"data": {"tasks": {"buys": {"use": "none"}}}}, 'there is nothing to predict; add [data.tasks.buys] with relation = "buys"'),
        ({"head": {"buys": {"use": "none"}}}, "[head.TASK]"),
        ({"split": {"test": "2031-01-01", "validation": "2024-02-20"}}, "the test part of task buys is empty"),
    ],
)
def test_what_is_lacking_is_named(shop, tables, mistake):
    with pytest.raises(KgrecError) as caught:
        checked(SHOP, [shop / "shop.toml", tables])
    assert any(mistake in line for line in every(caught.value)), every(caught.value)


@pytest.mark.parametrize(("gives", "said"), [("None", "load: NoneType instead of Dataset"), ("1 / 0", "ZeroDivisionError")])
def test_a_part_of_somebody_else_s_is_watched_as_in_a_fit(shop, tmp_path, gives, said):
    (tmp_path / "mine.py").write_text(f"class Mine:\n    def load(self):\n        return {gives}\n")
    (tmp_path / "mine.toml").write_text('[data]\nuse = "mine:Mine"\n')
    with pytest.raises(KgrecError) as caught:
        checked(SHOP, [shop / "shop.toml", tmp_path / "mine.toml"])
    (line,) = [line for line in every(caught.value) if line.startswith("data 'mine:Mine'")]
    assert said in line and "\n" not in line


def test_the_command_imports_no_torch_and_ends_with_2(shop):
    code = "import atexit, sys\natexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))\n"
    code += "from kgrec_core.cli.main import main\nmain(prog_name='kgrec')"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        words = ("ecommerce", "check", "--recipe", "shop.toml", *words)
        return subprocess.run([sys.executable, "-c", code, *words], cwd=shop, capture_output=True, text=True, env=os.environ, check=False)

    done = run("--json")
    assert (done.returncode, done.stderr, json.loads(done.stdout)["mistakes"]) == (0, "False\n", [])
    done = run("train.lr=fast", "data.entities.item.id=skuu")
    assert done.returncode == 2 and [line[:7] for line in done.stderr.splitlines()] == ["error: ", "error: ", "False"]


def test_a_stand_in_has_the_parameters_of_its_part():
    registry = Registry.discover()
    for kind in ("encoder", "head", "retrieval", "objective"):
        for full, component in registry.components(kind).items():
            real, read = parameters(load(component, kind)), parameters(light(component, kind))
            assert list(read) == [name for name in real if not name.startswith("_")], full
            assert [of.doc for of in read.values()] == [real[name].doc for name in read], full
            assert [of.default is real[name].default for name, of in read.items() if of.default is not ...], full
    assert list(parameters(stand_in("kgrec_core.training.options:Train"))) == list(parameters(Train))


def test_a_range_of_a_third_party_is_read_too(tmp_path, monkeypatch):
    (tmp_path / "wide.py").write_text(
        "from kgrec_core import Encoder\nfrom kgrec_core.parts import Size\n\n\n"
        "class Wide(Encoder):\n    def __init__(self, *, width: Size = 8) -> None: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert parameters(stand_in("wide:Wide"))["width"].wanted == Size
    assert "wide" not in sys.modules


def test_a_target_in_disguise_is_refused_and_let_pass_where_that_is_said(shop, tmp_path):
    rows = [line.split(",")[:2] for line in (shop / "orders.csv").read_text().splitlines()[1:]]
    (tmp_path / "likes.csv").write_text("source,relation,target\n" + "".join(f"{user},likes,{item}\n" for user, item in rows))
    (tmp_path / "more.toml").write_text('[knowledge.likes]\nuse = "triples"\nfile = "likes.csv"\nof = "user"\nkind = "item"\n')
    words = ["--recipe", str(shop / "shop.toml"), "--recipe", str(tmp_path / "more.toml")]
    refused = CliRunner().invoke(check_command(SHOP), words)
    assert refused.exit_code == 2 and "is the target of task buys in disguise" in refused.stderr and "--allow-leak" in refused.stderr
    assert CliRunner().invoke(check_command(SHOP), [*words, "--allow-leak"]).exit_code == 0
    assert said_of(True, True) == {"fit": {"strict": True, "allow_leak": True}} and said_of(False, False) == {}
    assert "--allow-leak" in [name for option in fit_command(SHOP).params for name in option.opts]
