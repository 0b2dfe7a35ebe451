"""What plugins may use is found in four places, by `dir` and `pydoc` too; and they use nothing else."""

from __future__ import annotations

import ast
import importlib
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

from kgrec_core.late import late

ROOT = Path(__file__).parents[1]
PUBLIC = ("kgrec_core", "kgrec_core.domain", "kgrec_core.parts", "kgrec_core.testing")
INSIDE = {
    "budget.py",
    "catalogue.py",
    "console.py",
    "defaults.py",
    "drift.py",
    "fidelity.py",
    "fusions.py",
    "ml100k.py",
    "prior.py",
    "publishes.py",
    "resume.py",
    "shrink.py",
    "small_sets.py",
    "tower.py",
    "trainer.py",
    "trunk.py",
    "user_profile.py",
}  # benchmarks that build a run or a chain by hand and look into it
SOURCES = [
    *ROOT.glob("plugins/*/kgrec_*/**/*.py"),
    *(p for p in ROOT.glob("examples/**/*.py") if not (p.parent.name == "benchmarks" and p.name in INSIDE)),
]


@pytest.mark.parametrize("module", PUBLIC)
def test_every_name_exists_and_is_shown(module):
    found = importlib.import_module(module)
    assert len(found.__all__) == len(set(found.__all__)) and set(found.__all__) <= set(dir(found))
    page = pydoc.plain(pydoc.render_doc(found))
    for name in found.__all__:
        assert getattr(found, name) is not None and name in page


@pytest.mark.parametrize("module", PUBLIC[:3])
def test_unknown_names(module):
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'absent'"):
        importlib.import_module(module).absent  # noqa: B018


def test_the_built_in_parts_are_among_the_names():
    from kgrec_core import parts
    from kgrec_core.recipe import builtin

    records = [*builtin.kgrec_data(), *builtin.kgrec_encoder(), *builtin.kgrec_head(), *builtin.kgrec_retrieval()]
    records += [*builtin.SOURCES, *builtin.OBJECTIVES]
    assert {record.factory.partition(":")[2] for record in records} <= set(parts.__all__)


def test_nothing_is_imported_before_it_is_used():
    code = f"import sys, {', '.join(PUBLIC[:3])}\nprint([m for m in ('torch', 'polars', 'numpy', 'click', 'pluggy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_a_name_may_be_exported_under_another():
    get, _, names = late("kgrec_core.parts", {"words": "pieces=units", "errors": "KgrecError"}, ("OWN",))
    assert names == ["KgrecError", "OWN", "pieces"] and get("pieces")("a b") == ["a", "b"]


def imported(path: Path) -> set[str]:
    """The modules of the core that a file imports from."""
    tree = ast.walk(ast.parse(path.read_text("utf-8")))
    return {node.module for node in tree if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kgrec_core")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_plugins_import_from_public_places_only(path):
    assert imported(path) <= set(PUBLIC)
