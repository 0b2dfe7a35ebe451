"""`kgrec plugins`, `kgrec list` and `kgrec show`: what there is, and how it is set."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import click

from kgrec_core.cli.run import as_json
from kgrec_core.errors import KgrecError, choices
from kgrec_core.printing import columns, say, say_json
from kgrec_core.recipe.components import Component
from kgrec_core.recipe.registry import ALL, Registry, load


@click.command(epilog="Example: kgrec plugins --json")
@as_json
def plugins(as_json: bool) -> None:
    """List the installed plugins: active, blocked, incompatible, broken or absent, why, and the seconds that each import took."""
    registry = Registry.discover()
    rows = [
        {field: getattr(p, field) for field in ("name", "distribution", "version", "state")}
        | {"seconds": round(p.seconds, 3), "reason": p.reason or "; ".join(registry.longer(p))}
        for p in registry.plugins
    ]
    if as_json:
        say_json(rows)
    else:
        shown = [(r["name"], f"{r['distribution']} {r['version']}", r["state"], f"{r['seconds']:.2f} s", r["reason"]) for r in rows]
        say(columns(shown))


@click.command("list", epilog="Example: kgrec list encoder")
@click.argument("kind", required=False)
@as_json
def list_parts(kind: str | None, as_json: bool) -> None:
    """List the parts and domains a recipe can use; KIND is data, knowledge, encoder, head, retrieval, objective or domain."""
    registry = Registry.discover()
    rows = [
        {"kind": k, "name": registry.shortest(k, full), "plugin": full.partition("/")[0], "summary": record.summary}
        for k in ([kind] if kind else ALL)
        for full, record in registry.components(k).items()
    ]
    say_json(rows) if as_json else say(columns([tuple(row.values()) for row in rows]))


@click.command(
    epilog="Examples: kgrec show retrieval faiss; kgrec show encoder my_file:MyEncoder; kgrec show domain ecommerce; kgrec show train"
)
@click.argument("kind")
@click.argument("name", required=False)
@as_json
def show(kind: str, name: str | None, as_json: bool) -> None:
    """Show the recipe keys of part NAME with types, defaults and meaning; `show domain NAME` prints the domain's recipe, `show train` how
    to fine-tune: its keys, and which of them make a technique."""
    if kind == "train":
        _show_train(as_json)
    elif name is None:
        raise KgrecError(
            f"name the {kind}, e.g. kgrec show encoder text (`kgrec list {kind}` shows what there is); kgrec show train needs none"
        )
    elif kind == "domain":
        _show_domain(name, as_json)
    elif kind in ALL:
        _show_part(kind, name, as_json)
    else:
        raise choices("kind", kind, (*ALL, "train"))


def _show_train(as_json: bool) -> None:
    from kgrec_core.recipe.signatures import stand_in
    from kgrec_core.training.table import ROWS

    train = stand_in("kgrec_core.training.options:Train")
    assert train is not None
    keys = _keys(train)
    if as_json:
        say_json({"parameters": keys, "techniques": [{k: v for k, v in row._asdict().items() if isinstance(v, str)} for row in ROWS]})
        return
    say(f"[train]\n{_column(keys)}\n\nWhat each is good for:")
    say(columns([(row.keys.replace(" ", ", "), row.does, row.when, row.source) for row in ROWS]))


def _show_domain(name: str, as_json: bool) -> None:
    from kgrec_core.cli.domain import domain_group
    from kgrec_core.recipe.recipe import packaged, resolve

    domain = Registry.discover().domain(name)
    resolved = resolve(domain.recipe)
    if as_json:
        commands = dict(domain_group(domain).sections()["Commands"])
        say_json({"name": domain.name, "summary": domain.summary, "commands": commands, "recipe": resolved.tables})
    else:
        click.echo(packaged(domain.recipe).read_text("utf-8"), nl=False)  # as written, with its comments


def _show_part(kind: str, name: str, as_json: bool) -> None:
    component: Component[Any] = Registry.discover().component(kind, name)
    factory = load(component, kind)
    keys = _keys(factory)
    doc = (inspect.getdoc(factory) or component.summary).partition("\n\n")[0]
    says = {name: _said(getattr(factory, name)) for name in ("reads", "scales") if kind == "retrieval"}
    if as_json:
        target = component.factory if isinstance(component.factory, str) else f"{factory.__module__}:{factory.__qualname__}"
        say_json(
            {"kind": kind, "name": component.name, "factory": target, "summary": component.summary, "doc": doc, **says, "parameters": keys}
        )
        return
    say(f'[{"knowledge.NAME" if kind == "knowledge" else kind}] use = "{component.name}"\n{doc}\n')
    if says:
        say("".join(f"{name}: {value}\n" for name, value in says.items()))
    say(_column(keys))


def _keys(factory: Callable[..., Any]) -> list[dict[str, Any]]:
    """What a constructor takes: name, type, required or default, doc."""
    from kgrec_core.recipe.parameters import REQUIRED, expand, parameters, part_kind, part_mapping, spell

    keys = []
    for p in (key for parameter in parameters(factory).values() for key in expand(parameter)):
        form = "sub-tables of any name with `use`" if part_mapping(p.wanted) else "a sub-table with `use`" if part_kind(p.wanted) else ""
        default = {} if p.default is REQUIRED else {"default": {} if p.default is ... else p.default}  # ...: not read from the source
        doc = "; ".join(filter(None, [form, p.doc]))
        keys.append({"name": p.name, "type": spell(p.wanted), "required": p.default is REQUIRED, **default, "doc": doc})
    return keys


def _column(keys: list[dict[str, Any]]) -> str:
    from kgrec_core.recipe.parameters import toml

    return columns([(k["name"], k["type"], "required" if k["required"] else f"= {toml(k['default'])}", k["doc"]) for k in keys])


def _said(value: Any) -> str:
    """What a part says of itself; where that hangs on its settings, how."""
    return inspect.getdoc(value).partition("\n")[0] if isinstance(value, property) else str(value)
