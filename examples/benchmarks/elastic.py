"""What a second worker brings, and what nginx costs: requests a second of one worker, of two, and of two services behind nginx.

    python examples/benchmarks/elastic.py [--small] [--run FOLDER] [--seconds 20] [--clients 32] [--client wrk|httpx]

`recommend` by a text, every one a new one, over docs/operate/nginx.conf (apt-get install nginx) and without it. A worker computes in one
thread, so that two have a core each, if their clients leave them one: wrk (apt-get install wrk) takes a hundredth of one, httpx in Python much of
one. Of both, clients and services, the CPU is told. Prints one JSON line last; exits with 1 where a request failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from serving import WORDS, answering, children, fitted, load, memory, server, told, wait

CONFIGURATION = Path(__file__).parents[2] / "docs/operate/nginx.conf"
TICK = os.sysconf("SC_CLK_TCK")
SCRIPT = """
local words, at = {%s}, 0
local n = #words
wrk.method, wrk.headers["Content-Type"], wrk.headers["X-Deadline-Ms"] = "POST", "application/json", "10000"
function init(given) at = %d end
function request()
  at = at + 1
  local i = at
  local one, two, three = words[i %% n + 1], words[math.floor(i / n) %% n + 1], words[math.floor(i / n / n) %% n + 1]
  return wrk.format(nil, nil, nil, '{"text": "' .. one .. " " .. two .. " " .. three .. " " .. i .. '", "k": 10}')
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"requests": %%d, "status": %%d, "broken": %%d, "seconds": %%f, "p50": %%f, "p99": %%f}\\n', summary.requests,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


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


def by_wrk(url: str, clients: int, seconds: float, first: int) -> dict:
    """What `serving.told` tells, of clients that cost next to nothing; first: number of the first text."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT % (", ".join(f'"{word}"' for word in WORDS), first))
        script.flush()
        words = ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--timeout", "15s", "-s", script.name]
        done = subprocess.run([*words, f"{url}/v1/ecommerce/recommend"], check=True, capture_output=True, text=True)
    of = json.loads(done.stdout.splitlines()[-1])
    others = {name: of[name] for name in ("status", "broken") if of[name]}
    good = of["requests"] - of["status"]
    return {
        "requests": of["requests"],
        "per second": round(good / of["seconds"], 1),
        "p50 ms": round(of["p50"], 1),
        "p99 ms": round(of["p99"], 1),
        "others": others,
    }


def cpu(processes: list[subprocess.Popen]) -> float:
    """Seconds of CPU that services and their workers have taken."""
    every = [pid for process in processes for pid in (process.pid, *children(process))]
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in every]
    return sum(int(of[11]) + int(of[12]) for of in fields) / TICK


def own_cpu() -> float:
    """Of this process and of what it has waited for: the clients."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def measure(run: Path, seconds: float, clients: int, client: str) -> dict:
    found: dict = {}

    def ask(url: str, long: float, first: int) -> dict:
        return by_wrk(url, clients, long, first) if client == "wrk" else told(asyncio.run(load(url, clients, long)), long)

    def asked(name: str, url: str, processes: list[subprocess.Popen]) -> None:
        ask(url, min(3.0, seconds), 10**6)  # warm
        served, clients_, began = cpu(processes), own_cpu(), time.monotonic()
        found[name] = ask(url, seconds, 0)
        took, served, clients_ = time.monotonic() - began, cpu(processes) - served, own_cpu() - clients_
        found[name] |= {
            "MiB": round(sum(map(memory, processes))),
            "cores of the services": round(served / took, 2),
            "cores of the clients": round(clients_ / took, 2),
            "CPU ms a request": round(1e3 * served / max(1, found[name]["requests"]), 2),
        }

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
    parser.add_argument("--client", choices=("wrk", "httpx"), default="wrk" if shutil.which("wrk") else "httpx")
    given = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}
    with tempfile.TemporaryDirectory() as name:
        run = Path(shutil.copytree(given.run, Path(name) / given.run.name)) if given.run else fitted(Path(name))
        found = measure(run, 1.5 if given.small else given.seconds, 4 if given.small else given.clients, given.client)
    print(json.dumps({"benchmark": "elastic", "small": given.small, "client": given.client, **found}))
    return 1 if any(of["others"] for of in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
