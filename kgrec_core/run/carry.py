"""Edits outlive the run they were made in: a new fit in its place carries them over, a compaction bakes them in."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import TYPE_CHECKING, Any

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset
from kgrec_core.interfaces import Head
from kgrec_core.run import folder as run_folder
from kgrec_core.run import stored_graph
from kgrec_core.run.log import Live, Mark

if TYPE_CHECKING:
    from kgrec_core.run.run import Run

REMEDY = "put what the edits bring into the data and move the file away, or fit into another folder"


def check_edits(folder: Path, dataset: Dataset, heads: Mapping[str, Head]) -> Mark:
    """How far the edits of the run in `folder` go. Raises KgrecError where they do not fit what a new run there would be made from, and
    where that run answers nothing that the new one would: it is somebody else's."""
    if (there := _tasks(folder)) and not there & {task.name for task in dataset.tasks}:
        told = ", ".join(sorted(there)), ", ".join(task.name for task in dataset.tasks)
        raise KgrecError(f"{folder} is a run of {told[0]}, which a fit of {told[1]} would replace; choose another --run, or move it away")
    live, graph = _live(folder), dataset.graph
    found = live.after(Mark())
    try:
        graph = graph.join(*(entry.delta for _, entry in found))
    except KgrecError:
        for mark, entry in found:  # which of them it is
            try:
                graph = graph.join(entry.delta)
            except KgrecError as error:
                raise KgrecError(f"{live.file}: edit {mark.number} does not fit the new data ({error}); {REMEDY}") from error
    for task in dataset.tasks:
        kind = task.relation.target
        if not heads[task.name].encodes_candidates and graph.size(kind) > dataset.graph.size(kind):
            raise KgrecError(
                f"{live.file} brings a {kind} that the new data lack, but the head of task {task.name} has to learn each; {REMEDY}"
            )
    return found[-1][0] if found else Mark()


def _tasks(folder: Path) -> set[str]:
    """What the run in `folder` answers; nothing where there is none, or none that can be read."""
    try:
        return {str(task["name"]) for task in json.loads((folder / "manifest.json").read_text("utf-8"))["tasks"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def publish(new: Path, folder: Path, manifest: dict[str, Any], dataset: Dataset, heads: Mapping[str, Head]) -> None:
    """Publish a fitted run; the edits of the run that it takes the place of are its own from then on."""
    data, done = run_folder.sealed(new, manifest), False
    while not done:
        mark = check_edits(folder, dataset, heads)
        done = _live(folder).hand_over(data, 0, mark, lambda: run_folder.place(new, folder))


def compact(run: Run) -> int:
    """Publish the run with its edits baked in, and tell how many they are; 0 = there are none, and nothing is done.

    It then opens as fast as without them; they can no longer be undone. Who has the run open goes on undisturbed, and what is edited
    meanwhile comes after it. Raises KgrecError where another process is fitting or compacting here, and where the run was replaced.
    """
    with run_folder.workspace(run.folder) as work:
        snapshot, mark = run.latest
        baked = sum(edit["number"] <= mark.number for edit in run.edits())
        if baked:
            new = work / "run"
            shutil.rmtree(new, ignore_errors=True)
            with run_folder.pinned(run.folder) as place:
                shutil.copytree(place, new, ignore=shutil.ignore_patterns(run_folder.MANIFEST))
            for part in (new / "encoder", new / "knowledge", *(new / "retrieval" / task.name for task in snapshot.tasks)):
                shutil.rmtree(part)
                part.mkdir()
            snapshot.model.encoder.save(new / "encoder")
            stored_graph.save_graph(snapshot.graph, new / "knowledge", snapshot.sources)
            for name, retrieval in snapshot.retrievals.items():
                retrieval.save(new / "retrieval" / name)
            for name, calibration in snapshot.calibrations.items():
                (new / "calibration" / f"{name}.json").write_text(json.dumps(calibration.to_json()))
            kept = {key: value for key, value in run.manifest.items() if key not in ("format", "files")}
            data = run_folder.sealed(new, {**kept, "edits": mark.number})
            live = _live(run.folder)
            if not live.hand_over(data, mark.number, mark, lambda: run_folder.place(new, run.folder)):
                raise KgrecError(f"{live.file} was cut or replaced while {run.folder} was compacted; nothing was published")
        shutil.rmtree(work)
        return baked


def compact_apart(folder: Path, allow: Collection[str]) -> Popen[bytes]:
    """Begin a compaction in a process of its own, so that no edit waits for it, and after a fork as well; it tells what fails.

    Raises OSError where no process can be begun.
    """
    allowed = [word for part in sorted(allow) for word in ("--allow", part)]
    command = [sys.executable, "-P", "-m", "kgrec_core.cli.main", "compact", *allowed, "--", str(folder)]
    return Popen(command, stdin=DEVNULL, stdout=DEVNULL)


def _live(folder: Path) -> Live:
    """The log beside the run that is in place now."""
    manifest = folder / run_folder.MANIFEST
    return Live(folder, run_folder.checksum(manifest) if manifest.is_file() else "")
