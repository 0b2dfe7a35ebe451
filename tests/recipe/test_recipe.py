"""Layers of a recipe, parts within parts, and what is said about every kind of typo."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from kgrec_core import Component, KgrecError
from kgrec_core.interfaces import Data, Encoder, Head, Retrieval
from kgrec_core.recipe.parameters import expand, parameters
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Plugin, Registry
from kgrec_core.split import Split


class Text(Encoder):
    def __init__(
        self, *, model: str, words: Path | None = None, key: str = "", sizes: tuple[int, ...] = (), pair: tuple[str, int] = ("", 0)
    ):
        super().__init__()
        self.model, self.words, self.key, self.sizes, self.pair = model, words, key, sizes, pair


class Gate(Encoder):
    """A fusion.

    text: the language model. share: of the knowledge; mode: how
        they are joined.
    """

    def __init__(self, *, text: Encoder, share: float = 0.5, mode: Literal["sum", "gate"] = "gate", image: Encoder | None = None):
        super().__init__()
        self.text, self.share, self.mode, self.image = text, share, mode, image


class Rank(Head):
    def __init__(self, *, temperature: float = 0.05, bias: bool = False):
        super().__init__()
        self.temperature, self.bias = temperature, bias


class Channel(Retrieval):
    def __init__(self, *, days: int | str | None = None):
        self.days = days

    def build(self, graph, task, candidates, encode): ...
    def search(self, queries, vectors, k, allowed=None, exclude=None): ...
    def save(self, folder): ...
    def load(self, folder, graph, task): ...


@dataclass(kw_only=True, eq=False)
class Merge(Channel):
    channels: Mapping[str, Retrieval]
    weights: Mapping[str, float] = field(default_factory=dict)
    last: Retrieval | None = None


@dataclass(kw_only=True)
class Table:
    file: Path
    links: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)


class Files:
    def __init__(self, *, entities: Mapping[str, Table], folders: tuple[Path, ...] = (), inner: Data | None = None):
        self.entities, self.folders, self.inner = entities, folders, inner

    def load(self): ...


RECORDS = {
    "data": (Component("files", Files),),
    "encoder": (Component("text", Text), Component("gate", Gate), Component("rank", Rank)),
    "head": (Component("rank", Rank),),
    "retrieval": (Component("channel", Channel), Component("merge", Merge)),
}
REGISTRY = Registry([Plugin("core", "kgrec-core", "1", "active", "", RECORDS)])
FUSED = {"encoder": {"use": "gate", "share": 1, "text": {"use": "text", "model": "small"}}}


def test_layers_override_key_by_key(tmp_path):
    (tmp_path / "mine.toml").write_text('[encoder.text]\nmodel = "large"\n[train]\nlr = 3e-5\n')
    recipe = resolve(
        FUSED, tmp_path / "mine.toml", ["train.epochs=1", "train.note=bare words = fine", "encoder.share=.25", 'train.name="a"']
    )
    assert recipe.tables == {
        "encoder": {"use": "gate", "share": 0.25, "text": {"use": "text", "model": "large"}},
        "train": {"lr": 3e-5, "epochs": 1, "note": "bare words = fine", "name": "a"},
    }
    again = tmp_path / "again.toml"
    again.write_text(recipe.dumps())
    assert resolve(again).tables == recipe.tables
    assert FUSED["encoder"]["text"]["model"] == "small"  # a layer is not changed by those above it


def test_a_changed_use_replaces_its_table_and_none_removes_it():
    assert resolve(FUSED, {"encoder": {"use": "text", "model": "large"}}).tables == {"encoder": {"use": "text", "model": "large"}}
    assert resolve(FUSED, {"encoder": {"use": "gate", "share": 0}}).tables["encoder"]["text"]["model"] == "small"
    assert resolve(FUSED, ["encoder.model=large", "encoder.use=text"]).tables == {"encoder": {"use": "text", "model": "large"}}
    assert resolve(FUSED, ["encoder.text.use=none"]).tables == {"encoder": {"use": "gate", "share": 1}}
    assert resolve(FUSED, ["encoder.use=none"]).tables == {}
    channels = {"retrieval": {"buys": {"use": "merge", "a": {"use": "channel"}}}}
    assert list(resolve(channels, ["retrieval.buys.a.use=none", "retrieval.buys.b.use=channel"]).tables["retrieval"]["buys"]) == [
        "use",
        "b",
    ]


def test_parts_within_parts():
    gate = resolve(FUSED).encoder(REGISTRY)
    assert isinstance(gate, Gate) and isinstance(gate.text, Text) and gate.text.model == "small" and gate.image is None
    assert gate.share == 1.0 and type(gate.share) is float
    table = {"use": "merge", "weights": {"old": 2}, "old": {"use": "channel", "days": 3}, "deep": {"use": "merge", "x": {"use": "channel"}}}
    recipe = resolve({"retrieval": {"buys": table | {"last": {"use": "channel", "days": "31d"}}}, "head": {"buys": {"use": "rank"}}})
    merge = recipe.retrieval(REGISTRY, "buys")
    assert set(merge.channels) == {"old", "deep"} and merge.channels["old"].days == 3 and merge.weights == {"old": 2.0}
    assert list(merge.channels["deep"].channels) == ["x"] and merge.last.days == "31d"
    assert recipe.head(REGISTRY, "buys").temperature == 0.05
    recipe.check(REGISTRY, {})


def test_none_takes_a_value_away_where_a_key_may_have_none(tmp_path):
    under = {"encoder": {"use": "text", "model": "small", "words": "w.txt"}}
    recipe = resolve(under, ["encoder.words=none"])
    text = recipe.encoder(REGISTRY)
    assert text.words is None and text.model == "small"
    (tmp_path / "again.toml").write_text(recipe.check(REGISTRY, {}).dumps())
    assert resolve(tmp_path / "again.toml").encoder(REGISTRY).words is None
    assert resolve({"encoder": {"use": "text", "model": "none"}}).encoder(REGISTRY).model == "none"  # a str that must be one
    channel = resolve({"retrieval": {"buys": {"use": "channel", "days": "none"}}}).retrieval(REGISTRY, "buys")
    assert channel.days is None
    assert resolve(["split.test=31d"], ["split.test=none", "split.group=none"]).section("split", Split) == Split()

    @dataclass(kw_only=True)
    class Named:
        mode: Literal["none", "some"] | None = None
        size: int | None
        sizes: tuple[int | None, ...] = ()

    found = resolve({"train": {"mode": "none", "size": "none", "sizes": [1, "none"]}}).section("train", Named)
    assert (found.mode, found.size, found.sizes) == ("none", None, (1, None))
    with pytest.raises(KgrecError, match=r'train.size = "nothing" \(Python\): it takes int'):
        resolve({"train": {"size": "nothing"}}).section("train", Named)


def test_values_are_converted():
    recipe = resolve({"encoder": {"use": "text", "model": datetime.date(2010, 11, 1), "sizes": [1, 2], "pair": ["a", 1]}})
    text = recipe.encoder(REGISTRY)
    assert (text.model, text.sizes, text.pair) == ("2010-11-01", (1, 2), ("a", 1))
    split = resolve(["split.test=2010-11-01", "split.cold=1"]).section("split", Split)
    assert split == Split(test="2010-11-01", cold=1.0)
    assert resolve().section("split", Split) == Split()


def test_paths_start_from_the_layer_that_sets_them(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    tables = (
        '[data]\nuse = "files"\nfolders = ["x", "/y"]\n[data.entities.item]\nfile = "items.csv"\n[data.entities.user]\nfile = "users.csv"\n'
    )
    (tmp_path / "a" / "mine.toml").write_text(tables)
    monkeypatch.chdir(tmp_path)
    recipe = resolve(Path("a/mine.toml"), ["data.entities.user.file=other.csv", "data.entities.user.columns=['u']"])
    data = recipe.data(REGISTRY)
    assert data.entities["item"] == Table(file=tmp_path / "a" / "items.csv")
    assert data.entities["user"] == Table(file=tmp_path / "other.csv", columns=["u"])
    assert data.folders == (tmp_path / "a" / "x", Path("/y"))
    checked = recipe.check(REGISTRY, {}).tables["data"]
    assert checked["entities"]["item"]["file"] == str(tmp_path / "a" / "items.csv")
    assert checked["folders"] == [str(tmp_path / "a" / "x"), "/y"]


def test_secrets_are_read_when_built_and_never_written(monkeypatch):
    recipe = resolve({"encoder": {"use": "text", "model": "m", "key": "env:KGREC_TEST_KEY"}})
    checked = recipe.check(REGISTRY, {})
    with pytest.raises(
        KgrecError, match=r"encoder.key = 'env:KGREC_TEST_KEY': the environment variable KGREC_TEST_KEY is not set; export it"
    ):
        recipe.encoder(REGISTRY)
    monkeypatch.setenv("KGREC_TEST_KEY", "hidden")
    assert recipe.encoder(REGISTRY).key == "hidden"
    assert "hidden" not in checked.dumps() + recipe.dumps() and "env:KGREC_TEST_KEY" in checked.dumps()


def test_a_part_from_a_file(tmp_path):
    (tmp_path / "my_file.py").write_text(
        "from __future__ import annotations\nfrom kgrec_core import Encoder\n"
        "class Mine(Encoder):\n    def __init__(self, *, text: Encoder):\n        super().__init__()\n        self.text = text\n"
        "class Other: pass\n"
    )
    (tmp_path / "mine.toml").write_text('[encoder]\nuse = "my_file:Mine"\n[encoder.text]\nuse = "text"\nmodel = "m"\n')
    recipe = resolve(tmp_path / "mine.toml")
    assert recipe.encoder(REGISTRY).text.model == "m"
    assert recipe.foreign == {"my_file:Mine": tmp_path / "my_file.py"} and resolve(FUSED).foreign == {}
    with pytest.raises(KgrecError, match=r"encoder.use = '.*my_file:Other' .*: Other is no encoder; derive it from kgrec_core.Encoder"):
        resolve(tmp_path / "mine.toml", {"encoder": {"use": str(tmp_path / "my_file") + ":Other"}}).check(REGISTRY, {})


def wrong(**tables):
    return {"encoder": {"use": "text", "model": "m", **tables}}


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ({"encodr": {"use": "text"}}, "no section of a recipe is called 'encodr'; did you mean 'encoder'? known: data, encoder, fit, head"),
        ({"epochs": 1}, "epochs = 1 (Python) stands outside of a section; sections: data, knowledge, split"),
        (["epochs=1"], "'epochs=1' is no setting; write section.key=value, for example train.epochs=1"),
        (
            wrong(modle="x"),
            "no key of [encoder] is called 'modle'; did you mean 'model'? known: key, model, pair, sizes, words; it stands in Python; see",
        ),
        (
            ["encoder.use=txet"],
            "encoder.use = 'txet' (the command line): no encoder is called 'txet'; did you mean 'text'? known: gate, rank, text",
        ),
        ({"encoder": {"use": "text"}}, "[encoder] needs the key 'model' (str)"),
        ({"encoder": {"model": "m"}}, '[encoder] has no `use`; name the encoder: use = "..." (`kgrec list encoder`'),
        ({"encoder": {"use": "gate"}}, "[encoder] needs the encoder 'text': add a sub-table [encoder.text] with `use`"),
        ({"encoder": {"use": "rank"}}, "encoder.use = 'rank' (Python): Rank is no encoder; derive it from kgrec_core.Encoder"),
        (["encoder.use=gate", "encoder.text=text"], 'encoder.text = "text" (the command line): it takes a table [encoder.text] with `use`'),
        (wrong(model=3), "encoder.model = 3 (Python): it takes str"),
        (wrong(model={"a": 1}), "[encoder.model] (Python): it takes str, not a table"),
        (wrong(sizes="12"), 'encoder.sizes = "12" (Python): it takes tuple[int, ...]'),
        (wrong(sizes=12), "encoder.sizes = 12 (Python): it takes a list, [12]"),
        (wrong(sizes=[1, "2"]), 'encoder.sizes.1 = "2" (Python): it takes int'),
        (wrong(pair=["a"]), 'encoder.pair = ["a"] (Python): it takes tuple[str, int], 2 values'),
        ({"head": {"buys": {"use": "rank", "bias": 1}}}, "head.buys.bias = 1 (Python): it takes bool"),
        ({"head": {"buys": {"use": "rank", "temperature": True}}}, "head.buys.temperature = true (Python): it takes float"),
        ({"head": {"use": "rank"}}, "head.use (Python): heads are keyed by task; write [head.TASK]"),
        (
            {"encoder": {"use": "gate", "mode": "smu", "text": {"use": "text", "model": "m"}}},
            'encoder.mode = "smu" (Python): it takes "sum" | "gate"',
        ),
        ({"retrieval": {"buys": {"use": "channel", "days": 0.5}}}, 'retrieval.buys.days = 0.5 (Python): it takes int | str | "none"'),
        ({"retrieval": {"buys": {"use": "channel", "days": True}}}, 'retrieval.buys.days = true (Python): it takes int | str | "none"'),
        ({"retrieval": {"buys": {"use": "merge"}}}, "[retrieval.buys] needs a part: add a sub-table [retrieval.buys.NAME] with `use`"),
        ({"retrieval": {"buys": {"use": "merge", "a": {"days": 1}}}}, "[retrieval.buys.a] has no `use`; name the retrieval"),
        (
            {"retrieval": {"buys": {"use": "merge", "wieghts": 1}}},
            "no key of [retrieval.buys] is called 'wieghts'; did you mean 'weights'?",
        ),
        (
            {"data": {"use": "files", "entities": {"item": {"fiel": "x"}}}},
            "no key of [data.entities.item] is called 'fiel'; did you mean 'file'?",
        ),
        ({"data": {"use": "files", "entities": {"item": 3}}}, "data.entities.item = 3 (Python): it takes a table [data.entities.item]"),
        ({"split": {"by": "tme"}}, 'split.by = "tme" (Python): it takes "time" | "last"'),
        ({"split": {"tset": 1}}, "no key of [split] is called 'tset'; did you mean 'test'?"),
    ],
)
def test_typos(layer, told):
    with pytest.raises(KgrecError) as caught:
        resolve(layer).check(REGISTRY, {"split": Split})
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_missing_sections():
    with pytest.raises(KgrecError, match=r"the recipe has no \[data\]; add it with `use` \(`kgrec list data`\)"):
        resolve(FUSED).data(REGISTRY)
    with pytest.raises(KgrecError, match=r"no \[head.TASK\] of the recipe is called 'buy'; did you mean 'buys'\?"):
        resolve({"head": {"buys": {"use": "rank"}}}).head(REGISTRY, "buy")


def test_keys_carry_their_documentation():
    docs = {name: p.doc for name, p in parameters(Gate).items()}
    assert docs == {"text": "the language model.", "share": "of the knowledge;", "mode": "how they are joined.", "image": ""}
    names = [key.name for p in parameters(Files).values() for key in expand(p)]
    assert names == ["entities", "entities.NAME.file", "entities.NAME.links", "entities.NAME.columns", "folders", "inner"]
