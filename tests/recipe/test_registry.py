"""One plugin must never take the host down: four bad ones beside a good one, and what a name reaches."""

import json
import logging
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from kgrec_core.cli.main import main
from kgrec_core.errors import KgrecError
from kgrec_core.recipe import builtin
from kgrec_core.recipe.registry import Registry, load

PLUGINS = Path(__file__).parents[1] / "plugins"
BAD = ("import_error", "too_new", "half_way", "same_name")


@pytest.fixture
def discover(monkeypatch):
    """Discovery with these folders first on the path; what they import is forgotten afterwards."""
    before = set(sys.modules)
    for variable in ("KGREC_PLUGINS", "KGREC_BLOCK", "KGREC_STRICT"):
        monkeypatch.delenv(variable, raising=False)

    def discover(*folders, **environment):
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        for folder in reversed(folders):
            monkeypatch.syspath_prepend(str(PLUGINS / folder))
        Registry.discover.cache_clear()
        return Registry.discover()

    yield discover
    Registry.discover.cache_clear()
    for name in set(sys.modules) - before:
        if name.partition(".")[0].endswith("_plugin"):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    """Writes a distribution with one plugin, and gives its folder."""

    def write(source, name="mine", metadata="", entry=None, since=None):
        folder = tmp_path / name
        info = folder / f"{name}_plugin-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{name}_plugin.py").write_text("from kgrec_core import Component, Domain, hookimpl\n" + source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.0\n{metadata}")
        (info / "entry_points.txt").write_text(entry or f"[kgrec]\n{name} = {name}_plugin\n")
        if since is not None:
            os.utime(info, (since, since))
        return folder

    return write


def states(registry):
    """Of the core and the fixtures; which domains are installed beside them is not asked here."""
    return {(p.name, p.distribution): p.state for p in registry.plugins if not p.distribution.startswith("kgrec-") or p.name == "core"}


def reason(registry, name):
    return next(p.reason for p in registry.plugins if p.name == name and p.state != "active")


def test_bad_plugins_beside_a_good_one(discover):
    registry = discover("good", *BAD)
    assert states(registry) == {
        ("core", "kgrec-core"): "active",
        ("good", "good-plugin"): "active",
        ("good", "same-name-plugin"): "broken",
        ("half_way", "half-way-plugin"): "broken",
        ("import_error", "import-error-plugin"): "broken",
        ("too_new", "too-new-plugin"): "incompatible",
    }
    assert "No module named 'a_library_that_nobody_has'" in reason(registry, "import_error")
    assert reason(registry, "half_way") == "hook kgrec_encoder: ValueError: no second record (half_way_plugin.py line 14)"
    assert reason(registry, "too_new") == "too-new-plugin needs kgrec-core>=2, this is 0.1.0; upgrade one of the two"
    assert "good-plugin and same-name-plugin" in reason(registry, "good")
    assert "too_new_plugin" not in sys.modules  # its requirement is read before it is imported
    own = {f"core/{record.name}" for record in builtin.kgrec_encoder()}
    assert set(registry.components("encoder")) == {*own, "good/colour", "good/text"}
    assert set(registry.components("head")) == {"core/rank", "core/classify"}  # nothing of a failed plugin is kept
    assert registry.domains["shop"].recipe == "good_plugin:recipe.toml"
    assert load(registry.component("encoder", "colour"), "encoder").__name__ == "Colour"


def test_a_missing_name_repeats_why_plugins_are_absent(discover):
    registry = discover("good", "half_way")
    with pytest.raises(
        KgrecError, match=r"no encoder is called 'colur'; did you mean 'colour'\?.*'half_way' is broken: hook kgrec_encoder: Val"
    ):
        registry.component("encoder", "colur")


@pytest.mark.parametrize("folder", BAD)
def test_strict_raises_what_failed(discover, folder):
    with pytest.raises((KgrecError, ImportError, ValueError)):
        discover("good", folder, KGREC_STRICT="1")


def test_allow_list_and_block_list(discover):
    assert states(discover("good", "half_way", KGREC_PLUGINS="")) == {
        ("core", "kgrec-core"): "active",
        ("good", "good-plugin"): "blocked",
        ("half_way", "half-way-plugin"): "blocked",
    }
    registry = discover(KGREC_PLUGINS="good, half_way", KGREC_BLOCK="half_way")
    assert states(registry)[("good", "good-plugin")] == "active"
    assert reason(registry, "half_way") == "KGREC_BLOCK names it"
    assert "half_way_plugin" not in sys.modules


def colour(write, name, since):
    source = "@hookimpl\ndef kgrec_encoder(): return [Component('red', 'x:Y'), Component('text', 'x:Z')]\n"
    return write(source, name, since=since)


def test_nothing_is_shadowed(discover, write):
    registry = discover(colour(write, "later", 2_000), colour(write, "first", 1_000))
    assert registry.component("encoder", "text").factory == "kgrec_core.encoder.text:Text"
    assert registry.component("encoder", "first/text").factory == "x:Z"
    assert registry.full("encoder", "red") == "first/red"  # who came first keeps the word, whatever the alphabet says of the newcomer
    assert registry.component("encoder", "later/red").factory == "x:Y"
    with pytest.raises(KgrecError, match="no kind is called 'encodr'; did you mean 'encoder'"):
        registry.components("encodr")
    later = next(p for p in registry.plugins if p.name == "later")
    assert registry.longer(later) == [
        "encoder 'red' is reached as later/red, for there is first/red",
        "encoder 'text' is reached as later/text, for there is core/text",
    ]


def test_where_nothing_says_who_was_first_both_are_named(discover, write):
    registry = discover(colour(write, "one", 1_000), colour(write, "other", 1_000))
    with pytest.raises(KgrecError, match="encoder 'red' is in 2 plugins; write one/red or other/red"):
        registry.component("encoder", "red")


def test_a_newcomer_takes_no_domain_of_this_house(discover, write):
    """Not by its domain's name, and not by calling its plugin like ours."""
    pytest.importorskip("kgrec_support")
    source = "@hookimpl\ndef kgrec_domain(): return [Domain('support', 'x:recipe.toml', 'another one')]\n"
    registry = discover(write(source, "a", since=1), write(source, "b", entry="[kgrec]\nsupport = b_plugin\n", since=1))
    assert registry.domain("support").recipe.startswith("kgrec_support:")
    assert registry.domain("a/support").recipe == "x:recipe.toml"
    assert states(registry)[("support", "b-plugin")] == "broken" and registry.owner("support/x").distribution == "kgrec-support"
    told = CliRunner().invoke(main, ["support", "ask", "--help"]).output
    assert "Usage: kgrec support ask" in told
    assert "domain 'support' is reached as a/support, for there is support/support" in CliRunner().invoke(main, ["plugins"]).output


def test_what_an_import_prints_is_no_json(discover, write):
    discover(write("print('hello')\n@hookimpl\ndef kgrec_head(): print('again'); return []\n"))
    done = CliRunner().invoke(main, ["plugins", "--json"])
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["mine"]["state"] == "active" and rows["mine"]["seconds"] >= 0


@pytest.mark.parametrize("variable", ["KGREC_PLUGINS", "KGREC_BLOCK"])
def test_a_variable_that_names_nothing_is_told(discover, caplog, variable):
    caplog.set_level(logging.WARNING, "kgrec")
    registry = discover("good", **{variable: "goood,elsewhere"})
    assert reason(registry, "goood") == f"{variable} names it, but no plugin is called that; did you mean 'good'?"
    assert reason(registry, "elsewhere") == f"{variable} names it, but no plugin is called that"
    assert [record.getMessage() for record in caplog.records] == [f"plugin 'goood': {reason(registry, 'goood')}"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("@hookimpl\ndef kgrec_encodr(): return []\n", r"no hook is called 'kgrec_encodr'; did you mean 'kgrec_encoder'\?"),
        ("@hookimpl\ndef kgrec_encoder(graph): return []\n", "graph"),
        ("def kgrec_encoder(): return []\n", "kgrec_encoder lacks @hookimpl"),
        ("", "no hook is implemented; the hooks are kgrec_data"),
        ("@hookimpl\ndef kgrec_encoder(): return ['loud']\n", "kgrec_encoder gives 'loud'; it must give Component records"),
        ("@hookimpl\ndef kgrec_domain(): return [Component('a', 'b:c')]\n", "it must give Domain records"),
        (
            "@hookimpl\ndef kgrec_head(): return [Component('a/b', 'b:c')]\n",
            "the name 'a/b'; a name has small letters, digits, _ and - only",
        ),
        ("@hookimpl\ndef kgrec_head(): return [Component('Loud', 'b:c')]\n", "the name 'Loud'"),
        ("@hookimpl\ndef kgrec_head(): return [Component('a\\x1b[31m', 'b:c')]\n", r"the name 'a\\x1b\[31m'"),
        ("@hookimpl\ndef kgrec_domain(): return [Domain('a', 'b:c', commands={'b c': ('x:y', '')})]\n", "the name 'b c'"),
        ("@hookimpl\ndef kgrec_head(): return [Component('a', 'b:c'), Component('a', 'b:d')]\n", "kgrec_head gives 'a' twice"),
        ("@hookimpl\ndef kgrec_head(): return None\n", "hook kgrec_head: TypeError: 'NoneType' object is not iterable"),
        ("raise SystemExit(1)\n", "SystemExit: 1"),
        (
            "class PanicException(BaseException): ...\nraise PanicException('unwrap of None')\n",
            r"PanicException: unwrap of None \(mine_plugin",
        ),
        ("@hookimpl\ndef kgrec_head(): raise BaseException('out')\n", "hook kgrec_head: BaseException: out"),
    ],
)
def test_what_a_plugin_may_not_do(discover, write, source, told):
    registry = discover("good", write(source))
    assert registry.component("encoder", "colour")
    with pytest.raises(KgrecError, match=told):
        raise KgrecError(reason(registry, "mine"))
    assert "\n" not in reason(registry, "mine")


def test_an_entry_point_may_name_an_object(discover, write):
    source = "class Mine:\n    @hookimpl\n    def kgrec_head(self): return [Component('mine', 'a:B')]\nmine = Mine()\n"
    registry = discover(write(source, entry="[kgrec]\nmine = mine_plugin:mine\n"))
    assert registry.component("head", "mine").factory == "a:B"


@pytest.mark.parametrize(("metadata", "state"), [
    ("Requires-Dist: kgrec-core[cpu]>=0.1\n", "active"),
    ("Requires-Dist: KGREC.Core<0.1\n", "incompatible"),
    ('Requires-Dist: kgrec-core>=9; extra == "later"\n', "active"),
    ("Requires-Dist: kgrec-core>>1\n", "broken"),
])  # fmt: skip
def test_requirements(discover, write, metadata, state):
    registry = discover(write("@hookimpl\ndef kgrec_head(): return []\n", metadata=metadata))
    assert states(registry)[("mine", "mine-plugin")] == state


def test_a_plugin_has_a_plain_name_itself(discover, write):
    registry = discover(write("@hookimpl\ndef kgrec_head(): return []\n", entry="[kgrec]\nMy Own = mine_plugin\n"))
    assert "the plugin name 'My Own' is none" in reason(registry, "My Own")


def test_damaged_metadata_hides_nobody(discover, write):
    damaged = write("", "damaged", entry="[kgrec]\nno equals sign\n")
    registry = discover("good", damaged)
    assert states(registry)[("good", "good-plugin")] == "active"
    assert any(p.state == "broken" and "cannot be read" in p.reason for p in registry.plugins)


def test_a_file_needs_no_packaging(discover, tmp_path, monkeypatch):
    (tmp_path / "my_file.py").write_text("class MyHead:\n    'A head of mine.'\n")
    registry = discover()
    component = registry.component("head", "my_file:MyHead", [tmp_path])
    assert component.foreign and component.file == tmp_path / "my_file.py" and component.summary == "A head of mine."
    assert component.factory is registry.component("head", "my_file:MyHead", [tmp_path]).factory
    with pytest.raises(KgrecError, match=r"there is no my_file\.py in "):
        registry.component("head", "my_file:MyHead")
    monkeypatch.chdir(tmp_path)
    assert registry.component("head", "my_file:MyHead").name == "my_file:MyHead"
    with pytest.raises(KgrecError, match=r"no class in .*my_file\.py is called 'MyHed'; did you mean 'MyHead'\?"):
        registry.component("head", "my_file:MyHed")
    (tmp_path / "bad.py").write_text("1 / 0\n")
    with pytest.raises(KgrecError, match=r"bad\.py cannot be loaded: ZeroDivisionError: division by zero"):
        registry.component("head", "bad:Head")


def test_a_panic_is_a_part_that_cannot_be_imported(discover, write, tmp_path):
    registry = discover(write("@hookimpl\ndef kgrec_head(): return [Component('a', 'mine_plugin.absent:A')]\n"))
    (tmp_path / "panic.py").write_text("print('hello')\nraise BaseException('panicked')\n")
    with pytest.raises(KgrecError, match=r"panic\.py cannot be loaded: BaseException: panicked \(panic.py line 2\)"):
        registry.component("head", "panic:Head", [tmp_path])


def test_a_part_that_cannot_be_imported(discover, write):
    registry = discover(write("@hookimpl\ndef kgrec_head(): return [Component('a', 'mine_plugin:Absent')]\n"))
    with pytest.raises(KgrecError, match="head 'a': 'mine_plugin:Absent' cannot be loaded: AttributeError"):
        load(registry.component("head", "a"), "head")
