"""A run folder from a stranger, whose checksums fit: what leaves it, or would take the process down, is one line that names it."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from kgrec_core import stored
from kgrec_core.errors import KgrecError
from kgrec_core.retrieval import opening
from kgrec_core.retrieval.index import filled, library
from kgrec_core.retrieval.sparse import flat, unflat
from kgrec_core.retrieval.trees import booster
from kgrec_core.run.folder import sealed, verified
from kgrec_core.run.log import Live
from kgrec_core.run.stored_graph import load_graph, save_graph
from kgrec_core.testing import checkerboard


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    graph, _ = checkerboard()
    save_graph(graph, tmp_path / "run" / "knowledge")
    (tmp_path / "secret.txt").write_text("secret")
    sealed(tmp_path / "run", {})
    return tmp_path / "run"


def reseal(folder: Path, **more: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    names = [p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"]
    manifest["files"] = {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in names} | more
    (folder / "manifest.json").write_text(json.dumps(manifest))


def link(folder: Path) -> None:
    (folder / "knowledge" / "graph.json").unlink()
    (folder / "knowledge" / "graph.json").symlink_to(folder.parent / "secret.txt")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "knowledge" / "pipe")


@pytest.mark.parametrize(
    ("damage", "listed", "told"),
    [
        (link, {}, "'knowledge/graph.json' is a link"),
        (pipe, {}, "'knowledge/pipe' is a special file"),
        (lambda f: None, {"../secret.txt": "x"}, "'../secret.txt' leads out of the folder"),
        (lambda f: None, {"/etc/passwd": "x"}, "'/etc/passwd' leads out of the folder"),
        (lambda f: None, {"knowledge\\x": "x"}, "is no name of a file"),
    ],
)
def test_a_run_holds_its_own_files_only(folder, damage, listed, told):
    damage(folder)
    reseal(folder, **listed)
    with pytest.raises(KgrecError) as refused:
        verified(folder)
    assert told in str(refused.value)


@pytest.mark.parametrize("manifest", ["{}", "[]", '{"format": "x", "files": {}}', '{"format": 2, "files": 3}', "[" * 100_000, "\0"])
def test_a_manifest_is_a_manifest(folder, manifest):
    (folder / "manifest.json").write_text(manifest)
    with pytest.raises(KgrecError, match=r"manifest\.json is missing or damaged"):
        verified(folder)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("graph.json"), Path.mkdir])
def test_a_manifest_that_is_no_file_is_not_waited_for(folder, make):
    (folder / "manifest.json").unlink()
    make(folder / "manifest.json")
    with pytest.raises(KgrecError, match=r"manifest\.json is missing or damaged"):
        verified(folder)


def test_a_log_of_edits_that_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "run.live.sqlite")
    with pytest.raises(KgrecError, match="is no file, so it holds no edits"):
        Live(tmp_path / "run", "x").start()


def rewrite(name: str, change) -> callable:
    def damage(knowledge: Path) -> None:
        change(pl.read_parquet(knowledge / name)).write_parquet(knowledge / name)

    return damage


def index(change) -> callable:
    def damage(knowledge: Path) -> None:
        told = json.loads((knowledge / "graph.json").read_text())
        change(told)
        (knowledge / "graph.json").write_text(json.dumps(told))

    return damage


def cut(name: str, share: float) -> callable:
    def damage(knowledge: Path) -> None:
        whole = (knowledge / name).read_bytes()
        (knowledge / name).write_bytes(whole[: int(len(whole) * share)])

    return damage


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (index(lambda g: g["entities"].update(item="../../secret.txt")), "leads out of the folder"),
        (index(lambda g: g["entities"].update(item=7)), "is no name of a file"),
        (index(lambda g: g.pop("relations")), "graph.json is damaged"),
        (index(lambda g: g["relations"][0].update(relation=["user"])), "is damaged"),
        (cut("relations-0.parquet", 0.5), "relations-0.parquet is damaged"),
        (cut("entities-0.parquet", 0.0), "entities-0.parquet is damaged"),
        (cut("graph.json", 0.5), "graph.json is damaged"),
        (rewrite("entities-0.parquet", lambda t: t.drop("id")), "its column id is missing"),
        (rewrite("entities-0.parquet", lambda t: pl.concat([t, t])), "ids must be unique"),
        (rewrite("relations-0.parquet", lambda t: t.with_columns(target=pl.lit(10**6, pl.UInt32))), "is not among the"),
        (rewrite("relations-0.parquet", lambda t: t.with_columns(pl.col("source").cast(pl.Int64))), "its column source is Int64"),
    ],
)
def test_a_graph_is_looked_at_before_it_is_read(folder, damage, told):
    damage(folder / "knowledge")
    with pytest.raises(KgrecError) as refused:
        load_graph(folder / "knowledge")
    assert told in str(refused.value)


def test_a_graph_comes_back_as_it_was(folder):
    graph, again = checkerboard()[0], load_graph(folder / "knowledge")
    assert all(again.entities[kind].equals(table) for kind, table in graph.entities.items())
    assert all(again.relations[relation].equals(table) for relation, table in graph.relations.items())


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_all_files_of_a_run_have_the_mode_of_a_new_file(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        (tmp_path / "run").mkdir()
        save_file({"a": np.zeros(3)}, tmp_path / "run" / "x.safetensors")
        (tmp_path / "run" / "x.json").write_text("{}")
        sealed(tmp_path / "run", {})
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "run").iterdir()} == {mode}


# --- sparse matrices, trees and indexes --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change",
    [
        {"indices": np.array([0, 9], np.int32)},
        {"indices": np.array([0, -1], np.int32)},
        {"indptr": np.array([0, 1, 99], np.int32)},
        {"indptr": np.array([0, 2], np.int32)},
        {"indptr": np.array([0, 2, 1], np.int32)},
        {"data": np.array([1, np.nan], np.float32)},
        {"data": np.array([1], np.float32)},
        {"indices": np.array([0.0, 1.0])},
        {"shape": np.array([2, 1])},
        {"shape": np.array([2**40, 3])},
    ],
)
def test_a_matrix_stays_within_its_shape(change):
    import scipy.sparse as sp

    whole = flat({"m": sp.csr_matrix(([1.0, 2.0], [0, 2], [0, 1, 2]), shape=(2, 3), dtype=np.float32)})
    assert unflat(whole, "m").toarray().tolist() == [[1, 0, 0], [0, 0, 2]]
    with pytest.raises(ValueError):
        unflat(whole | {f"m.{part}": values for part, values in change.items()}, "m")


@pytest.fixture(scope="module")
def model() -> tuple[lightgbm.Booster, np.ndarray]:
    draw = np.random.default_rng(0)
    x = draw.random((600, 4))
    x[::7, 2] = np.nan
    data = lightgbm.Dataset(x, (x[:, 0] + x[:, 3] > 0.9).astype(int), group=[10] * 60, params={"verbose": -1})
    settings = {"objective": "rank_xendcg", "num_leaves": 7, "min_data_in_leaf": 5, "verbose": -1, "metric": "none", "num_threads": 1}
    return lightgbm.train(settings, data, 8), x


def test_trees_come_back_to_the_bit(model):
    trees, x = model
    again = booster(trees.model_to_string(), 4)
    for n in (1, 8):
        assert (again.predict(x, num_iteration=n, num_threads=1) == trees.predict(x, num_iteration=n, num_threads=1)).all()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("end of trees", ""),
        ("Tree=7", ""),
        ("objective=rank_xendcg", "objective=binary"),
        ("max_feature_idx=3", "max_feature_idx=9"),
        ("num_leaves=7", "num_leaves=8"),
        ("num_leaves=7", "num_leaves=100000000"),
        ("num_cat=0", "num_cat=1"),
        ("split_feature=", "split_feature=7 "),
        ("left_child=", "left_child=3 "),
        ("leaf_value=", "leaf_value=nan "),
        ("left_child=1", "left_child=0"),
        ("decision_type=", "decision_type=1 "),
    ],
)
def test_what_is_no_tree_is_refused_and_ends_no_process(model, old, new):
    whole = model[0].model_to_string()
    assert old in whole
    broken = whole.replace(old, new, 1)
    if old == "split_feature=":  # the same number of words, one of them out of range
        broken = whole.replace(f"{old}{whole.split(old)[1].split(chr(10))[0].split(' ')[0]}", f"{old}7", 1)
    with pytest.raises(ValueError):
        booster(broken, 4)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
def test_a_cut_model_is_refused(model, share):
    whole = model[0].model_to_string().partition("end of trees")[0]
    with pytest.raises(ValueError):
        booster(whole[: int(len(whole) * share)], 4)


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).random((40, 8), np.float32)


@pytest.mark.parametrize("at", [4, 8, 16, 32, 33, 37])
def test_the_header_of_a_flat_index_is_what_it_must_be(tmp_path, vectors, at):
    file = tmp_path / "index.faiss"
    library().write_index(filled("Flat", vectors), str(file))
    assert opening.opened(file, 40).ntotal == 40
    whole = bytearray(file.read_bytes())
    struct.pack_into("<b", whole, at, 77)
    file.write_bytes(whole)
    with pytest.raises(ValueError, match="is no flat index of 40 vectors"):
        opening.opened(file, 40)
    file.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="is no flat index"):
        opening.opened(file, 40)


def test_another_index_is_opened_by_a_process_first(tmp_path, vectors):
    file = tmp_path / "index.faiss"
    library().write_index(filled("IVF2,Flat", vectors), str(file))
    assert opening.opened(file, 40).ntotal == 40
    with pytest.raises(ValueError, match="it holds 40 vectors of width 8, not 41"):
        opening.opened(file, 41)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"index\.faiss is damaged"):
        opening.opened(file, 40)


def test_numbers_and_rows(tmp_path):
    save_file({"a": np.zeros(3)}, tmp_path / "x.safetensors")
    for bad in (np.zeros((2, 2)), np.array([np.inf]), np.array([1]), None):
        with pytest.raises(ValueError):
            stored.numbers(bad, (1,))
    for bad in (np.array([0, 5]), np.array([-1]), np.array([1, 1]), np.array([0.0]), np.zeros((1, 1), np.int64)):
        with pytest.raises(ValueError):
            stored.rows(bad, 5)
