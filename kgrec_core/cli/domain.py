"""Command groups that import a command only when its word is typed, and one way to end: what every `kgrec` command shares.

from kgrec_core.cli.domain import domain_group

main = domain_group(DOMAIN)      # the script `kgrec-ecommerce`; `kgrec ecommerce` is the same group
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from kgrec_core.errors import KgrecError, choices, line, visible
from kgrec_core.jobs.standard import STANDARD
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.registry import load_target

Targets = Mapping[str, tuple[str, str]]  # word -> ("package.module:click_command", one-line help)

# What every domain can do besides its verbs; each is built for the domain, by a function of it.
BUILT: Targets = {
    "demo": ("kgrec_core.cli.fit:demo_command", "Fit what is embedded in the plugin, show figures, and use it."),
    "recipe": ("kgrec_core.cli.recipe:recipe_command", "Print the recipe that the layers give."),
    "check": ("kgrec_core.cli.check:check_command", "Check a recipe and its files, and say what they hold."),
    "fit": ("kgrec_core.cli.fit:fit_command", "Fine-tune, test once and write a run."),
    "tune": ("kgrec_core.cli.tune:tune_command", "Search for better settings on validation."),
}


class LazyGroup(click.Group):
    """A group over `targets`. A KgrecError ends it with one line and exit code 2, Ctrl-C with one and 130, a closed pipe in silence."""

    def __init__(self, name: str | None, targets: Targets, **settings: Any) -> None:
        super().__init__(name, **settings)
        self.targets = targets

    def sections(self) -> dict[str, dict[str, str]]:
        """Heading -> word -> help, as `--help` shows them; nothing is imported for it."""
        return {"Commands": {word: help for word, (_, help) in self.targets.items()}}

    def fetch(self, word: str) -> click.Command:
        """The command of a word that `sections` lists."""
        return load_target(self.targets[word][0], f"command '{word}'")

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [word for section in self.sections().values() for word in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self.fetch(cmd_name) if cmd_name in self.list_commands(ctx) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, words in self.sections().items():
            if words:
                with formatter.section(heading):
                    formatter.write_dl(list(words.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            raise self.unknown(args[0], known)
        return super().resolve_command(ctx, args)

    def unknown(self, word: str, known: Sequence[str]) -> KgrecError:
        return choices("command", word, known)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, standalone_mode: bool = True, **extra: Any) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **extra)
        logging.getLogger("kgrec").addFilter(_visible)
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # closed by whoever started it, as `>&-` and some daemons do
            if getattr(sys, name) is None:
                setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # at a terminal that has few letters (latin-1), as stderr does
        try:
            code = super().main(args, prog_name, standalone_mode=False, **extra)
            sys.stdout.flush()
        except KgrecError as error:
            click.echo(f"error: {error}", err=True)
            code = 2
        except click.ClickException as error:
            error.message = line(error.message)
            error.show()
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            click.echo("stopped; nothing is half-written, and a fit, a search or a long --out goes on with the same command", err=True)
            code = 130
        except UnicodeDecodeError as error:  # of standard input: files are read by `data.files`, which names them
            told = f"byte 0x{error.object[error.start]:02x} at {error.start} of what came on standard input is not {error.encoding.upper()}"
            click.echo(f"error: {told}; write it so, e.g. iconv -f windows-1252 -t utf-8", err=True)
            code = 2
        except BrokenPipeError:  # the reader (head, less) has seen enough; what is left in the buffer has nowhere to go
            _muted()
            code = 0
        except OSError as error:  # a full disk, a folder without rights; no further write of the buffer shall be tried
            click.echo(f"error: {error.filename or 'the output'}: {error.strerror or error}; free space or choose another place", err=True)
            _muted()
            code = 2
        sys.exit(code if isinstance(code, int) else 0)


def _muted() -> None:
    """Nothing more is written; an output that is no file (a caller's buffer) loses nothing."""
    with suppress(io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _visible(record: logging.LogRecord) -> bool:
    """Messages quote names and texts, and end at a terminal."""
    record.msg, record.args = visible(record.getMessage()), None
    return True


class DomainGroup(LazyGroup):
    """The words of a domain: its own verbs and commands come before the core's of the same name."""

    def __init__(self, domain: Domain) -> None:
        example = f"Example: kgrec {domain.name} recipe > mine.toml"
        built = {word: target for word, target in BUILT.items() if word != "demo" or domain.demo}
        targets = {**built, **{word: ("", verb.help) for word, verb in {**STANDARD, **domain.verbs}.items()}, **domain.commands}
        super().__init__(domain.name, targets, help=domain.summary, epilog=example, context_settings={"obj": domain})
        self.domain = domain

    def fetch(self, word: str) -> click.Command:
        from kgrec_core.cli.verbs import verb_command

        domain = self.domain
        if word in domain.commands:
            return super().fetch(word)
        if verb := {**STANDARD, **domain.verbs}.get(word):
            return verb_command(word, verb, domain.name)
        return load_target(BUILT[word][0], f"command '{word}'")(domain)


def domain_group(domain: Domain) -> click.Group:
    """The commands of a domain; those of `Domain.commands` find it with `click.pass_obj`."""
    return DomainGroup(domain)
