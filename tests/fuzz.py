"""Mutated inputs through every door: nothing but a refusal in one line may come of them.

    python tests/fuzz.py --n 20000 --seed 0

Not part of the tests. Input i of a seed is always the same: `--only I` repeats one and shows its traceback. A process of its own takes
them, one after the other; what ends or hangs it is counted, and the next goes on. The last line is JSON; exit code 1 where it found
something. Counted as a find: an exception that is no refusal ("traceback"), a process that ends ("crash"), more than 10 s ("hang"), and
whatever is read or called outside of the paths that were given ("outside").
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random

SECONDS, STARTING = 10, 120
KINDS = ("traceback", "crash", "hang", "outside")


def main() -> int:
    how = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how.add_argument("--n", type=int, default=20_000)
    how.add_argument("--seed", type=int, default=0)
    how.add_argument("--small", action="store_true", help="a world with one run, and 150 inputs")
    how.add_argument("--doors", default="", help="only these, with commas")
    how.add_argument("--only", type=int, default=-1)
    how.add_argument("--world", default="", help="a folder for files and runs that stays, and is taken as it is where it is there")
    how.add_argument("--worker", default="", help=argparse.SUPPRESS)
    how.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    given = how.parse_args()
    given.n = min(given.n, 150) if given.small else given.n
    if given.only >= 0:
        given.start, given.n = given.only, given.only + 1
    if given.worker:
        return work(given)
    with tempfile.TemporaryDirectory(prefix="kgrec-fuzz-") as folder:
        from fuzzing.world import make

        begun = time.time()
        place = Path(given.world or folder) / "world"
        world = make(place.absolute(), ("shop",) if given.small else ("shop", "lists", "support"))
        print(f"runs fitted in {time.time() - begun:.0f} s", flush=True)
        found = watch(given, {"folder": str(world.folder), "runs": {name: str(run) for name, run in world.runs.items()}})
    told = {**{kind: found[kind] for kind in KINDS}, "inputs": found["inputs"], "refused": found["refused"], "taken": found["taken"]}
    told |= {"doors": {key[5:]: n for key, n in sorted(found.items()) if key.startswith("door ")}, "seed": given.seed}
    print(json.dumps(told | {"seconds": round(time.time() - begun)}))
    return int(any(found[kind] for kind in KINDS))


def watch(given: argparse.Namespace, world: dict) -> Counter[str]:
    """Start workers, one at a time, until every input was taken."""
    found, at = Counter[str](), given.start
    while at < given.n:
        command = [sys.executable, __file__, "--worker", json.dumps(world), "--start", str(at), "--n", str(given.n)]
        command += ["--seed", str(given.seed), "--doors", given.doors]
        with tempfile.TemporaryFile("w+b") as log:
            worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
            reading, limit, rest = -1, STARTING, b""
            while True:
                if b"\n" not in rest:
                    ready, _, _ = select.select([worker.stdout], [], [], limit)
                    came = os.read(worker.stdout.fileno(), 1 << 16) if ready else b""
                    if not came:
                        break
                    rest += came
                    continue
                line, _, rest = rest.partition(b"\n")
                told, limit = json.loads(line), SECONDS
                if "at" in told:
                    reading = told["at"]
                    found[f"door {told['door']}"] += 1
                    continue
                reading, at = -1, told["done"] + 1
                found["inputs"] += 1
                found[told["how"]] += 1
                if told["how"] in KINDS:
                    print(f"{told['how']} at {told['done']} ({told['door']}): {told['why']}", flush=True)
            alive = worker.poll() is None and not ready
            worker.kill()
            code = worker.wait()
            if at < given.n:
                log.seek(0)
                said = log.read().decode("utf-8", "replace").strip().splitlines()[-1:] or [""]
                if reading < 0:
                    raise SystemExit(f"the worker ended before input {at}: {said[0][:300]}")
                how = "hang" if alive else "crash"
                print(f"{how} at {reading}: exit code {code} {said[0][:200]}", flush=True)
                found["inputs"] += 1
                found[how] += 1
                at = reading + 1
    return found


def work(given: argparse.Namespace) -> int:
    """Take inputs from `start` to `n`, and say of each what came of it."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from fuzzing import doors
    from fuzzing.world import World

    told = json.loads(given.worker)
    world = World(Path(told["folder"]), {name: Path(run) for name, run in told["runs"].items()})
    names = [n for n in doors.DOORS if not given.doors or n in given.doors.split(",")]
    weights = [doors.DOORS[n][0] or (given.doors == n) for n in names]
    os.environ["KGREC_CACHE"] = str(world.folder / "cache")
    outside: list[str] = []
    sys.addaudithook(lambda event, args: outside.append(f"{event} {args[:1]}") if _outside(event, args) else None)
    doors.scratch(world)
    for name in world.runs:
        doors._asked(doors.run(world.runs[name]), name)
    for number in range(given.start, given.n):
        draw = Random(f"{given.seed} {number}")
        (name,) = draw.choices(names, weights)
        print(json.dumps({"at": number, "door": name}), file=out)
        outside.clear()
        os.utime(world.secret, ns=(0, time.time_ns()))
        how, why = "taken", ""
        try:
            why = repr(doors.DOORS[name][1](world, draw))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            how, why = _judged(error)
            if how == "traceback" and given.n == given.start + 1:
                traceback.print_exc()
        if outside or "CANARY" in why or world.secret.stat().st_atime_ns:
            how, why = "outside", f"{outside[:2]} {why[:200]}"
        print(json.dumps({"done": number, "door": name, "how": how, "why": why[:400] if how in KINDS else ""}), file=out)
    return 0


def _judged(error: BaseException) -> tuple[str, str]:
    from click import ClickException

    from kgrec_core import KgrecError

    if isinstance(error, KgrecError | ClickException):
        lines = str(error).strip().count("\n")
        return (
            ("traceback", f"{lines + 1} lines: {str(error)[:300]!r}")
            if lines and isinstance(error, KgrecError)
            else ("refused", str(error))
        )
    where = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
    return "traceback", f"{type(error).__name__}: {str(error)[:160]} @ {' '.join(where[-5:])}"


def _outside(event: str, args: tuple) -> bool:
    if event == "open":
        return isinstance(args[0], str | bytes | os.PathLike) and os.fsdecode(args[0]).endswith(("secret.csv", "/etc/passwd"))
    if event == "subprocess.Popen":
        return args[0] != sys.executable
    return event in ("os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.getaddrinfo", "urllib.Request")


if __name__ == "__main__":
    sys.exit(main())
