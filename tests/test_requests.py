"""Values of any door become the same request, or one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.requests import about, as_data, fields_of, made


@dataclass(frozen=True)
class Base:
    """state: where it is kept."""

    state: Path | None = None


@dataclass(frozen=True)
class Ask(Base):
    """Ask for something.

    A second paragraph. With a sentence.

    id: who asks. k, depth: how many; each. tags: words
    of two lines. turns: what was said.

    Example: kgrec DOMAIN ask 7
    """

    id: str = ""
    k: int = 10
    depth: float = 0.5
    tags: tuple[str, ...] = ()
    turns: tuple[str, ...] = field(default=(), metadata={"repeat": True})
    log: bool = True
    kind: Literal["a", "b"] = "a"
    names: Mapping[str, str] = field(default_factory=dict)
    made_by: Any = None


def test_fields_are_explained_by_the_docstrings():
    assert {name: f.doc for name, f in fields_of(Ask).items() if f.doc} == {
        "state": "where it is kept.", "id": "who asks.", "k": "how many; each.", "depth": "how many; each.", "tags": "words of two lines.",
        "turns": "what was said.",
    }  # fmt: skip
    assert about(Ask) == ("Ask for something.\n\nA second paragraph. With a sentence.", "Example: kgrec DOMAIN ask 7")
    assert fields_of(Ask)["state"].wanted is Path


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("id", 7, "7"), ("id", 7.0, "7"), ("id", "007", "007"), ("k", "5", 5), ("k", 5.0, 5), ("depth", "1", 1.0), ("depth", 2, 2.0),
        ("tags", "a, b,", ("a", "b")), ("tags", ["a,b", 1], ("a,b", "1")), ("tags", '["x"]', ("x",)), ("turns", "one, two", ("one, two",)),
        ("turns", ("x", "y"), ("x", "y")), ("log", "false", False), ("log", False, False), ("log", "1", True), ("kind", "b", "b"),
        ("state", "a/b", Path("a/b")), ("state", None, None), ("names", ("a=1", "b=x=y"), {"a": "1", "b": "x=y"}),
        ("names", {"a": 1}, {"a": "1"}), ("made_by", print, print),
    ],
)  # fmt: skip
def test_values_of_any_door(name, given, value):
    assert getattr(made(Ask, {name: given}), name) == value


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kk": 1}, "no field of ask is called 'kk'; did you mean 'k'"),
        ({"k": "many"}, 'k = "many": it takes int'),
        ({"k": 1.5}, "k = 1.5: it takes int"),
        ({"k": True}, "k = true: it takes int"),
        ({"depth": "x"}, 'depth = "x": it takes float'),
        ({"log": "maybe"}, 'log = "maybe": it takes bool'),
        ({"kind": "c"}, "no kind is called 'c'; known: a, b"),
        ({"names": ("a",)}, 'names = "a": write NAME=VALUE'),
        ({"id": ["a"]}, "it takes str"),
    ],
)
def test_wrong_values(values, said):
    with pytest.raises(KgrecError, match=said.replace("[", r"\[")):
        made(Ask, values, "ask")


def test_what_is_lacking_is_named():
    @dataclass(frozen=True)
    class Similar:
        """item: the product's id."""

        item: str

    with pytest.raises(KgrecError, match="similar needs item: the product's id"):
        made(Similar, {}, "similar")


def test_results_as_json():
    class Pair(NamedTuple):
        left: Any
        right: Any

    class Own:
        def to_json(self):
            return {"own": 1}

    @dataclass
    class Record:
        path: Path
        pair: Pair

    found = as_data([Pair(1, float("nan")), Own(), Record(Path("a"), Pair({"x": (1, 2)}, None))])
    assert found == [{"left": 1, "right": None}, {"own": 1}, {"path": "a", "pair": {"left": {"x": [1, 2]}, "right": None}}]


@dataclass(frozen=True)
class Period:
    """From when.

    since: the first day. names: of whom. k: how many.
    """

    since: int = field(metadata={"option": "--from"})
    names: tuple[str, ...] = field(default=(), metadata={"argument": True})
    k: int = field(default=10, metadata={"option": ("-k", "--top")})


def test_messages_name_what_was_typed():
    for values, typed, python in (({}, "needs --from", "needs since"), ({"since": 1, "k": "x"}, 'k = "x"', 'k = "x"')):
        for is_typed, told in ((True, typed), (False, python)):
            with pytest.raises(KgrecError, match=told):
                made(Period, values, "show", typed=is_typed)
    with pytest.raises(KgrecError, match='--from = "soon": it takes int'):
        made(Period, {"since": "soon"}, "show", typed=True)
