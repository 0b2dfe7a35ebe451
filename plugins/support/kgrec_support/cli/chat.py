"""`kgrec support chat`: one question a line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from kgrec_core.domain import made, open_run, options_of, refuse_other, run_options, say, say_json
from kgrec_support import DOMAIN
from kgrec_support.shown import told
from kgrec_support.verbs import Ask, Chat

EXAMPLE = "Example: kgrec support chat --run runs/faq"


def _chat(_run: Path, _allow: tuple[str, ...], as_json: bool, **given: Any) -> None:
    from kgrec_support.talk import Talk

    how = made(Ask, {"question": "-", **{name: value for name, value in given.items() if value is not None}}, "chat")
    run = open_run(_run, _allow)
    refuse_other(DOMAIN.verbs["ask"], run)
    talk, prompt = Talk(run, how), sys.stdin.isatty()
    while True:
        click.echo("> ", nl=False) if prompt else None
        line = sys.stdin.readline()
        if line and not prompt and not line.strip():
            continue
        if not line.strip():
            return
        reply = talk.say(line)
        say_json(reply.to_json(), indent=None) if as_json else say(told(reply, reason=False))


as_json = click.Option(["--json", "as_json"], is_flag=True, help="One object a line.")
chat = click.Command(
    "chat", params=[*options_of(Chat), *run_options(), as_json], callback=_chat, help=str(Chat.__doc__).partition("\n\n")[0], epilog=EXAMPLE
)
