"""The doors for what is known: sources of [knowledge], the commands of `kgrec graph`, and rules for lists."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from fuzzing import mutate
from fuzzing.files import own, registry, scratch
from fuzzing.world import World
from kgrec_core.jobs.graph import build_graph

KINDS = ["item", "user", "brand", "entity", "colour", "category"]
TRIPLES = [
    *(("item", f"{c}{i}", "has_brand", "brand", f"brand {i % 3}") for c in "rb" for i in range(8)),
    *(("item", f"r{i}", "fits", "item", f"b{i}") for i in range(8)),
    *(("item", f"b{i}", "in", "category", f"shelf {i // 2}") for i in range(8)),
    *(("category", f"shelf {i}", "parent", "category", f"room {i // 2}") for i in range(4)),
    ("item", "later", "has_brand", "brand", "brand 1"),
]
KG = "head_id:token\trelation_id:token\ttail_id:token\n" + "".join(f"m{s}\t{r}\tm{t}\n" for _, s, r, _, t in TRIPLES)
LINK = "item_id:token\tentity_id:token\n" + "".join(f"{c}{i}\tm{c}{i}\n" for c in "rb" for i in range(8))
SHOP = "http://shop.example/"
PREFIXES = f"@prefix : <{SHOP}> .\n@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .\n"
TURTLE = (
    PREFIXES + "".join(f":{s} :{r} :{t.replace(' ', '_')} .\n" for _, s, r, _, t in TRIPLES) + ':brand_1 rdfs:label "One"@en, "Eins"@de .\n'
)
LINES = "".join(f"<{SHOP}{s.replace(' ', '_')}> <{SHOP}{r}> <{SHOP}{t.replace(' ', '_')}> .\n" for _, s, r, _, t in TRIPLES)
XML = (
    f'<?xml version="1.0"?><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:s="{SHOP}">'
    + "".join(
        f'<rdf:Description rdf:about="{SHOP}{s}"><s:{r} rdf:resource="{SHOP}{t}"/></rdf:Description>' for _, s, r, _, t in TRIPLES[:16]
    )
    + "</rdf:RDF>"
)
JSONLD = json.dumps({"@context": {"@vocab": SHOP}, "@graph": [{"@id": f"{SHOP}r{i}", "in": {"@id": f"{SHOP}shelf"}} for i in range(8)]})
RDF = {"ttl": TURTLE, "nt": LINES, "rdf": XML, "jsonld": JSONLD}
ENTITY = '<!DOCTYPE r [<!ENTITY x SYSTEM "file://{secret}">]>'
FOREIGN = [ENTITY, "&x;", '{"@context": "http://127.0.0.1:9/x"}', "<file://{secret}>", "_:b", "@prefix", '"x"@en', "r0", "item", "kind_of"]
WORDS = [
    "show",
    "stats",
    "paths",
    "export",
    "build",
    "audit",
    "item:r0",
    "r0",
    "b1",
    "colour:red",
    "user:ruser0",
    "item:",
    ":",
    "::",
    "red",
]
WORDS += ["--hops", "4", "-k", "9" * 20, "--json", "--relation", "colour", "--out", "--recipe", "--allow", "knowledge.x.use=attributes"]
RULES = [
    "colour=red",
    "colour!=blue",
    "colour",
    "new",
    "price",
    "price < 5",
    "=",
    "a=b=c",
    "r0",
    "new=1",
    "colour=red=2",
    "id IN ('{secret}')",
]


def sources(world: World, draw: Random) -> Any:
    """A source of [knowledge] that reads a mutated file or is set wrongly, as a graph that is built."""
    place, use = scratch(world), draw.choice(("triples", "triples", "triples", "recbole-kg", "rdf", "rdf", "columns", "attributes"))
    words = own(world, [*FOREIGN, *KINDS])
    if use == "triples":
        table: dict[str, Any] = {"file": str(_triples(draw, place, words))}
    elif use == "recbole-kg":
        for name, whole in (("kg", KG), ("link", LINK)):
            told = whole.encode() if draw.random() < 0.4 else mutate.data(draw, whole.encode(), words)
            (place / f"set.{name}").write_bytes(told)
        table = {"folder": str(place), "name": "set"}
    elif use == "rdf":
        form = draw.choice(list(RDF))
        (place / f"facts.{form}").write_bytes(mutate.data(draw, RDF[form].encode(), words))
        table = {"file": str(place / f"facts.{form}"), "items": SHOP}
    elif use == "columns":
        table = {"links": {"band": {"column": "price", "buckets": 3}, "shade": {"column": "colour", "levels": ">", "spellings": True}}}
    else:
        table = {"of": "item"}
    if use in ("columns", "attributes") or draw.random() < 0.1:
        table = mutate.tree(draw, table, words)
    data = {"entities": {"item": {"attributes": ["price", "colour"]}}}
    layer = {"data": data, "knowledge": {"facts": {"use": use, **table} if isinstance(table, dict) else table}}
    return build_graph((world.folder / "shop.toml", layer), place / "graph", draw.random() < 0.2, registry=registry())["relations"]


def _triples(draw: Random, place: Path, words: list[str]) -> Path:
    """Triples in one of the forms that are read, mutated as rows, as a table or as bytes."""
    columns, form = ["source_kind", "source", "relation", "target_kind", "target"], draw.choice(("tsv", "csv", "jsonl", "parquet"))
    frame = pl.DataFrame(TRIPLES, columns, orient="row").with_columns(weight=pl.lit(draw.choice((1.0, 0.5, -1.0))))
    if draw.random() < 0.4:
        rows = frame.rows()
        for _ in range(draw.choice((1, 3))):
            row = list(draw.choice(rows))
            row[draw.randrange(len(row) - 1)] = draw.choice((*words, None))
            rows.append(tuple(row))
        frame = pl.DataFrame(rows, frame.schema, orient="row")
    frame = mutate.table(draw, frame) if form == "parquet" and draw.random() < 0.5 else frame
    file = place / f"facts.{form}"
    if form == "parquet":
        frame.write_parquet(file)
    elif form == "jsonl":
        file.write_bytes(b"".join(json.dumps(row, ensure_ascii=True).encode() + b"\n" for row in frame.to_dicts()))
    else:
        file.write_bytes(frame.write_csv(separator="\t" if form == "tsv" else ",").encode("utf-8", "replace"))
    if draw.random() < 0.5:
        file.write_bytes(mutate.data(draw, file.read_bytes(), words))
    return file


def graphs(world: World, draw: Random) -> Any:
    """`kgrec graph` in this process, on a run, a built graph, a damaged one, a recipe; words mutated."""
    from kgrec_core.cli.graph import graph

    place, built = scratch(world), scratch(world) / "built"
    if not built.exists():
        build_graph((world.folder / "shop.toml", {"knowledge": {"names": {"use": "attributes"}}}), built, registry=registry())
    at = draw.choice((built, built, world.runs["shop"], world.folder / "shop.toml", place / "damaged"))
    if at.name == "damaged":
        shutil.rmtree(at, ignore_errors=True)
        shutil.copytree(built, at)
        file = draw.choice(sorted(f for f in at.rglob("*") if f.is_file()))
        file.write_bytes(mutate.data(draw, file.read_bytes(), own(world, WORDS)))
    command = draw.choice((["show", at, "item:r0"], ["stats", at], ["paths", at, "r0", "b1"], ["export", at, "facts.tsv"], ["build", at]))
    if command[0] == "build":
        command = ["build", "--recipe", at, "--out", "again", "knowledge.names.use=attributes"]
    words = ["audit", world.runs["shop"], "--relation", "colour"] if draw.random() < 0.03 else [*command, "--json"][: draw.randint(2, 7)]
    words = list(map(str, words))
    for _ in range(draw.choice((0, 1, 1, 2))):
        words[draw.randrange(len(words))] = mutate.word(draw, own(world, WORDS))
    return asked(graph, words, place, (0, 2, 3))


def asked(main: Any, words: list[str], place: Path, codes: tuple[int, ...] = (0, 2), **environment: str) -> str:
    """The command line in this process, in a folder: one of these exit codes, and what it refuses is one plain line."""
    from click.testing import CliRunner

    from kgrec_core import KgrecError

    words = [w.replace("\0", "").encode("utf-8", "replace").decode() for w in words]
    here = Path.cwd()
    os.chdir(place)
    try:
        done = CliRunner(env=environment).invoke(main, words, prog_name="kgrec")
    finally:
        os.chdir(here)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    raw = [
        c
        for c in done.output
        if (ord(c) < 32 and c not in "\n\t") or ord(c) in (127, *range(128, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    ]
    if raw:
        raise AssertionError(f"{raw[0]!r} reaches the terminal: {words}")
    if done.exit_code not in codes:
        raise AssertionError(f"exit code {done.exit_code}: {words}: {done.output[-300:]}")
    if done.exit_code == 2:
        told = done.stderr
        if not told.startswith("Usage: ") and told.splitlines()[-1][:7].lower() != "error: ":  # warnings may stand before it
            raise AssertionError(f"no one line: {words}: {told[-300:]!r}")
        raise KgrecError("refused")
    return done.output


def rules(world: World, draw: Random) -> Any:
    """Filters, quotas, boosts and diversity: k stays k, and nothing that they exclude is in the list."""
    import kgrec_ecommerce

    from fuzzing.doors import run
    from kgrec_core import KgrecError

    whole = {
        "related": ["colour=red"],
        "at_most": {"colour": 2},
        "at_least": {"new": 1},
        "boost": {"price < 5": 0.5},
        "diversity": 0.3,
        "where": "price < 6",
        "exclude": ["r1"],
        "k": 3,
    }
    given = {name: whole[name] for name in draw.sample(sorted(whole), draw.randint(1, 5))}
    given = mutate.tree(draw, given, own(world, RULES)) if draw.random() < 0.9 else given
    if not isinstance(given, dict):
        raise KgrecError("no rules")
    named = {name: value for name, value in given.items() if name in whole}
    found = kgrec_ecommerce.recommend(run(world.runs["shop"]), **named, **draw.choice(({"user": "ruser0"}, {"text": "red mug"})))
    if given.get("exclude") == ["r1"] and "r1" in [answer.id for answer in found]:
        raise AssertionError(f"r1 was left out by {given}")
    return found
