"""`kgrec serve RUN...`: the verbs of a run over HTTP, or with --once of a file of requests."""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

import click

from kgrec_core.cli.run import FILE, allow
from kgrec_core.errors import KgrecError
from kgrec_core.printing import say


@click.command(
    epilog="\b\nExample: kgrec serve runs/demo --port 8000\nExample: kgrec serve runs/demo --once asked.jsonl --out answers.jsonl"
)
@click.argument("runs", nargs=-1, required=True, type=FILE, metavar="RUN...")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; beyond this machine only with --keys or --jwks."
)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 = any that is free.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes; they share the run's memory.")
@click.option("--domain", metavar="NAME", help="Whose verbs the runs answer, where that is not clear.")
@click.option("--keys", type=FILE, envvar="KGREC_KEYS", show_envvar=True, metavar="FILE", help="API keys, made with `kgrec keys add`.")
@click.option("--jwks", type=FILE, metavar="FILE", help="Public keys of who signs JWTs.")
@click.option("--audience", metavar="NAME", help="What a JWT must be for.")
@click.option("--rate", default=0, type=click.IntRange(0), metavar="N", help="Requests a minute of each caller; 0 = any number.")
@click.option("--quota", default=0, type=click.IntRange(0), metavar="N", help="Requests a day of each caller; 0 = any number.")
@click.option(
    "--count-in", "storage", default="memory://", show_default=True, envvar="KGREC_COUNT_IN", show_envvar=True, metavar="URL",
    help="Where they are counted; redis://HOST for all. One with a password by the variable.",
)  # fmt: skip
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(0.001, 60), help="Deadline of a request that names none.")
@click.option("--queue", default=256, show_default=True, type=click.IntRange(1), help="Requests that may wait; the next is refused.")
@click.option(
    "--feedback", default=0.0, type=click.FloatRange(0, 365), metavar="DAYS", help="Note answers so long, and take feedback on them."
)
@click.option("--canary", type=FILE, metavar="RUN", help="A second run of the same domain for some of the callers; taken back when worse.")
@click.option("--share", default=0.1, show_default=True, type=click.FloatRange(0, 1, True, True), help="Of the callers, for --canary.")
@click.option(
    "--within", default=600.0, show_default=True, metavar="SECONDS", help="After an answer, in which a click or so counts for --canary."
)
@click.option("--on-drift", metavar="COMMAND", help="Run when queries are no longer those the run was made for; {run} in it is its folder.")
@click.option(
    "--drift-holds", default=600.0, show_default=True, type=click.FloatRange(0), metavar="SECONDS", help="For so long, for --on-drift."
)
@click.option("--state", type=FILE, metavar="FOLDER", help="Audit log and idempotency keys; RUN.serve beside the first run.")
@allow
@click.option("--once", type=FILE, metavar="FILE.jsonl", help='Answer a file instead: {"verb": "recommend", "request": {...}} a line.')
@click.option("--out", type=FILE, metavar="FILE.jsonl", help="Where the answers of --once go.")
def serve(
    runs: tuple[Path, ...],
    host: str,
    port: int,
    workers: int,
    domain: str | None,
    keys: Path | None,
    jwks: Path | None,
    audience: str | None,
    rate: int,
    quota: int,
    storage: str,
    seconds: float,
    queue: int,
    feedback: float,
    canary: Path | None,
    share: float,
    within: float,
    on_drift: str | None,
    drift_holds: float,
    state: Path | None,
    allow: tuple[str, ...],
    once: Path | None,
    out: Path | None,
) -> None:
    """Answer the questions of RUN over HTTP. GET /openapi.json lists the endpoints."""
    if lacking := [name for name in ("fastapi", "uvicorn", "prometheus_client", "limits", "jwt", "jinja2") if find_spec(name) is None]:
        raise KgrecError(f'serve needs {lacking[0]}; pip install "kgrec-core[serve]"')
    if workers > 1:  # before the first import of prometheus_client, which looks once
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="kgrec-metrics-")
    from kgrec_core.serving.hosted import hosted

    if once is not None:
        from kgrec_core.serving.once import answer_file

        if out is None:
            raise KgrecError("--once FILE needs --out FILE for the answers")
        asked, refused = answer_file(hosted(runs, domain, allow), once, out)
        say(f"{asked - refused:,} requests answered, {refused:,} refused; written to {out}")
        return
    from kgrec_core.run.decisions import files
    from kgrec_core.run.policy import parsed
    from kgrec_core.serving.access import Access, refuse_open_door
    from kgrec_core.serving.process import run_service
    from kgrec_core.serving.service import Service

    access = Access(keys, jwks, audience, rate, quota, storage)
    refuse_open_door(host, access)
    for run in (*runs, canary) if canary else runs:
        rules = files(run.absolute())[0]
        if strangers := access.strangers(parsed(rules).ages):
            remedy = f"make one with `kgrec keys add {strangers[0]}` or correct the name"
            click.echo(f"warning: {rules}: no valid key is called {', '.join(strangers)}, so this rule reaches nobody; {remedy}", err=True)

    def made(secret: bytes) -> Service:
        every = hosted([*runs, *([canary] if canary else [])], domain, allow)
        second = (canary.absolute().name, share, within) if canary else None
        return Service(
            every,
            access,
            seconds=seconds,
            queue=queue,
            state=state,
            feedback=feedback,
            canary=second,
            on_drift=on_drift,
            drift_holds=drift_holds,
            secret=secret,
        )

    run_service(made, host, port, workers, say)
