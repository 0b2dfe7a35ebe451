"""The command of a verb comes from its request: options, arguments, defaults, help; many at once; how it refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from click.testing import CliRunner

from kgrec_core.cli.verbs import verb_command
from kgrec_core.errors import KgrecError
from kgrec_core.recipe.components import Verb


@dataclass(frozen=True)
class Ask:
    """Ask somebody.

    who: a name. k: how many. tags: of it. turns: said before. log: whether it is kept. names: of others. secret: for Python.

    Example: kgrec DOMAIN ask 7 --tag a,b
    """

    who: str = field(metadata={"argument": True, "stdin": True})
    k: int = field(default=3, metadata={"option": ("-k", "--top")})
    tags: tuple[str, ...] = field(default=(), metadata={"option": "--tag"})
    turns: tuple[str, ...] = field(default=(), metadata={"repeat": True, "metavar": "TURN"})
    log: bool = True
    loud: bool = False
    way: Literal["up", "down"] = "up"
    names: Mapping[str, str] = field(default_factory=dict)
    token: str | None = field(default=None, metadata={"envvar": "TOY_TOKEN"})
    secret: object = field(default=None, metadata={"hidden": True})


@dataclass(frozen=True)
class Write:
    """ids: which ones. out: where to. json: a word of its own."""

    ids: tuple[str, ...] = field(default=(), metadata={"argument": True})
    out: Path | None = None
    json: bool = False


def answer(source, requests):
    return [KgrecError("nobody is called 'x'") if r.who == "x" else r for r in requests]


def work(run, request, progress):
    progress("working", 1, 2)
    return request if request.ids else None


def said(result, request):
    return f"{result.who} said to {request.who}" if result.k else ""


HERE = __name__
ASK = Verb(f"{HERE}:Ask", f"{HERE}:answer", opens=False)
WRITE = Verb(f"{HERE}:Write", f"{HERE}:work", "job", "Write it.", opens=False)


def run(verb, *words, **more):
    done = CliRunner().invoke(verb_command("ask", verb, "shop"), words, **more)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_fields_are_options():
    words = ("7", "--top", "5", "--tag", "a, b", "--turns", "one, two", "--turns", "three", "--no-log", "--loud", "--way", "down")
    found = json.loads(run(ASK, *words, "--names", "a=1", "--names", "b=2", env={"TOY_TOKEN": "t"}).stdout)
    assert found == {
        "who": "7", "k": 5, "tags": ["a", "b"], "turns": ["one, two", "three"], "log": False, "loud": True, "way": "down",
        "names": {"a": "1", "b": "2"}, "token": "t", "secret": None,
    }  # fmt: skip
    found = json.loads(run(ASK, "7", "--json").stdout)
    assert (found["k"], found["tags"], found["log"], found["loud"], found["way"]) == (3, [], True, False, "up")
    assert json.loads(run(ASK, "-", input="many\nlines").stdout)["who"] == "many\nlines"


def test_help_comes_from_the_docstring():
    told = run(ASK, "--help").stdout
    for text in (
        "[OPTIONS] WHO", "Ask somebody.", "WHO  a name.", "-k, --top N", "How many.  [default: 3]", "--tag A,B", "--turns TURN",
        "--log / --no-log", "--way up|down", "--names NAME=VALUE", "Example: kgrec shop ask 7 --tag a,b", "--in FILE", "--out FILE",
    ):  # fmt: skip
        assert text in told, text
    assert "secret" not in told and "--run" not in told and "--all" not in told and "who:" not in told


def test_words_that_are_left_and_own_options_before_the_cores():
    assert json.loads(run(WRITE, "a", "b", "--out", "x", "--json").stdout) == {"ids": ["a", "b"], "out": "x", "json": True}
    assert run(WRITE).stdout == ""
    told = run(WRITE, "--help").stdout
    assert told.count("--json") == 1 and "A word of its own." in told and "Write it." in told and "[IDS]..." in told


def test_people_are_told():
    verb = Verb(ASK.request, ASK.function, shown=f"{HERE}:said", opens=False)
    assert run(verb, "a").stdout == "a said to a\n" and run(verb, "a", "-k", "0").stdout == ""
    assert json.loads(run(verb, "a", "--json").stdout)["who"] == "a"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["x"], "nobody is called 'x'"),
        ([], "ask needs WHO: a name."),
        (["a", "-k", "many"], 'k = "many": it takes int'),
        (["a", "--way", "left"], "no --way is called 'left'; known: down, up"),
        (["a", "--names", "b"], 'names = "b": write NAME=VALUE'),
        (["--in", "rows.csv"], "many at once need --out FILE and either --in FILE or --all"),
        (["--out", "out.csv"], "many at once need --out FILE and either --in FILE or --all"),
        (["--in", "absent.csv", "--out", "out.csv"], "absent.csv"),
    ],
)
def test_mistakes(words, told):
    with pytest.raises(KgrecError, match=told):
        run(ASK, *words)


def test_many_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("who,k\na,\nx,\n,1\nb,9\n")
    told = run(ASK, "--in", "rows.csv", "--out", "out.jsonl", "-k", "4", "--loud").stdout
    assert told.startswith("2 rows answered, 2 refused; written to out.jsonl\n  nobody is called 'x'\n  Ask needs who")
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [line["result"] and (line["result"]["k"], line["result"]["loud"]) for line in lines] == [(4, True), None, None, (9, True)]
    assert json.loads(run(ASK, "--in", "rows.csv", "--out", "out.csv", "--json").stdout)["refused"] == 2


def test_a_verb_for_single_requests_has_no_options_for_many():
    told = run(Verb(ASK.request, ASK.function, many=False, opens=False), "--help").stdout
    assert "--in" not in told and "--out" not in told
