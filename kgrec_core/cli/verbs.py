"""From a dataclass to click: its fields as options and arguments, its docstring as `--help`; and the command of a verb."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from kgrec_core.cli.progress import progress_bar
from kgrec_core.cli.run import DEMO, FILE, JSON, run_options
from kgrec_core.errors import KgrecError
from kgrec_core.printing import say, say_json
from kgrec_core.recipe.components import Verb
from kgrec_core.recipe.parameters import REQUIRED, spell
from kgrec_core.recipe.registry import load_target
from kgrec_core.requests import Field, about, as_data, fields_of, made
from kgrec_core.verbs import call, one


class Explained(click.Command):
    """A command whose arguments are explained in `--help`, as its options are."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        told = [(p.make_metavar(ctx), p.doc) for p in self.params if isinstance(p, Positional) and p.doc]
        if told:
            with formatter.section("Arguments"):
                formatter.write_dl(told)
        super().format_options(ctx, formatter)


class Positional(click.Argument):
    """An argument that says what it is."""

    def __init__(self, field: Field, last: bool) -> None:
        self.doc = field.doc
        many, name = field.many and last, field.how.get("metavar") or field.name.upper()
        shown = name if field.default is REQUIRED else f"[{name}]"
        super().__init__([field.name], nargs=-1 if many else 1, required=False, metavar=f"{shown}..." if many else shown)


def options_of(request: type) -> list[click.Parameter]:
    """The fields of a dataclass as click's arguments and options; what is not given has the value None or ()."""
    shown = [field for field in fields_of(request).values() if not field.how.get("hidden")]
    arguments = [field for field in shown if field.how.get("argument")]
    return [
        *(Positional(field, field is arguments[-1]) for field in arguments),
        *(_option(field) for field in shown if field not in arguments),
    ]


def given_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """What was given on the command line; the rest has the dataclass's own defaults."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def verb_command(word: str, verb: Verb, domain: str) -> click.Command:
    """`kgrec DOMAIN word`: parses, calls the verb, prints. DOMAIN in the docstring's example becomes the domain's name."""
    request = load_target(verb.request, f"command '{word}'")
    text, example = about(request)
    own = options_of(request)
    taken = {name for option in own for name in option.opts}
    core = [option for option in _core_options(verb, request) if not taken & set(option.opts)]

    def run(**values: Any) -> Any:
        answer(word, verb, request, given_values(values))

    return Explained(word, params=[*own, *core], callback=run, help=text or verb.help, epilog=f"\b\n{example}".replace("DOMAIN", domain))


def answer(word: str, verb: Verb, request: type, given: dict[str, Any]) -> None:
    """One request, or with --in or --all many."""
    core = {name: given.pop(name, None) for name in ("_run", "_allow", "_json", "_all", "_in", "_out")}
    for field in fields_of(request).values():
        if field.how.get("stdin") and given.get(field.name) == "-":
            given[field.name] = click.get_text_stream("stdin").read()
    many = core["_all"] or core["_in"] or core["_out"]
    asked = None if many else made(request, given, word, typed=True)
    if many and not (core["_out"] and bool(core["_all"]) != bool(core["_in"])):
        raise KgrecError(f"{word}: many at once need --out FILE and either --in FILE or --all")
    folder = core["_run"] or (DEMO if verb.kind == "ask" and verb.opens is None and DEMO.exists() else None)
    run = None
    if folder is not None:
        from kgrec_core.run.run import open_run

        run = open_run(folder, core["_allow"] or ())
    with progress_bar(quiet=bool(core["_json"])) as progress:
        if many:
            from kgrec_core.jobs.bulk import bulk

            result: Any = bulk(verb, run, core["_out"], core["_in"], given, progress)
        else:
            result = one(call(verb, run, [asked], progress))
    if core["_json"] or not (many or verb.shown or result is None):
        say_json(as_data(result))
    elif told := str(result) if many else load_target(verb.shown, f"command '{word}'")(result, asked) if verb.shown else "":
        say(told)


def _core_options(verb: Verb, request: type) -> list[click.Option]:
    options = [] if verb.opens is False else run_options(optional=verb.opens is None)
    if verb.kind == "ask" and verb.many:
        if any(field.how.get("known") for field in fields_of(request).values()):
            options.append(click.Option(["--all", "_all"], is_flag=True, help="Ask it of everyone the run knows; needs --out."))
        options.append(click.Option(["--in", "_in"], type=FILE, metavar="FILE", help="Ask it of every row; its columns are options."))
        options.append(click.Option(["--out", "_out"], type=FILE, metavar="FILE", help="FILE.csv, .jsonl or .parquet of many answers."))
    return [*options, JSON]


def _option(field: Field) -> click.Option:
    names = field.options
    common: dict[str, Any] = {"help": _help(field), "envvar": field.how.get("envvar"), "default": None}
    if field.wanted is bool:
        if field.default is True:
            names = [f"{names[0]}/--no-{names[0].lstrip('-')}"]
        return click.Option([*names, field.name], is_flag=True, **common)
    several = field.many and (field.how.get("repeat") or get_origin(field.wanted) is not tuple)
    return click.Option([*names, field.name], multiple=several, metavar=field.how.get("metavar") or _metavar(field, several), **common)


def _help(field: Field) -> str:
    told = field.doc[:1].upper() + field.doc[1:]
    shown = field.default not in (None, REQUIRED, (), "") and not isinstance(field.default, bool | Mapping)
    return f"{told}  [default: {field.default}]" if shown else told


def _metavar(field: Field, several: Any) -> str:
    if get_origin(field.wanted) is Literal:
        return "|".join(map(str, get_args(field.wanted)))
    if get_origin(field.wanted) is tuple and not several:
        return "A,B"
    if field.many and get_origin(field.wanted) is not tuple:
        return "NAME=VALUE"
    return {int: "N", float: "N", Path: "FILE", str: "TEXT"}.get(field.wanted, spell(field.wanted).upper())
