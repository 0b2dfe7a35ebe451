"""What settings of fine-tuning give on drawn sets, by validation queries alone: what a recipe's defaults are chosen on.

    python examples/benchmarks/defaults.py [--sets intents_1000,faq_400] [--try "train.epochs=1 train.batch=64"] [--try ...] [--small] [section.key=value ...]

Sets: those of small_sets.py. Of each, and of each --try, a chain is fine-tuned and learned on the train and adjust queries; what is asked are the
select queries and, out of fold, the adjust queries. No test query is asked. The first row is always the recipe as it stands, with the settings that are
given for all. One JSON line last: by set, of every row the figure of the chain and of the encoder's own part alone, what a row's chain gains over
the first row's, paired, and the CPU seconds of its fine-tuning; and the chains' mean over the sets. --small takes 120 questions and two steps.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from arguments import about, asked_of
from small_sets import begun

from kgrec_core.comparison.referee import WHOLE
from kgrec_core.evaluation.interval import gain
from kgrec_core.finetuning import Job, fine_tuned
from kgrec_core.stages import silent

FIRST = "as it stands"
SMALL = ["train.steps=2", "train.contrastive=0.1", "train.validations=1", "train.batch=8"]


def known(name: str, seed: int, settings: list[str]) -> tuple[dict[str, np.ndarray], float]:
    """Per validation query what the fine-tuned chain and each simple thing in it get, by name; and CPU seconds of fine-tuning."""
    with tempfile.TemporaryDirectory() as folder:
        of = begun(name, 0, seed, Path(folder), settings)
        began = time.process_time()
        fine_tuned(of.model, of.views, of.options, Job(Path(folder) / "checkpoint", "defaults"), silent)
        seconds = time.process_time() - began
        of.model.refresh(of.views["train"].graph)
        return {c.name: c.known for c in of.heard("after") if c.system == "after"}, seconds


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("--sets", default="intents_1000,faq_400")
    parser.add_argument("--try", dest="tried", action="append", default=[], metavar='"section.key=value ..."')
    asked = asked_of(parser)
    os.chdir(Path(__file__).parent)  # where parts from files are found
    if asked.small:
        asked.sets, asked.tried = "intents_120", asked.tried or ["train.lr=1e-4"]
    rows, sets = {FIRST: [], **{of: of.split() for of in asked.tried}}, {}
    for name in asked.sets.split(","):
        found: dict[str, Any] = {}
        chains: dict[str, np.ndarray] = {}
        for row, settings in rows.items():
            values, seconds = known(name, asked.seed, [*(SMALL if asked.small else []), *asked.settings, *settings])
            chain = values.pop(WHOLE["after"])
            chains[row] = chain
            found[row] = {"chain": round(float(np.nanmean(chain)), 4), "gain": gain(chain, chains[FIRST], asked.seed)}
            found[row] |= {"parts": {part: round(float(np.nanmean(of)), 4) for part, of in values.items()}, "cpu": round(seconds)}
            found[row]["queries"] = int((~np.isnan(chain)).sum())
            print(name, row, json.dumps(found[row]), flush=True)
        sets[name] = found
    mean = {row: round(float(np.mean([of[row]["chain"] for of in sets.values()])), 4) for row in rows}
    print(json.dumps({"benchmark": "defaults", "seed": asked.seed, "mean": mean, "sets": sets}))


if __name__ == "__main__":
    main()
