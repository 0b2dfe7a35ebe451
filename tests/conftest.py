"""A checkerboard shop as CSV files, and one run of it: red shoppers buy red things, blue ones blue, so the right answer is known."""

from __future__ import annotations

import os
import random
import shutil
from functools import partial
from pathlib import Path

import once
import pytest
from hypothesis import settings

os.environ.update(OMP_NUM_THREADS="1", GOMP_SPINCOUNT="0", TOKENIZERS_PARALLELISM="false")
settings.register_profile("unhurried", deadline=None)  # how long an example takes hangs on what else the machine does
settings.load_profile("unhurried")

LONG = (  # what takes longest: one of these left to the end would keep the other workers waiting
    "plugins/support/tests/test_commands.py",
    "plugins/ecommerce/tests/test_commands.py",
    "plugins/finance/tests/test_commands.py",
    "tests/test_processes.py",
    "tests/test_fuzz.py",
    "tests/run/test_edits.py",
    "tests/test_classes.py",
    "tests/test_classification.py",
    "tests/test_wheels.py",
    "tests/encoder/test_text.py",
    "tests/calibration/test_calibration.py",
)
THINGS = ("mug", "lamp", "bowl", "chair", "clock", "spoon", "basket", "candle")
RECIPE = """
[data]
use = "tables"
[data.entities.item]
file = "products.csv"
id = "sku"
text = ["name"]
attributes = ["price"]
[data.entities.item.links.colour]
column = "colour"
[data.relations.buys]
file = "orders.csv"
source = { kind = "user", column = "customer" }
target = { kind = "item", column = "sku" }
time = "date"
unknown = "add"
[data.tasks.buys]
relation = "buys"
repeats = true
[split]
test = "2024-03-01"
validation = "10d"
[encoder]
use = "history"
[encoder.items]
use = "text"
model = "MODEL"
[head.buys]
use = "rank"
[retrieval.buys]
use = "merge"
[retrieval.buys.semantic]
use = "faiss"
[retrieval.buys.repeat]
use = "repeat"
[retrieval.buys.popular]
use = "popular"
[fit]
publish = "chain"
[train]
steps = 2
batch = 4
validations = 2
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers take whole files in this order (--no-loadscope-reorder: not those with the most tests first)."""
    place = {file: n for n, file in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(LONG)))


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> str:
    return once.minilm(tmp_path_factory)


@pytest.fixture(scope="session")
def shop(minilm: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with products.csv, orders.csv, next.csv (labelled rows of a later month) and shop.toml; read only."""
    return once.once(tmp_path_factory, "shop", partial(_write, minilm))


def _write(model: str, folder: Path) -> None:
    draw = random.Random(0)
    items = [(f"{colour[0]}{i}", f"{colour} {thing}", colour, i + 1) for colour in ("red", "blue") for i, thing in enumerate(THINGS)]
    lines = "".join(f"{sku},{name},{colour},{price}\n" for sku, name, colour, price in items)
    (folder / "products.csv").write_text("sku,name,colour,price\n" + lines)
    days = [f"2024-01-{d:02}" for d in (3, 12, 28)] + [f"2024-02-{d:02}" for d in (6, 14, 22, 26)] + ["2024-03-02", "2024-03-04"]
    orders = [(f"{'rb'[u % 2]}user{u}", f"{'rb'[u % 2]}{draw.randrange(8)}", day) for u in range(12) for day in days]
    (folder / "orders.csv").write_text("customer,sku,date\n" + "".join(f"{u},{i},{d}\n" for u, i, d in orders))
    later = [("ruser0", "r1"), ("ruser0", "r2"), ("buser1", "b3"), ("nobody", "b3"), ("buser1", "zz")]
    (folder / "next.csv").write_text("customer,sku,date\n" + "".join(f"{u},{i},2024-04-0{n + 1}\n" for n, (u, i) in enumerate(later)))
    (folder / "shop.toml").write_text(RECIPE.replace("MODEL", model))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ["KGREC_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    return Path(os.environ["KGREC_CACHE"])


@pytest.fixture(scope="session")
def published(shop: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of the shop; tests that edit or damage a run take `copy`."""
    from kgrec_core.pipeline import fit
    from kgrec_core.recipe.recipe import resolve

    return once.once(tmp_path_factory, "runs", lambda folder: fit(resolve(shop / "shop.toml"), folder / "shop")) / "shop"


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "run"))
