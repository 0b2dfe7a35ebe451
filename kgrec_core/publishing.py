"""From a fitted chain to a run in place: its files, opened again and held against the chain, then put where the old run was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from kgrec_core.calibration.calibration import Calibration
from kgrec_core.calibration.confidence import save_calibration
from kgrec_core.comparison.chains import Chain
from kgrec_core.graph import Dataset
from kgrec_core.knowledge.source import Source
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.report.card import card
from kgrec_core.run import carry, reopened, seen, stored_graph
from kgrec_core.run.origin import manifest
from kgrec_core.split import Split
from kgrec_core.training.options import Train


class Finished(NamedTuple):
    """What a run is published from. metrics, history: what metrics.json and history.jsonl hold. asked: the adjust queries, as tables;
    calibrations: what was learned from them, by task; others: what was learned from other queries.
    """

    recipe: Recipe
    dataset: Dataset
    chain: Chain
    metrics: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]] = ()
    sources: Mapping[str, Source] = {}
    calibrations: Mapping[str, Calibration] = {}
    others: Mapping[str, Calibration] = {}
    asked: Mapping[str, pl.DataFrame] = {}


def publish(found: Finished, work: Path, folder: Path, fingerprint: str, registry: Registry) -> None:
    """Write a run in the working folder `work`, which is gone at the end, and put it in place of `folder`, edits carried over.

    fingerprint: of its data. Raises KgrecError where a part does not open again as it was, and where edits do not fit.
    """
    recipe, dataset, chain = found.recipe, found.dataset, found.chain
    new = write(found, work / "run")
    reopened.check(new, recipe, registry, dataset, chain.model, chain.retrievals)
    seed = recipe.section("train", Train, registry).seed
    carry.publish(new, folder, manifest(dataset, recipe, fingerprint, seed, registry), dataset, chain.model.heads)
    shutil.rmtree(work)


def write(found: Finished, new: Path) -> Path:
    """All files of a run."""
    recipe, dataset, (model, retrievals) = found.recipe, found.dataset, found.chain
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    (new / "recipe.toml").write_text(recipe.dumps())
    for use, file in recipe.foreign.items():  # so that the run opens elsewhere too
        beside = new / f"{use.partition(':')[0]}.py"
        beside.parent.mkdir(parents=True, exist_ok=True)
        if not beside.exists():
            shutil.copyfile(file, beside)
    for place in ("encoder", *(f"{kind}/{task.name}" for kind in ("head", "retrieval") for task in dataset.tasks)):
        (new / place).mkdir(parents=True)
    model.encoder.save(new / "encoder")
    for task in dataset.tasks:
        model.heads[task.name].save(new / "head" / task.name)
        retrievals[task.name].save(new / "retrieval" / task.name)
    stored_graph.save_graph(dataset.graph, new / "knowledge", found.sources)
    for name, calibration in {**found.calibrations, **found.others}.items():
        save_calibration(new / "calibration", name, calibration, found.asked[name] if name in found.calibrations else None)
    seen.save(new / "seen", dataset.graph, model, retrievals, found.asked, recipe.section("split", Split).seed)
    (new / "metrics.json").write_text(json.dumps(found.metrics, indent=1))
    (new / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in found.history))
    (new / "README.md").write_text(card(recipe.tables, found.metrics, dataset))
    return new
