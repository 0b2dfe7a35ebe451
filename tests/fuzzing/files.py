"""The doors for files: tables, FAQs, news, feeds and recipes, in every form that they are read in."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from fuzzing import mutate
from fuzzing.world import World
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry

TOML = [
    "[data]",
    "[encoder]",
    "use = ",
    '"none"',
    "[[x]]",
    "a.b.c = 1",
    "= []",
    "{}",
    "inf",
    "nan",
    "2024-01-01",
    "'''",
    "[train]",
    "steps = -1",
    '"../../x"',
    "where = ",
    "\ufeff",
]


@cache
def registry() -> Registry:
    return Registry.discover()


def scratch(world: World) -> Path:
    place = world.folder / f"scratch-{os.getpid()}"
    place.mkdir(exist_ok=True)
    return place


def own(world: World, words: list[str]) -> list[str]:
    return [w.replace("{secret}", str(world.secret)) for w in words] + [str(world.secret), "../secret/secret.csv"]


def tables(world: World, draw: Random) -> Any:
    place = _copied(world, ("products.csv", "orders.csv"))
    name = draw.choice(("products.csv", "orders.csv"))
    form = draw.choice(("csv", "csv", "csv", "tsv", "jsonl", "parquet", "csv.gz"))
    settings = _as(draw, place, name, form, own(world, ["r0", "ruser0", "2024-01-03", ",", ";", "|"]))
    part = "entities.item" if name == "products.csv" else "relations.buys"
    recipe = resolve(world.folder / "shop.toml", {"data": _nested(part, {"file": str(settings)})})
    other = {"products.csv": "entities.item", "orders.csv": "relations.buys"}
    for file, of in other.items():
        if file != name:
            recipe = resolve(
                world.folder / "shop.toml", {"data": _nested(part, {"file": str(settings)}) | _nested(of, {"file": str(place / file)})}
            )
    return recipe.data(registry()).load()


def support(world: World, draw: Random) -> Any:
    place, name = _copied(world, ("faq.csv", "intents.csv", "dialogues.csv")), draw.choice(("faq", "intents", "dialogues"))
    form = draw.choice(("csv", "csv", "csv", "tsv", "jsonl", "parquet", "csv.gz"))
    file = _as(draw, place, f"{name}.csv", form, own(world, ["user", "agent", "|", "e0", "pay", "order_id", "{order_id}"]))
    return resolve({"data": {"use": "support", name: str(file)}}).data(registry()).load()


def news(world: World, draw: Random) -> Any:
    place = _copied(world, ("news.csv",))
    file = _as(draw, place, "news.csv", draw.choice(("csv", "csv", "jsonl", "parquet", "csv.gz")), own(world, ["positive", "Acme", "n0"]))
    return resolve({"data": {"use": "news", "articles": str(file)}}).data(registry()).load()


def feeds(world: World, draw: Random) -> Any:
    from kgrec_finance.feeds.follow import follow

    name = draw.choice(("news.jsonl", "news.jsonl", "news.csv", "feed.xml"))
    file = scratch(world) / f"feed-{name}"
    entity = '<!DOCTYPE r [<!ENTITY x SYSTEM "file://{secret}">]>'.replace("{secret}", str(world.secret))
    file.write_bytes(
        mutate.data(draw, (world.folder / name).read_bytes(), own(world, ["n1", "&x;", entity, "<item>", "</item>", '{"id": 1}']))
    )
    offset = None if draw.random() < 0.7 else mutate.text(draw, '{"at": 0, "inode": 1}', ["ids", "[]", "-1"])
    form = "rss" if name == "feed.xml" else None
    return [event for event, _ in follow(str(file), offset, form=form, wait=False, dead_letters=scratch(world) / "dead.jsonl")]


def recipes(world: World, draw: Random) -> Any:
    if draw.random() < 0.5:
        file = scratch(world) / "mutated.toml"
        file.write_bytes(mutate.data(draw, (world.folder / "shop.toml").read_bytes(), TOML))
        layers: tuple = (file,)
    else:
        settings = [
            "train.steps=2",
            "split.test=2024-03-01",
            "encoder.items.use=tfidf",
            "retrieval.buys.trees=3",
            "data.entities.item.id=sku",
        ]
        layers = (world.folder / "shop.toml", *(mutate.text(draw, draw.choice(settings), TOML, 2) for _ in range(draw.randint(1, 2))))
    recipe = resolve(*layers)
    recipe.encoder(registry())
    recipe.head(registry(), "buys")
    recipe.retrieval(registry(), "buys")
    return recipe.to_toml() if hasattr(recipe, "to_toml") else None


def _copied(world: World, names: tuple[str, ...]) -> Path:
    place = scratch(world)
    for name in names:
        shutil.copy(world.folder / name, place / name)
    return place


def _as(draw: Random, place: Path, name: str, form: str, words: list[str]) -> Path:
    """A file of `place`, mutated, in another form."""
    whole = (place / name).read_bytes()
    file = place / f"{Path(name).stem}-mutated.{form}"
    if form == "parquet":
        frame = pl.read_csv(whole, infer_schema=draw.random() < 0.5)
        if draw.random() < 0.5:
            mutate.table(draw, frame).write_parquet(file)
        else:
            frame.write_parquet(file)
            file.write_bytes(mutate.data(draw, file.read_bytes()))
        return file
    if form == "jsonl":
        rows = pl.read_csv(whole).to_dicts()
        lines = [json.dumps(mutate.tree(draw, row, words) if draw.random() < 0.1 else row) for row in rows]
        whole = "\n".join(lines).encode()
    if form == "tsv":
        whole = whole.replace(b",", b"\t")
    whole = mutate.data(draw, whole, words) if form != "jsonl" or draw.random() < 0.5 else whole
    if form == "csv.gz":
        whole = gzip.compress(whole)
        whole = mutate.data(draw, whole) if draw.random() < 0.3 else whole
    file.write_bytes(whole)
    return file


def _nested(path: str, value: dict[str, Any]) -> dict[str, Any]:
    kind, name = path.split(".")
    return {kind: {name: value}}
