"""What stages cost: by the wall, by the processor, in memory; the same name adds up, a failing block counts too."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from kgrec_core.stages import Stages

HOLDING = """
from kgrec_core.stages import Stages
stages = Stages(lambda *said: None)
for name, size in (("before", 1), ("hold", 2**28), ("after", 1)):
    with stages(name):
        held = bytearray(b"1") * size
        del held
print(*(stages.costs[name]["peak_mb"] for name in ("before", "hold", "after")))
"""


def test_costs_of_waiting_computing_and_holding():
    told = []
    stages = Stages(lambda *said: told.append(said))
    with stages("wait"):
        time.sleep(0.2)
    with stages("compute"):
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
    wait, compute = stages.costs["wait"], stages.costs["compute"]
    assert wait["seconds"] >= 0.2 and wait["cpu"] < 0.1
    assert 0.15 <= compute["cpu"] <= compute["seconds"] + 0.1
    assert told == [("wait", 0, 0), ("compute", 0, 0)]


def test_the_peak_grows_in_the_stage_that_holds_most():
    done = subprocess.run([sys.executable, "-c", HOLDING], capture_output=True, text=True, check=True)  # this process has had its peak
    before, hold, after = map(int, done.stdout.split())
    assert hold - before > 200 and after == hold


def test_on_cuda_the_devices_peak_is_told_too(monkeypatch):
    cuda = SimpleNamespace(is_available=lambda: True, is_initialized=lambda: True, max_memory_allocated=lambda: 3 * 2**30)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    stages = Stages(lambda *said: None)
    with stages("learn"):
        pass
    assert stages.costs["learn"]["gpu_mb"] == 3 * 2**10


def test_a_name_adds_up_also_when_its_block_fails():
    stages = Stages(lambda *said: None)
    for _ in range(2):
        with pytest.raises(KeyError), stages("again"):
            time.sleep(0.1)
            raise KeyError
    assert stages.costs["again"]["seconds"] >= 0.2
