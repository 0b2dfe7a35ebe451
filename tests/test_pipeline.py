"""A fit that is disturbed: two at once, killed, a full disk, a rename that fails; and runs with a part from a file."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import warm
from safetensors.numpy import load_file

from kgrec_core.errors import KgrecError
from kgrec_core.evaluation import variants
from kgrec_core.graph import candidates
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.retrieval.cooccurrence import Cooccurrence
from kgrec_core.run import folder as run_folder
from kgrec_core.run import stored_graph
from kgrec_core.run.run import open_run
from kgrec_core.split import Split, split

ROOT = Path(__file__).parents[1]
KILLED = """
import os, signal, sys
from pathlib import Path
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve

def progress(what, done, total):
    if (what, done) == ("fine-tuning", 2):  # after the first checkpoint, before the second
        os.kill(os.getpid(), signal.SIGKILL)

fit(resolve(Path(sys.argv[1])), Path(sys.argv[2]), progress=progress)
"""


@pytest.fixture
def colours(shop: Path, tmp_path: Path) -> Path:
    """The recipe of the shop with an encoder from a file, which costs nothing."""
    folder = tmp_path / "colours"
    shutil.copytree(shop, folder)
    shutil.copy(ROOT / "tests" / "plugins" / "good" / "good_plugin" / "colour.py", folder / "my_colour.py")
    recipe = folder / "shop.toml"
    recipe.write_text(re.sub('use = "text"\nmodel = ".+"', 'use = "my_colour:Colour"', recipe.read_text()))
    return recipe


def whole(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): run_folder.checksum(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_killed_fit_goes_on_and_ends_with_the_same_numbers(shop, published, tmp_path):
    folder = tmp_path / "run"
    done = warm.run(["-c", KILLED, shop / "shop.toml", folder])
    assert done.returncode == -signal.SIGKILL and not folder.exists(), done.stderr
    steps = []
    run = fit(resolve(shop / "shop.toml"), folder, progress=lambda what, n, total: steps.append(n) if what == "fine-tuning" and n else None)
    undisturbed = open_run(published)
    assert steps == [2]
    assert run.metrics["tasks"] == undisturbed.metrics["tasks"]
    same = [[{k: v for k, v in record.items() if k != "seconds"} for record in r.history] for r in (run, undisturbed)]
    assert same[0] == same[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_what_is_published_is_built_on_all_known_edges(colours, tmp_path):
    """Of the test month, too: its purchases are known to a channel that learns from edges and is saved with what it learned."""
    together = {"retrieval": {"buys": {"with_it": {"use": "cooccurrence"}}}}
    run = fit(resolve(colours, together), tmp_path / "run")
    graph, task = run.graph, run.tasks[0]
    saved = load_file(tmp_path / "run" / "retrieval" / "buys" / "with_it" / "channel.safetensors")["similar_.data"]
    last, before = Cooccurrence(), Cooccurrence()
    last.build(graph, task, candidates(graph, task), None)
    earlier = graph.at(int(datetime(2024, 3, 1, tzinfo=UTC).timestamp() * 1e6))
    before.build(earlier, task, candidates(earlier, task), None)
    np.testing.assert_array_equal(saved, last.similar_.data)
    assert len(saved) != len(before.similar_.data)


def test_without_repeats_nothing_known_is_answered_or_counted(colours, tmp_path):
    """What a shopper has is in no list and out of the ranking that the figures are of."""
    run = fit(resolve(colours, ["data.tasks.buys.repeats=false", "retrieval.buys.pool=16"]), tmp_path / "run")
    graph, relation = run.graph, run.tasks[0].relation
    for user in ("ruser0", "buser1", "ruser4"):
        has = graph.gather("item", graph.adjacent(relation, graph.rows("user", [user])).rows, "id")["id"].to_list()
        given = [answer.id for answer in run.answer([user], k=16)[0]]
        assert has and given and not set(has) & set(given) and len(given) == 16 - len(set(has))
    views = split(run.recipe.data(Registry.discover()).load(), run.recipe.section("split", Split))
    case = variants.whole(views["test"].queries["buys"], run.tasks[0])
    ends = zip(case.queries.nodes.rows, case.queries.nodes.before, strict=True)
    known = [set(views["test"].graph.adjacent(relation, [row], [time]).rows.tolist()) for row, time in ends]
    assert [set(case.exclude.take(np.array([n])).rows.tolist()) for n in range(len(known))] == known and any(known)


def test_two_fits_into_one_folder(colours, tmp_path):
    with run_folder.workspace(tmp_path / "run"), pytest.raises(KgrecError, match=rf"another fit is writing {tmp_path}/run; wait for it"):
        fit(resolve(colours), tmp_path / "run")


def test_a_full_disk_leaves_the_old_run_whole_and_the_same_fit_goes_on(colours, copy, monkeypatch):
    before = whole(copy)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(stored_graph, "save_graph", full)
        with pytest.raises(KgrecError, match="the disk is full; free space, then the same fit goes on") as caught:
            fit(resolve(colours), copy)
    assert "\n" not in str(caught.value) and whole(copy) == before and open_run(copy).answer(["ruser0"], k=1)
    fit(resolve(colours), copy)
    assert json.loads((copy / "manifest.json").read_text())["foreign"]
    assert sorted(p.name for p in copy.parent.iterdir() if p != colours.parent) == ["run"]


@pytest.mark.parametrize("renames", [0, 1])
def test_a_publish_cut_short_leaves_the_old_run_whole(copy, monkeypatch, renames):
    """Cut before the first rename, and between the two, where only run.old holds the run."""
    before, new, real, count = whole(copy), copy.parent / "new", Path.rename, iter(range(9))
    shutil.copytree(copy, new)

    def cut(self, target):
        if next(count) == renames:
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut)
        with pytest.raises(KeyboardInterrupt):
            run_folder.publish(new, copy, {"tasks": []})
    assert copy.exists() == (renames == 0)
    assert open_run(copy).answer(["ruser0"], k=1) and whole(copy) == before


def test_a_part_from_a_file_needs_allow_and_travels_with_the_run(colours, tmp_path, monkeypatch):
    fit(resolve(colours), tmp_path / "run")
    shutil.rmtree(colours.parent)  # as if the run had been copied to another machine
    folder = shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    with pytest.raises(KgrecError, match=r"uses code from a file: my_colour:Colour; if you trust it, open with allow="):
        open_run(folder)
    monkeypatch.chdir(tmp_path)
    assert open_run(folder, allow=["my_colour:Colour"]).answer(["ruser0"], k=2)
    (Path(folder) / "my_colour.py").write_text("raise SystemExit")
    with pytest.raises(KgrecError, match=r"is damaged: my_colour.py is not what fit wrote"):
        open_run(folder, allow=["my_colour:Colour"])


def test_a_manifest_that_hides_foreign_code_does_not_get_it_run(colours, tmp_path):
    fit(resolve(colours), tmp_path / "run")
    file = tmp_path / "run" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"foreign": {}}))
    with pytest.raises(KgrecError, match="uses code from a file"):
        open_run(tmp_path / "run")
