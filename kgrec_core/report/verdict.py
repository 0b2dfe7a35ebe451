"""What a fit came to, in sentences: what was published, what it beats and by how much, what brought nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BROUGHT = {"before": "fine-tuning", "without_knowledge": "knowledge", "without_language_model": "the language model"}
BLIND = "the chain without the graph"
SLICES = {"strangers": "who has met nothing", "short": "who has met little"}


def verdict(name: str, task: Mapping[str, Any]) -> list[str]:
    """Two sentences on a task of metrics.json; none of a run that had nothing to choose by."""
    of = task.get("referee")
    if of is None:
        return []
    metric, contenders, test = of["metric"], of["contenders"], task["test"]
    found = contenders[of["published"]].get("test") if "judged" in of else test["published"][metric]
    said = f"Published for {name}: {of['published']}"
    said += "".join(f", for {SLICES[which]} {other}" for which, other in of.get("slices", {}).items() if which in SLICES)
    said += f"; {_shown(metric)} {figure(found)} on {found['n']:,} test queries" if found else ""
    gain = contenders[of["simple"]].get("gain")
    if "judged" in of:
        by = "as the recipe has it: to few" if "few" in of else f"by the {of['judged']:,}"
        said += f", {by} held-out questions' answers another known one leads, and without one an answer is found by its own words alone."
    elif "few" in of:
        said += f", as the recipe has it: fewer than {of['few']} select queries say little."
    elif of["published"] == BLIND:
        said += ", as it does not do clearly better with it."
    elif of["simple"] == of["published"]:
        said += ", the best simple thing in it, as nothing that learned more does clearly better."
    elif gain:
        said += f", {figure(gain, signed=True)} over {of['simple']}, the best simple thing on the select queries."
    if "further" in of:
        asked = contenders[of["published"]]["select"]["n"]
        said += f" Chosen by {asked:,} select queries and up to {of['further']:,} further held-out ones."
    if by := of.get("slices", {}).get("described"):
        said += f" A text without a history is answered by {by}, which nothing here measures."
    return [said, *_brought(test["gain"], metric, of)]


def _brought(gains: Mapping[str, Any], metric: str, of: Mapping[str, Any]) -> list[str]:
    """What the whole chain gains by its expensive parts."""
    kinds: dict[str, list[str]] = {"gains": [], "brought nothing": []}
    for other, what in BROUGHT.items():
        gain = gains.get(f"after-{other}", {}).get(metric)
        if gain and gain["n"]:
            kinds["gains" if gain["low"] > 0 else "brought nothing"].append(f"{what} {figure(gain, signed=True)}")
    said = [f"{', '.join(found)} {'pays' if kind == 'gains' else 'brought nothing that shows'}" for kind, found in kinds.items() if found]
    if of["system"] == "before" and "after-before" in gains:
        said.append("the model is published as it was pretrained")
    return ["Of the whole chain on the test queries: " + "; ".join(said) + "."] if said else []


def figure(value: Mapping[str, float], signed: bool = False) -> str:
    """A mean with its interval."""
    sign = "+" if signed else ""
    return f"{value['mean']:{sign}.4f} [{value['low']:{sign}.4f}, {value['high']:{sign}.4f}]"


def short(task: Mapping[str, Any], most: int = 6) -> list[list[str]]:
    """Rows of a short table: what is published, and who else could have been, the best on the select queries first."""
    of = task.get("referee")
    if of is None:
        return []
    rows = [
        ["", "select", "test", "published gains"],
        ["published", "", figure(task["test"]["published"][of["metric"]]) if "judged" not in of else "", ""],
    ]
    for name, found in list(of["contenders"].items())[:most]:
        cells = (found.get("select"), found.get("test"), found.get("gain"))
        rows.append([name, *("" if cell is None else figure(cell, signed=i == 2) for i, cell in enumerate(cells))])
    return rows


def apart(task: Mapping[str, Any]) -> str:
    """Why a method of the floor has one figure among those who could have been published and another among all systems; "" where none has."""
    of = task.get("referee")
    if of is None:
        return ""
    floor = {f"floor: {name}": values.get(of["metric"]) for name, values in task["test"].get("floor", {}).items()}
    heard = {name: found["test"] for name, found in of["contenders"].items() if found.get("test") and floor.get(name)}
    if all(figure(found) == figure(floor[name]) for name, found in heard.items()):
        return ""
    asked = max(found["n"] for found in heard.values())
    said = f" (of {asked:,} queries drawn)" if any(found["n"] < floor[name]["n"] for name, found in heard.items()) else ""
    return (
        f"A method of the floor has two figures: among those who could have been published{said} as it would answer, equal scores in the order of "
        "popularity; among all systems equal scores share their mean rank."
    )


def _shown(metric: str) -> str:
    return {"ndcg@10": "NDCG@10"}.get(metric, metric)
