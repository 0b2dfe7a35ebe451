"""Every kind of bad input through the real command: exit code 2, one line on stderr that names the fault, no traceback.

Each case is a process of its own, whose exit code and bare stdout and stderr are looked at.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import warm

ROOT = Path(__file__).parents[2]


class Case(NamedTuple):
    """What is changed, as (file, old, new) with old = None for a whole file and new = None to remove it; and what is told."""

    told: str
    changes: tuple[tuple[str, str | None, str | bytes | None], ...] = ()
    settings: tuple[str, ...] = ()
    words: tuple[str, ...] = ("fit", "--recipe", "shop.toml", "--run", "run", "--json")


ROW = "customer,sku,date\n"
CASES = {
    "missing file": Case("no file in", (("products.csv", None, None),)),
    "missing column": Case(
        "\"skuu\" is no column of products.csv; did you mean 'sku'?", settings=("data.entities.item.id=skuu",)
    ),
    "duplicate ids": Case('products.csv row 3: sku "r0" stands in row 2 too', (("products.csv", "r1,", "r0,"),)),
    "null ids": Case("products.csv row 3: sku is empty", (("products.csv", "r1,", ","),)),
    "unknown entity": Case(
        'orders.csv row 2: sku "zz" is no item; products.csv has 16 ids; fix the rows or set data.relations.buys.target.unknown = "add" or "drop"',
        (
            ("orders.csv", ROW, ROW + "ruser0,zz,2024-01-03\n"),
            ("shop.toml", 'unknown = "add"', 'unknown = "reject"\n[data.entities.user]\nfile = "users.csv"\nid = "id"'),
            ("users.csv", None, "id\n" + "".join(f"{'rb'[u % 2]}user{u}\n" for u in range(12))),
        ),
    ),
    "unknown kind": Case("no kind of entity is called 'user'", settings=("data.relations.buys.unknown=reject",)),
    "no time": Case('orders.csv row 2: date "soon" is no time', (("orders.csv", ROW, ROW + "ruser0,r1,soon\n"),)),
    "mixed time zones": Case(
        "one with a time zone and one without", (("orders.csv", ROW, ROW + "ruser0,r1,2024-01-03T10:00:00+02:00\n"),)
    ),
    "empty test": Case("the test part of task buys is empty", settings=("split.test=2030-01-01", "split.validation=2024-02-20")),
    "empty training": Case("the train part of task buys is empty", settings=("split.validation=900d",)),
    "validation after test": Case("must be earlier than split.test", settings=("split.validation=2024-03-03",)),
    "NaN weight": Case(
        'orders.csv row 2: weight "nan" is no weight',
        (("orders.csv", None, "customer,sku,date,weight\nruser0,r1,2024-01-03,nan\n"),),
        ("data.relations.buys.weight=weight",),
    ),
    "0 rows": Case("orders.csv: the table has no rows", (("orders.csv", None, ROW),)),
    "not UTF-8": Case("is not UTF-8", (("products.csv", None, b"sku,name,colour,price\nr0,caf\xe9,red,1\n"),)),
    "no recipe": Case("recipe absent.toml", words=("fit", "--recipe", "absent.toml", "--run", "run")),
    "recipe no TOML": Case("recipe shop.toml is no TOML", (("shop.toml", None, "[data\n"),)),
    "section": Case("no section of a recipe is called 'trian'; did you mean 'train'?", settings=("trian.epochs=1",)),
    "key": Case("did you mean 'epochs'?", settings=("train.epoch=1",)),
    "component": Case("no encoder is called 'txet'; did you mean 'text'?", settings=("encoder.use=txet",)),
    "type": Case("train.epochs", settings=("train.epochs=many",)),
    "choice": Case("train.optimizer", settings=("train.optimizer=adam",)),
    "model": Case("encoder.items.model = 'nobody/absent': there is no such folder", settings=("encoder.items.model=nobody/absent",)),
    "model's package": Case("package absent_model is not installed", settings=("encoder.items.model=package:absent_model",)),
    "no run folder": Case("orders.csv exists and is no run folder", words=("fit", "--recipe", "shop.toml", "--run", "orders.csv", "--json")),
    "foreign folder": Case(
        "other exists and is no run folder", (("other/mine.txt", None, "x"),), words=("fit", "--recipe", "shop.toml", "--run", "other", "--json")
    ),
    "no run": Case("there is no run folder absent", words=("evaluate", "--run", "absent")),
    "newer run": Case(
        "was written by a newer kgrec", (("new/manifest.json", None, '{"format": 9, "files": {}}'),), words=("evaluate", "--run", "new")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_exit_code_2(shop, cache, tmp_path, name):
    case, folder = CASES[name], tmp_path / "shop"
    shutil.copytree(shop, folder)
    for file, old, new in case.changes:
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        if new is None:
            path.unlink()
        elif old is None:
            path.write_bytes(new if isinstance(new, bytes) else new.encode())
        else:
            assert old in path.read_text()
            path.write_text(path.read_text().replace(old, new, 1))
    clean = {k: v for k, v in os.environ.items() if not k.startswith("KGREC_")}
    path = os.pathsep.join([str(ROOT / "tests" / "plugins" / "good"), str(ROOT)])
    environment = {**clean, "PYTHONPATH": path, "KGREC_PLUGINS": "good", "KGREC_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    done = warm.run(["-m", "kgrec_core", "shop", *case.words, *case.settings], cwd=folder, env=environment)
    assert case.told in done.stderr
    assert (done.returncode, done.stdout, done.stderr.count("\n"), done.stderr[:7]) == (2, "", 1, "error: "), done.stderr
