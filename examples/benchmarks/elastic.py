"""What a second worker brings, and what nginx costs: requests a second of one worker, of two, and of two services behind nginx.

    python examples/benchmarks/elastic.py [--small] [--run FOLDER] [--seconds 20] [--clients 32]

`recommend` by a text, every one a new one, over docs/operate/nginx.conf (apt-get install nginx) and without it. A worker computes in one
thread, so that two have a core each. Prints one JSON line last; exits with 1 where a request failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from serving import answering, fitted, load, memory, server, told, wait

CONFIGURATION = Path(__file__).parents[2] / "docs/operate/nginx.conf"


@contextmanager
def nginx(folder: Path, addresses: list[str], port: int):
    """The address of an nginx in front of services."""
    ports = [re.search(r"\d+$", address)[0] for address in addresses]
    text = CONFIGURATION.read_text().replace("server 127.0.0.1:8000;", " ".join(f"server 127.0.0.1:{of};" for of in ports))
    folder = folder / f"nginx{port}"
    folder.mkdir()
    (folder / "nginx.conf").write_text(text.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
    with subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]) as process:
        try:
            end = time.monotonic() + 10
            while time.monotonic() < end:
                try:
                    httpx.get(f"http://127.0.0.1:{port}/health/ready")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def measure(run: Path, seconds: float, clients: int) -> dict:
    found: dict = {}

    def asked(name: str, url: str, processes: list[subprocess.Popen]) -> None:
        asyncio.run(load(url, clients, min(3.0, seconds)))  # warm
        found[name] = told(asyncio.run(load(url, clients, seconds)), seconds) | {"MiB": round(sum(map(memory, processes)))}

    with ExitStack() as stack:
        process, url = stack.enter_context(server(run, 1))
        asked("one worker", url, [process])
        if shutil.which("nginx"):
            asked("one worker behind nginx", stack.enter_context(nginx(run.parent, [url], 18080)), [process])
            other, second = stack.enter_context(server(run, 1, "--state", str(run.parent / "state2")))
            asked("two services behind nginx", stack.enter_context(nginx(run.parent, [url, second], 18081)), [process, other])
    with server(run, 2) as (process, url):
        wait(lambda: len(answering(process)) == 2)
        asked("two workers", url, [process])
    one = found["one worker"]
    for name in [name for name in found if name != "one worker"]:
        found[name] |= {"requests a second, times": round(found[name]["per second"] / one["per second"], 2)}
        found[name] |= {"memory, times": round(found[name]["MiB"] / one["MiB"], 2)}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--clients", type=int, default=32)
    given = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}
    with tempfile.TemporaryDirectory() as name:
        run = Path(shutil.copytree(given.run, Path(name) / given.run.name)) if given.run else fitted(Path(name))
        found = measure(run, 1.5 if given.small else given.seconds, 4 if given.small else given.clients)
    print(json.dumps({"benchmark": "elastic", "small": given.small, **found}))
    return 1 if any(of["others"] for of in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
