"""Workers of a real service: they share calls' counts, one that is killed is replaced, SIGTERM ends them; asked by the client."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import warm

from kgrec_core.client import AsyncClient, Client
from kgrec_core.errors import KgrecError
from kgrec_core.serving.process import Shared, listening


@pytest.fixture(scope="module")
def server(published: Path, tmp_path_factory: pytest.TempPathFactory):
    """The parent process of two workers, and its address."""
    folder = tmp_path_factory.mktemp("served")
    run = shutil.copytree(published, folder / "shop")
    command = [sys.executable, "-m", "kgrec_core", "serve", str(run), "--domain", "ecommerce", "--port", "0", "--workers", "2"]
    command += ["--state", str(folder / "state")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process, re.search(r"http://\S+\d", process.stdout.readline())[0]
        finally:
            process.kill()


def workers(process: subprocess.Popen) -> set[int]:
    return {int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()}


def within(seconds: float, true) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def refuses(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_worker_takes_one_connection_a_turn_and_leaves_the_others():
    listens = listening("127.0.0.1", 0)
    with Shared(fileno=listens.detach()) as shared:
        shared.setblocking(False)
        assert shared.proto == socket.IPPROTO_TCP  # else asyncio would wait for an ACK before it sends
        clients = [socket.create_connection(shared.getsockname()) for _ in range(2)]
        for _ in clients:
            shared.accept()[0].close()
            with pytest.raises(BlockingIOError):
                shared.accept()
        with pytest.raises(BlockingIOError):
            shared.accept()
        clients.append(socket.create_connection(shared.getsockname()))
        shared.accept()[0].close()
        for client in clients:
            client.close()


def test_a_run_that_no_worker_can_open_is_one_line(tmp_path):
    done = warm.run(["-m", "kgrec_core", "serve", tmp_path / "absent", "--port", "0", "--workers", "2"], timeout=60)
    assert done.returncode == 2 and not done.stdout and "absent" in done.stderr and done.stderr.count("\n") == 1


def test_workers(server):
    process, url = server
    with Client(url) as client:
        assert [run["domain"] for run in client.runs()] == ["ecommerce"]
        assert client.recommend(user="ruser0", k=2)[0]["id"][0] == "r" and len(client("ecommerce.similar", item="r1", k=3)) == 3
        found = client.recommend([{"user": "ruser0", "k": 1}, {"k": 1}])
        assert len(found[0]) == 1 and isinstance(found[1], KgrecError)
        with pytest.raises(KgrecError, match="did you mean 'recommend'"):
            client.recomend(user="ruser0")
        with pytest.raises(KgrecError, match="no item of this run"):
            client.similar(item="absent")
        assert len(client.embeddings(["red mug"])[0]) == 384
        threads = [task.read_text().strip() for task in Path(f"/proc/{process.pid}/task").glob("*/comm")]
        assert threads and not [name for name in threads if re.fullmatch(r"polars-\d+", name)], "a fork takes no threads along"
        before = workers(process)
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        assert within(10, lambda: len(workers(process) - {min(before)}) == 2)
        for n in range(6):
            assert client.recommend(text=f"blue mug {n}", k=1)
        counted = re.findall(r'kgrec_requests_total\{.*verb="recommend".*\} (\S+)', httpx.get(f"{url}/metrics").text)
        assert sum(map(float, counted)) >= 8

    async def several():
        async with AsyncClient(url) as client:
            return await asyncio.gather(*(client.recommend(user=f"ruser{n}", k=1) for n in (0, 2, 4)))

    assert all(one[0]["id"][0] == "r" for one in asyncio.run(several()))
    host, _, port = url.removeprefix("http://").partition(":")
    slow = socket.create_connection((host, int(port)))
    slow.sendall(b'POST /v1/ecommerce/similar HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{"item": ')
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert within(5, lambda: refuses(host, int(port)))  # at once, and not when what is under way has ended
    slow.sendall(b'"r1","k":1}')
    answer = slow.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer.lower()
    assert within(60, lambda: process.poll() is not None) and process.returncode == 0
    with pytest.raises(KgrecError, match="does not answer"):
        Client(url).runs()


def test_workers_end_with_a_parent_that_is_killed():
    work = "import time\nfrom kgrec_core.serving.process import supervised\n"
    work += "supervised(lambda ready: (ready(['shop']), time.sleep(99)), 2, lambda runs: print(runs, flush=True), list)"
    with subprocess.Popen([sys.executable, "-c", work], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "['shop']\n" and within(5, lambda: len(workers(parent)) == 2)
        left = workers(parent)
        parent.kill()
    assert within(5, lambda: not any(Path(f"/proc/{child}/exe").exists() for child in left)), "nobody replaces those who die now"


STUCK = """
import asyncio, types, uvicorn
from kgrec_core.serving import process
process.GRACE = process.LAST = 0.2
async def stuck(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    print("up", flush=True)
    await receive()
    await asyncio.sleep(600)
process.Server(uvicorn.Config(stuck, port=0, log_config=None), types.SimpleNamespace()).run()
"""


def test_what_never_ends_is_given_up_after_a_signal():
    """A call that computes for ever holds the process no longer than its grace."""
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "up\n"
            process.terminate()
            _, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 1 and "given up" in said
