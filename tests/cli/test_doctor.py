"""What `kgrec doctor` finds on machines that are not this one."""

import json
import sys

import pytest
from click.testing import CliRunner

from kgrec_core.cli import doctor
from kgrec_core.recipe.registry import Plugin, Registry


@pytest.fixture
def installed(monkeypatch):
    """Pretends that distributions have other versions; None = not installed."""
    real = doctor._version

    def pretend(**versions):
        changed = {name.replace("_", "-"): version for name, version in versions.items()}
        monkeypatch.setattr(doctor, "_version", lambda name: changed[name] if name in changed else real(name))

    monkeypatch.setattr(Registry, "discover", classmethod(lambda cls: cls([Plugin("core", "kgrec-core", "1", "active")])))
    return pretend


def test_facts(installed):
    installed(faiss_gpu=None, faiss_gpu_cu11=None, faiss_gpu_cu12=None)
    done = CliRunner().invoke(doctor.doctor, ["--json"])
    report = json.loads(done.stdout)
    assert done.exit_code == (1 if report["broken"] else 0)
    assert report["device"]["kind"] in ("cuda", "mps", "cpu") and isinstance(report["device"]["bf16"], bool)
    assert report["libraries"]["torch"] and report["threads"]["usable"] >= 1
    assert not any("overwrite" in text for text in report["warnings"])
    lines = CliRunner().invoke(doctor.doctor).stdout.splitlines()
    assert [line.split()[0] for line in lines[:6]] == ["kgrec", "libraries", "device", "faiss", "threads", "plugin"]


def test_two_faiss_at_once(installed):
    installed(faiss_cpu="1.15.1", faiss_gpu="1.15.1", faiss_gpu_cu12=None)
    told = [text for text in doctor.examine()["warnings"] if "faiss" in text]
    assert told == [
        "faiss-cpu and faiss-gpu are both installed and overwrite each other's files; "
        "pip uninstall -y faiss-cpu faiss-gpu, then install one of them"
    ]


def test_no_faiss_is_no_fault(installed):
    installed(faiss_cpu=None, faiss_gpu=None, faiss_gpu_cu11=None, faiss_gpu_cu12=None)
    report = doctor.examine()
    assert not any("faiss" in text for text in report["broken"]) and any(
        "pip install 'kgrec-core[cpu]'" in text for text in report["warnings"]
    )


def test_faiss_that_cannot_be_imported_is_one(installed, monkeypatch):
    installed(faiss_cpu="1.15.1", faiss_gpu=None, faiss_gpu_cu11=None, faiss_gpu_cu12=None)
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert any("pip install --force-reinstall faiss-cpu" in text for text in doctor.examine()["broken"])


def test_missing_and_outdated_libraries(installed, monkeypatch):
    installed(peft=None, transformers="4.57.0")
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["transformers<6,>=5.17", "peft>=0.19", 'ranx>=9; extra == "test"'])
    done = CliRunner().invoke(doctor.doctor, ["--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["broken"] == [
        "peft is missing; pip install peft",
        "transformers is 4.57.0, kgrec-core needs <6,>=5.17; pip install 'transformers<6,>=5.17'",
    ]


def test_plugins_that_are_not_active(installed, monkeypatch):
    installed()
    found = [Plugin("a", "a-plugin", "1", "broken", "ValueError: no"), Plugin("b", "b-plugin", "1", "blocked", "KGREC_BLOCK names it")]
    monkeypatch.setattr(Registry, "discover", classmethod(lambda cls: cls(found)))
    report = doctor.examine()
    assert "plugin 'a' is broken: ValueError: no" in report["broken"] and not any("'b'" in text for text in report["broken"])


def test_what_would_be_faster(installed, monkeypatch):
    installed()
    monkeypatch.setattr(doctor.platform, "system", lambda: "Linux")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert any("GOMP_SPINCOUNT=0" in text for text in doctor.examine()["faster"])
    monkeypatch.setenv("GOMP_SPINCOUNT", "0")
    assert not any("GOMP_SPINCOUNT" in text for text in doctor.examine()["faster"])
