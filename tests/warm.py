"""Commands as processes of their own, forked from one that has imported what they need: importing torch took longer than most of them do.

`run` is `subprocess.run` of this Python with text captured, for "-m MODULE ...", "-c CODE ..." and "FILE.py ...". What must start bare (what is imported, what
starting costs, what signals do) does not belong here. The file is both sides: run as a script it is the process that forks.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

IMPORTED = ("torch", "transformers", "sentence_transformers", "polars", "scipy.sparse", "sklearn.linear_model", "sklearn.model_selection")
IMPORTED += ("lightgbm", "faiss", "kgrec_core.pipeline", "kgrec_core.cli.main", "kgrec_core.parts")
TORCHRUN = """
import runpy, sys
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

def rank(*words):
    sys.argv = [*words] if words[0] != "-m" else [*words[1:]]
    if words[0] == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(words[0], run_name="__main__")

how = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "run_id": "tests", "start_method": "fork", "monitor_interval": 0.05}
elastic_launch(LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=2, max_restarts=0, **how), rank)(*sys.argv[1:])
"""


def torchrun(*words: str | Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Two processes as torchrun starts them, by its own library, forked: "-m MODULE ..." or "FILE.py ..."."""
    return run(["-c", TORCHRUN, *words], env=env)


def run(
    words: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, text: str = "", timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Raises subprocess.TimeoutExpired after `timeout` seconds."""
    command = [*map(str, words)]
    with tempfile.TemporaryDirectory() as folder:
        ends = {name: f"{folder}/{name}" for name in ("stdin", "stdout", "stderr")}
        Path(ends["stdin"]).write_text(text)
        asked = {"words": command, "cwd": str(cwd or Path.cwd()), "env": dict(env or os.environ), "ends": ends, "timeout": timeout}
        server = _server()
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        code = json.loads(server.stdout.readline())
        out, err = (Path(ends[name]).read_text() if Path(ends[name]).exists() else "" for name in ("stdout", "stderr"))
    if code is None:
        raise subprocess.TimeoutExpired(command, timeout, out, err)
    return subprocess.CompletedProcess(command, code, out, err)


@cache
def _server() -> subprocess.Popen[str]:
    single = {**os.environ, "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0", "HF_HUB_OFFLINE": "1"}  # read as they are imported
    return subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=single)


def serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    for name in IMPORTED:
        with suppress(ImportError):
            importlib.import_module(name)
    while line := sys.stdin.readline():
        asked = json.loads(line)
        if not (child := os.fork()):
            become(**asked)
        answers.write(json.dumps(_ended(child, time.monotonic() + asked["timeout"])) + "\n")
        answers.flush()


def _ended(child: int, until: float) -> int | None:
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def become(words: list[str], cwd: str, env: dict[str, str], ends: dict[str, str], timeout: float) -> None:
    """The command, in this process; it does not return."""
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        file = os.open(ends[name], os.O_RDONLY if mode == "r" else os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="backslashreplace" if name == "stderr" else "strict"))
    kind = words[0] if words[0] in ("-m", "-c") else ""
    sys.argv = words[kind == "-m" :] if kind != "-c" else ["-c", *words[2:]]
    first = cwd if kind else str(Path(words[0]).resolve().parent)
    own = str(Path(__file__).parent)
    sys.path[:] = [first, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep)), *(p for p in sys.path if p != own)]
    code = 0
    try:
        if kind == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        elif kind == "-c":
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_path(str(Path(words[0]).resolve()), run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code & 0xFF)


if __name__ == "__main__":
    serve()
