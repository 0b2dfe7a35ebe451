"""`kgrec doctor`: what is installed, on what machine, what is broken and what would make it faster, each with its remedy."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

import click

import kgrec_core
from kgrec_core import devices
from kgrec_core.cli.run import as_json
from kgrec_core.printing import columns, say, say_json
from kgrec_core.recipe.registry import Registry

LIBRARIES = (
    "torch", "transformers", "sentence-transformers", "accelerate", "peft", "polars", "pyarrow", "numpy", "scipy", "scikit-learn",
    "safetensors", "lightgbm", "bm25s", "rapidfuzz", "pluggy", "click", "packaging", "tomli-w", "rich",
)  # fmt: skip
FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12")


def examine() -> dict[str, Any]:
    """All findings. `broken`, `warnings` and `faster` are lists of sentences with a remedy; the rest are facts."""
    report: dict[str, Any] = {
        "kgrec": kgrec_core.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "plugins": [
            {"name": p.name, "distribution": p.distribution, "version": p.version, "state": p.state, "reason": p.reason}
            for p in Registry.discover().plugins
        ],
        "broken": [],
        "warnings": [],
        "faster": [],
    }
    _look_at_libraries(report)
    report["device"] = _device(report)
    report["faiss"] = _faiss(report)
    report["threads"] = _threads(report)
    for plugin in report["plugins"]:
        if plugin["state"] in ("broken", "incompatible"):
            report["broken"].append(f"plugin '{plugin['name']}' is {plugin['state']}: {plugin['reason']}")
    return report


@click.command(epilog="Example: kgrec doctor --json")
@as_json
def doctor(as_json: bool) -> None:
    """Check the installation: versions, device, FAISS, threads and plugins. The exit code is 1 if something is broken."""
    report = examine()
    if as_json:
        say_json(report)
    else:
        libraries = ", ".join(f"{name} {version or 'missing'}" for name, version in report["libraries"].items())
        device, faiss, threads = report["device"], report["faiss"], report["threads"]
        rows = [
            ("kgrec", f"{report['kgrec']} on Python {report['python']}, {report['platform']}"),
            ("libraries", libraries),
            ("device", f"{device['name']} ({device['kind']}), bf16 {'yes' if device['bf16'] else 'no'}, memory {device['memory_gb']} GB"),
            ("faiss", ", ".join(f"{n} {v}" for n, v in faiss["distributions"].items()) or "missing"),
            ("threads", f"{threads['usable']} usable cores, torch uses {threads['torch']}, GOMP_SPINCOUNT={threads['GOMP_SPINCOUNT']}"),
            *[("plugin", f"{p['name']} {p['version']} {p['state']}{': ' * bool(p['reason'])}{p['reason']}") for p in report["plugins"]],
        ]
        rows += [
            (word, text) for word, key in (("BROKEN", "broken"), ("warning", "warnings"), ("faster", "faster")) for text in report[key]
        ]
        say(columns(rows))
    if report["broken"]:
        click.get_current_context().exit(1)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _look_at_libraries(report: dict[str, Any]) -> None:
    from packaging.requirements import Requirement

    for name, version in report["libraries"].items():
        if version is None:
            report["broken"].append(f"{name} is missing; pip install {name}")
    try:
        lines = metadata.requires("kgrec-core") or []
    except metadata.PackageNotFoundError:
        report["warnings"].append("kgrec-core runs from a folder and is not installed: versions are not checked; pip install .")
        return
    for wanted in map(Requirement, lines):
        version, needed = _version(wanted.name), not wanted.marker or wanted.marker.evaluate({"extra": ""})
        if version and needed and not wanted.specifier.contains(version, prereleases=True):
            remedy = f"pip install '{wanted.name}{wanted.specifier}'"
            report["broken"].append(f"{wanted.name} is {version}, kgrec-core needs {wanted.specifier}; {remedy}")


def _device(report: dict[str, Any]) -> dict[str, Any]:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library that torch needs
        report["broken"].append(f"torch cannot be imported ({error}); install it again: https://pytorch.org/get-started")
        return {"kind": "none", "name": "none", "bf16": False, "memory_gb": 0, "count": 0}
    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        count, memory = torch.cuda.device_count(), round(facts.total_memory / 2**30, 1)
        return {"kind": "cuda", "name": facts.name, "bf16": devices.bf16("cuda"), "memory_gb": memory, "count": count}
    memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1) if hasattr(os, "sysconf") else None
    if torch.backends.mps.is_available():
        return {"kind": "mps", "name": platform.machine(), "bf16": devices.bf16("mps"), "memory_gb": memory, "count": 1}
    if torch.version.cuda is None:
        report["faster"].append(
            "fine-tuning on a GPU: this torch is built without CUDA; install its CUDA build where there is an NVIDIA GPU"
        )
    else:
        report["faster"].append("fine-tuning on a GPU: torch finds none; check nvidia-smi and CUDA_VISIBLE_DEVICES")
    return {"kind": "cpu", "name": platform.processor() or platform.machine(), "bf16": devices.bf16("cpu"), "memory_gb": memory, "count": 0}


def _faiss(report: dict[str, Any]) -> dict[str, Any]:
    found = {name: version for name in FAISS if (version := _version(name))}
    if not found:
        report["warnings"].append(
            "faiss is missing, only the retrieval 'exact' finds nearest vectors; pip install 'kgrec-core[cpu]' or '[gpu]'"
        )
        return {"distributions": {}, "gpus": 0}
    if len(found) > 1:
        names = " and ".join(found)
        remedy = f"pip uninstall -y {' '.join(found)}, then install one of them"
        report["warnings"].append(f"{names} are both installed and overwrite each other's files; {remedy}")
    try:
        import faiss
    except (ImportError, OSError) as error:
        report["broken"].append(f"{' and '.join(found)} cannot be imported ({error}); pip install --force-reinstall {next(iter(found))}")
        return {"distributions": found, "gpus": 0}
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    if report["device"]["kind"] == "cuda" and not gpus:
        report["faster"].append("search on the GPU: this faiss knows none; pip uninstall -y faiss-cpu and pip install 'kgrec-core[gpu]'")
    return {"distributions": found, "module": faiss.__version__, "gpus": gpus}


def _threads(report: dict[str, Any]) -> dict[str, Any]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        import torch

        used: int | None = torch.get_num_threads()
    except (ImportError, OSError):  # reported above
        used = None
    if used is not None and used < usable:
        limit = f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}" if "OMP_NUM_THREADS" in os.environ else "torch's own choice"
        report["faster"].append(f"more threads: torch uses {used} of {usable} cores ({limit}); export OMP_NUM_THREADS={usable}")
    if platform.system() == "Linux" and os.environ.get("GOMP_SPINCOUNT") != "0":
        report["faster"].append("shared cores: idle OpenMP threads spin; export GOMP_SPINCOUNT=0 where anything else runs on this machine")
    return {"usable": usable, "torch": used, **{name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT")}}
