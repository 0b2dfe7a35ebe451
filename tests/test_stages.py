"""What stages cost: by the wall, by the processor, in memory; the same name adds up, a failing block counts too."""

import time

import numpy as np
import pytest

from kgrec_core.stages import Stages


def test_costs_of_waiting_computing_and_holding():
    told = []
    stages = Stages(lambda *said: told.append(said))
    with stages("wait"):
        time.sleep(0.2)
    with stages("compute"):
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
    with stages("hold"):
        np.ones(2**25)  # 256 MiB
    wait, compute, hold = (stages.costs[name] for name in ("wait", "compute", "hold"))
    assert wait["seconds"] >= 0.2 and wait["cpu"] < 0.1
    assert 0.15 <= compute["cpu"] <= compute["seconds"] + 0.1
    assert hold["peak_mb"] - wait["peak_mb"] > 200
    assert told == [(name, 0, 0) for name in ("wait", "compute", "hold")]


def test_a_name_adds_up_also_when_its_block_fails():
    stages = Stages(lambda *said: None)
    for _ in range(2):
        with pytest.raises(KeyError), stages("again"):
            time.sleep(0.1)
            raise KeyError
    assert stages.costs["again"]["seconds"] >= 0.2
