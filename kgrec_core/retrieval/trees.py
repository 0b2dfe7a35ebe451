"""LightGBM's model files, read as what they are: its own reader aborts the process where one is cut, and follows any child anywhere.

So a text is parsed here, every tree must be one, and what LightGBM gets is written anew from what was found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lightgbm import Booster

LEAVES, TREES = 2**17, 2**17
_FLOAT = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$")
_WHOLE = re.compile(r"-?\d{1,9}$")


def booster(text: str, columns: int) -> Booster:
    """The ranking model of so many columns. Raises ValueError where the text is not one."""
    import lightgbm

    head, *trees = re.split(r"^Tree=", text.partition("\nend of trees")[0], flags=re.MULTILINE)
    said = _said(head.removeprefix("tree\n"))
    objective = said.get("objective", "").split(" ")[0]
    if "\nend of trees" not in text or objective not in ("lambdarank", "rank_xendcg"):
        raise ValueError("it is cut, or no model of a ranking")
    if (said.get("max_feature_idx"), said.get("num_class"), said.get("num_tree_per_iteration")) != (str(columns - 1), "1", "1"):
        raise ValueError(f"it reads {said.get('max_feature_idx')} columns beside the first, not {columns - 1}")
    if len(said.get("tree_sizes", "").split()) != len(trees) or len(trees) > TREES:
        raise ValueError(f"it has {len(trees)} trees where it says {len(said.get('tree_sizes', '').split())}")
    blocks = [f"Tree={number}\n{_tree(tree, columns)}\n\n" for number, tree in enumerate(trees)]
    lines = {
        "version": "v4",
        "num_class": 1,
        "num_tree_per_iteration": 1,
        "label_index": 0,
        "max_feature_idx": columns - 1,
        "objective": objective,
        "feature_names": " ".join(f"Column_{i}" for i in range(columns)),
        "feature_infos": " ".join(["none"] * columns),
        "tree_sizes": " ".join(str(len(block)) for block in blocks),
    }
    written = "tree\n" + "".join(f"{key}={value}\n" for key, value in lines.items()) + "\n" + "".join(blocks) + "end of trees\n"
    return lightgbm.Booster(model_str=written + "\npandas_categorical:null\n")


def _said(block: str) -> dict[str, str]:
    return {key: value for key, sign, value in (line.partition("=") for line in block.splitlines()) if sign}


def _tree(block: str, columns: int) -> str:
    said = _said(block)
    leaves = _wholes(said, "num_leaves", 1)[0]
    if not 1 <= leaves <= LEAVES or said.get("num_cat") != "0" or said.get("is_linear", "0") != "0":
        raise ValueError(f"a tree has {leaves} leaves, or is of a kind that is not written here")
    value, shrinkage = _floats(said, "leaf_value", leaves), _floats(said, "shrinkage", 1)
    lines = [f"num_leaves={leaves}", "num_cat=0"]
    if leaves > 1:
        feature, decision = _wholes(said, "split_feature", leaves - 1), _wholes(said, "decision_type", leaves - 1)
        left, right = _wholes(said, "left_child", leaves - 1), _wholes(said, "right_child", leaves - 1)
        if feature.min() < 0 or feature.max() >= columns:
            raise ValueError(f"a tree asks column {feature.max()} of {columns}")
        if not np.isin(decision, (0, 2, 4, 6, 8, 10)).all():
            raise ValueError("a tree decides by something else than a threshold")
        both, parent = np.concatenate([left, right]), np.tile(np.arange(leaves - 1), 2)
        if not np.array_equal(np.sort(both), [*range(-leaves, 0), *range(1, leaves - 1)]) or (both <= parent)[both >= 0].any():
            raise ValueError("a tree's branches do not lead to each leaf once")
        lines += [f"split_feature={said['split_feature']}", f"threshold={_floats(said, 'threshold', leaves - 1, infinite=True)}"]
        lines += [f"{key}={said[key]}" for key in ("decision_type", "left_child", "right_child")]
        for key, n in (("leaf_count", leaves), ("internal_count", leaves - 1)):  # what a column adds is a mean over them
            if _wholes(said, key, n).min() < 1:
                raise ValueError(f"a tree's {key} are not above 0")
            lines.append(f"{key}={said[key]}")
    return "\n".join([*lines, f"leaf_value={value}", "is_linear=0", f"shrinkage={shrinkage}", ""])


def _wholes(said: dict[str, str], key: str, n: int) -> NDArray[np.int64]:
    words = said.get(key, "").split(" ")
    if len(words) != n or not all(map(_WHOLE.match, words)):
        raise ValueError(f"a tree's {key} are not {n} whole numbers")
    return np.array(words, np.int64)


def _floats(said: dict[str, str], key: str, n: int, infinite: bool = False) -> str:
    words = said.get(key, "").split(" ")  # a threshold of infinity tells what is there from what is not
    if len(words) != n or not all((infinite and word in ("inf", "-inf")) or _FLOAT.match(word) for word in words):
        raise ValueError(f"a tree's {key} are not {n} numbers")
    if not infinite and not np.isfinite(np.array(words, np.float64)).all():
        raise ValueError(f"a tree's {key} are not finite")
    return said[key]
