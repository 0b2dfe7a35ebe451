"""A run made smaller or faster, published as a run of its own where it answers as well as before: measured again, or refused.

    found = shrink(kgrec_core.open_run("runs/shop"), "int8")
    found.folder, found.figures["buys"]["gain"], found.ms

Both runs are built on what was learned from and asked the validation queries, both halves: none of these is learned from here, and what was chosen by them
is the run as it was.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from kgrec_core.comparison.chains import Chain
from kgrec_core.comparison.results import asked_values
from kgrec_core.encoder.int8 import quantised
from kgrec_core.encoder.static import static
from kgrec_core.encoder.text import Text
from kgrec_core.errors import KgrecError, choices
from kgrec_core.evaluation.interval import Interval, intervals, least
from kgrec_core.finetuning import sections
from kgrec_core.graph import Dataset, Task, View, candidates
from kgrec_core.limits import sampled
from kgrec_core.recipe.registry import Registry
from kgrec_core.run import folder as run_folder
from kgrec_core.run import reopened, stored_graph
from kgrec_core.run.decisions import carried
from kgrec_core.run.run import open_run
from kgrec_core.split import split
from kgrec_core.stages import Progress, silent
from kgrec_core.teaching.shallow import shallow

if TYPE_CHECKING:
    from kgrec_core.run.run import Run

LOSS = 0.005  # of the figure, that may be lost


class Shrunk(NamedTuple):
    """figures: task -> before, after, gain, each with its interval, of the validation queries. ms: of one text alone, before and after."""

    folder: str
    to: str
    figures: dict[str, dict[str, Interval]]
    ms: dict[str, float]


def shrink(run: Run, to: str, out: Path | None = None, loss: float = LOSS, progress: Progress = silent) -> Shrunk:
    """Publish the run in another form in `out`, RUN.FORM beside it by default, under the same rules of what may be shown.

    to: one of WAYS, "layers=4" with how many. loss: the share of the figure (NDCG@10, accuracy) that may be lost: with 95 % confidence (the one-sided bound of the paired difference) it is no more.
    Raises KgrecError where it may be more, for a run with edits or without text encoder or validation queries, and where `out` exists.
    """
    way = _way(to)
    out = out or run.folder.with_name(f"{run.folder.name}.{to.replace('=', '')}")
    if out.exists():
        raise KgrecError(f"{out} exists; name another folder with --out")
    if run.snapshot.edit:
        raise KgrecError(f"{run.folder} has edits, which a shrunk run would lack; bake them in first with `kgrec compact {run.folder}`")
    registry, folder = Registry.discover(), run.folder
    with run_folder.workspace(out) as work:
        try:
            found, new = _shrunk(run, to, way, loss, work / "run", registry, progress, out)
            kept = {key: value for key, value in run.manifest.items() if key not in ("format", "files")}
            carried(run.folder, out)
            run_folder.publish(new, out, {**kept, "shrunk": to, "from": run_folder.checksum(folder / run_folder.MANIFEST)})
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return found


def _way(to: str) -> Way:
    name, _, many = to.partition("=")
    if name not in WAYS:
        raise choices("way to shrink", to, WAYS)
    if name != "layers":
        if many:
            raise KgrecError(f"--to {name} takes no number; write --to {name}")
        return WAYS[name]
    if not (many.isascii() and many.isdigit()):
        raise KgrecError(f"--to {to} says no number of layers to keep; write --to layers=4")
    return Way(partial(_shallow, int(many)))


def _shrunk(run: Run, to: str, way: Way, loss: float, new: Path, registry: Registry, progress: Progress, out: Path) -> tuple[Shrunk, Path]:
    how, _, limits = sections(run.recipe, registry)
    old, small = (open_run(run.folder, run.recipe.foreign, registry).snapshot for _ in range(2))
    dataset = Dataset(stored_graph.load_graph(run.folder / "knowledge"), run.tasks)
    views = sampled(split(dataset, how), limits, how.seed)
    chains = {"before": Chain(old.model, old.retrievals), "after": Chain(small.model, small.retrievals)}
    texts = {name: [part for part in chain.model.encoder.modules() if isinstance(part, Text)] for name, chain in chains.items()}
    if not texts["after"]:
        raise KgrecError(f"{run.folder} has no text encoder, so there is nothing to shrink")
    for part in texts["before"]:
        part.version_ = part.tower_.fingerprint()  # the table in a run is of its weights
    progress(f"shrinking to {to}", 0, 0)
    for part in texts["after"]:
        way.change(part, _learned_from(part, views["train"], run.tasks))
    ms = {name: _ms(of[0]) for name, of in texts.items()}
    figures = {}
    values: dict[str, dict[str, NDArray[np.float64]]] = {task.name: {} for task in run.tasks}
    for name, chain in chains.items():
        progress(f"validation queries ({name})", 0, 0)
        chain.build(views["train"].graph)
        for task in run.tasks:
            asked = (views[half].queries[task.name] for half in ("select", "adjust"))
            values[task.name][name] = np.concatenate([asked_values(task, chain.model, chain.retrievals[task.name], of) for of in asked])
    for task, of in values.items():
        figures[task] = _gate(f"{run.folder}: task {task}", of["before"], of["after"], loss, how.seed)
    chain = chains["after"]
    progress("building with all known edges", 0, 0)
    chain.build(dataset.graph)
    with run_folder.pinned(run.folder) as place:
        shutil.copytree(place, new, ignore=shutil.ignore_patterns(run_folder.MANIFEST))
    for part in ("encoder", *(f"retrieval/{task.name}" for task in run.tasks)):
        shutil.rmtree(new / part)
        (new / part).mkdir()
    chain.model.encoder.save(new / "encoder")
    way.stored(new / "encoder")
    for task in run.tasks:
        chain.retrievals[task.name].save(new / "retrieval" / task.name)
    found = Shrunk(str(out), to, figures, ms)
    (new / "metrics.json").write_text(json.dumps({**run.metrics, "shrunk": {"to": to, "figures": figures, "ms": ms}}, indent=1))
    reopened.check(new, run.recipe, registry, dataset, chain.model, chain.retrievals)
    return found, new


def _learned_from(text: Text, view: View, tasks: Sequence[Task]) -> list[str]:
    """Texts of candidates, and of queries that may be learned from: those that are measured are not among them."""
    found: list[str] = []
    for task in tasks:
        for nodes in (candidates(view.graph, task), view.queries[task.name].nodes):
            if "text" in view.graph.columns(nodes.kind):
                found += text.whole(nodes, asked=False)
    return list(dict.fromkeys(filter(None, found)))


def _gate(what: str, before: NDArray[np.float64], after: NDArray[np.float64], loss: float, seed: int) -> dict[str, Interval]:
    """The figures of a task, by the values of its queries. Raises KgrecError where more may have been lost than is allowed."""
    found = intervals({"before": before, "after": after, "gain": after - before}, seed)
    of, n = found["before"]["mean"], int(found["gain"]["n"])
    if not n:
        raise KgrecError(f"{what} has no validation queries to measure again; widen split.validation and fit again")
    if not (low := least(after - before, seed)) >= -loss * of:
        raise KgrecError(
            f"{what}: {of:.4f} became {found['after']['mean']:.4f} on {n:,} validation queries; the loss may be {-low:.4f}, and "
            f"{loss:.2%} of it, {loss * of:.4f}, is allowed; allow more with --loss, or keep the run as it is"
        )
    return found


def _ms(text: Text, rounds: int = 15) -> float:
    """Milliseconds for a short text alone."""
    took = []
    with torch.inference_mode():
        for number in range(rounds):
            began = time.perf_counter()
            text.tower_([f"red kitchen clock {number}"])
            took.append(1e3 * (time.perf_counter() - began))
    return round(statistics.median(took), 2)


class Way(NamedTuple):
    """change: a text encoder, in place, by the texts that it reads. stored: what is still to be done to the folder of a saved encoder."""

    change: Callable[[Text, Sequence[str]], None]
    stored: Callable[[Path], None] = lambda folder: None


def _int8(text: Text, texts: Sequence[str]) -> None:
    text.tower_.answer_by(quantised(text.tower_.model))


@torch.no_grad()
def _rounded(text: Text, texts: Sequence[str]) -> None:
    """Weights to what bfloat16 holds of them; what is computed with them stays float32."""
    for weight in text.tower_.model.parameters():
        weight.copy_(weight.to(torch.bfloat16))
    text.tower_.pristine = text.tower_.fingerprint()


def _halved(folder: Path) -> None:
    """Every language model's weights, written in two bytes each."""
    for file in folder.rglob("model*.safetensors"):
        weights = {name: of.to(torch.bfloat16) if of.dtype == torch.float32 else of for name, of in load_file(file).items()}
        save_file(weights, file, metadata={"format": "pt"})


def _shallow(keep: int, text: Text, texts: Sequence[str]) -> None:
    shallow(text.tower_, keep, texts)


def _static(text: Text, texts: Sequence[str]) -> None:
    text.tower_.answer_by(static(text.tower_, texts))


WAYS = {"int8": Way(_int8), "bf16": Way(_rounded, _halved), "layers": Way(partial(_shallow, 0)), "static": Way(_static)}
