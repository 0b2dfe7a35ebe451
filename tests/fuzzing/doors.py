"""The doors: each takes one mutated input through the real code. What is refused raises KgrecError or click's own; all else is a find."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from fuzzing import mutate
from fuzzing.files import feeds, news, own, recipes, registry, scratch, support, tables
from fuzzing.folders import broken
from fuzzing.knowledge import asked, graphs, rules, sources
from fuzzing.world import World
from kgrec_core import KgrecError, open_run

WHERE = "price < 5|name LIKE 'red%'|id IN ('r0', 'b1') AND NOT price BETWEEN 2 AND 4|text ~ '^red' OR colour IS NULL|-price * 2 + 1 > 0"
SQL = [
    "AND",
    "OR",
    "NOT",
    "(",
    ")",
    "IN",
    "LIKE",
    "BETWEEN",
    "IS",
    "NULL",
    "price",
    "id",
    "text",
    "colour",
    "'red'",
    "5",
    "=",
    "<>",
    "~",
    ",",
    "%",
    "-- x",
    "/*",
]
SQL += [
    "SELECT",
    "FROM",
    "read_csv('{secret}')",
    "CAST(id AS int)",
    "CASE",
    "::",
    ";",
    "*",
    '"id"',
    "||",
    "EXISTS",
    "$1",
    "?",
    "upper(id)",
    "1e400",
    "DATE",
    "ANY",
]
WORDS = [
    "--user",
    "--history",
    "-k",
    "--where",
    "--json",
    "--text",
    "--in",
    "--out",
    "--all",
    "--run",
    "recommend",
    "similar",
    "evaluate",
    "list",
    "show",
    "r0",
    "ruser0",
]
Door = Callable[[World, Random], Any]


@cache
def run(folder: Path) -> Any:
    return open_run(folder, registry=registry(), device="cpu")


def where(world: World, draw: Random) -> Any:
    if draw.random() < 0.5:
        asked = " ".join(draw.choices(own(world, SQL), k=draw.randint(1, 12)))
    else:
        asked = mutate.text(draw, draw.choice(WHERE.split("|")), own(world, SQL))
    return run(world.runs["shop"]).answer(["ruser0"], k=2, where=asked)


def requests(world: World, draw: Random) -> Any:
    import kgrec_ecommerce
    import kgrec_support
    from kgrec_ecommerce.shop import Recommend, Similar

    from kgrec_core.requests import made

    words = own(world, ["ruser0", "r0", "b1", "r0,b1", '["r0"]', "1", "red mug"])
    name = draw.choice(("recommend", "recommend", "similar", "made", "ask", "ask", "query"))
    if name == "made":
        return made(
            draw.choice((Recommend, Similar)), mutate.tree(draw, {"user": "ruser0", "k": 3, "history": ["r0"], "where": "price < 5"}, words)
        )
    if name == "query":
        return run(world.runs["shop"]).answer(mutate.tree(draw, ["ruser0", {"text": "red mug", "history": ["r0"]}], words), k=2)
    if name == "ask":
        if "support" not in world.runs:
            raise KgrecError("this world has no support run")
        fields = mutate.tree(draw, {"question": "how do I pay my bill?", "k": 3, "values": {"order_id": "A1"}}, words)
        fields = fields if isinstance(fields, dict) else {"question": fields}
        question = fields.pop("question", "x")
        return kgrec_support.ask(
            run(world.runs["support"]), question, **{key: v for key, v in fields.items() if key in ("k", "where", "values")}
        )
    given = mutate.tree(
        draw, {"user": "ruser0", "history": ["r0"], "text": "red", "k": 3} if name == "recommend" else {"item": "r0", "k": 3}, words
    )
    given = given if isinstance(given, dict) else {}
    if name == "similar":
        given.setdefault("item", "r0")  # Python's own TypeError says that it is missing
    return getattr(kgrec_ecommerce, name)(
        run(world.runs["shop"]), **{k: v for k, v in given.items() if k in ("user", "history", "text", "k", "item")}
    )


def command(world: World, draw: Random) -> Any:
    """The shop's command line in this process."""
    from kgrec_ecommerce.__main__ import main

    words = ["recommend", "--user", "ruser0", "-k", "2", "--where", "price < 5"][: draw.choice((3, 5, 7))]
    for _ in range(draw.randint(1, 3)):
        words[draw.randrange(len(words))] = (
            mutate.word(draw, own(world, WORDS)) if draw.random() < 0.7 else mutate.text(draw, draw.choice(words), WORDS)
        )
    words = [w for w in words if w not in ("fit", "demo", "tune", "update")]
    return asked(main, words, scratch(world), KGREC_RUN=str(world.runs["shop"]))


def folders(world: World, draw: Random) -> Any:
    """A run folder with one thing changed, and checksums that match again."""
    name = draw.choice([*world.runs, *(["shop"] * 3 if "shop" in world.runs else [])])
    place = scratch(world) / "run"
    shutil.rmtree(place, ignore_errors=True)
    broken(draw, world.runs[name], place, own(world, ["..", "../..", "/etc/passwd"]))
    opened = open_run(place, registry=registry(), device="cpu")
    return _asked(opened, name)


def edits(world: World, draw: Random) -> Any:
    """The log of edits beside a run, changed."""
    place = scratch(world) / "edited"
    log, kept = place.with_name("edited.live.sqlite"), scratch(world) / "kept.sqlite"
    if not place.exists():
        shutil.copytree(world.runs["shop"], place)
        fresh = open_run(place, registry=registry(), device="cpu")
        from kgrec_core import Graph

        for n in range(3):
            fresh.add(Graph({"item": pl.DataFrame({"id": [f"new{n}"], "text": ["red vase"]})}))
        fresh.remove("item", ["r1"])
        shutil.copy(log, kept)
    shutil.copy(kept, log)
    if draw.random() < 0.4:
        log.write_bytes(mutate.data(draw, kept.read_bytes()))
    else:
        base = sqlite3.connect(log)
        number = draw.randint(1, 4)
        (head,), (body,) = (
            base.execute(f"SELECT {c} FROM {t} WHERE number = ?", (number,)).fetchone() for c, t in (("head", "delta"), ("body", "part"))
        )
        text = mutate.document(draw, head.encode()).decode("utf-8", "replace") if draw.random() < 0.5 else head
        with suppress(ValueError, AttributeError, RecursionError):
            said = json.loads(text)
            said.pop("chain", None)
            text = json.dumps(said)
        bytes_ = mutate.data(draw, body) if draw.random() < 0.6 else body
        base.execute("UPDATE delta SET head = ? WHERE number = ?", (text, number))
        base.execute("UPDATE part SET body = ? WHERE number = ? AND place = 0", (bytes_, number))
        base.commit()
        base.close()
    found = open_run(place, registry=registry(), device="cpu")
    found.edits()
    return _asked(found, "shop")


def _asked(found: Any, name: str) -> Any:
    queries = [{"text": "how do I pay my bill"}] if name == "support" else ["ruser0", {"text": "red mug"}, {"history": ["r0", "b1"]}]
    told: list[Any] = [found.answer(queries, task=task.name, k=3) for task in found.tasks]
    if name != "support":
        told.append(found.similar(["r0"], k=2))
    return [*told, found.metrics, found.history, found.calibration(), found.edits()]


def itself(world: World, draw: Random) -> Any:
    """What the command must find; asked for by name only."""
    kind = draw.randrange(5)
    if kind == 0:
        raise ValueError("no refusal")
    if kind == 1:
        raise KgrecError("a refusal")
    if kind == 2:
        return pl.read_csv(world.secret)
    if kind == 3:
        os.abort()
    return "taken"


DOORS: dict[str, tuple[int, Door]] = {
    "itself": (0, itself),
    "where": (25, where),
    "requests": (15, requests),
    "tables": (14, tables),
    "support": (9, support),
    "news": (5, news),
    "feeds": (8, feeds),
    "recipes": (9, recipes),
    "command": (4, command),
    "folders": (9, folders),
    "edits": (2, edits),
    "knowledge": (9, sources),
    "graph": (6, graphs),
    "rules": (9, rules),
}
