"""`kgrec graph`: build, look, find paths, export and read again; what is wrong is told in one line, and nothing is half-written."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from click.testing import CliRunner

from kgrec_core import Graph, KgrecError, Relation
from kgrec_core.cli.main import main
from kgrec_core.graph import Ragged
from kgrec_core.jobs import graph as jobs
from kgrec_core.knowledge.imported import Triples
from kgrec_core.knowledge.paths import find, neighbours, paths
from kgrec_core.retrieval.ties import Ends

BUYS = Relation("user", "buys", "item")
NAMES = {"knowledge": {"names": {"use": "attributes"}}}


def kgrec(*words: object) -> str:
    done = CliRunner().invoke(main, ["graph", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def built(shop, tmp_path_factory):
    out = tmp_path_factory.mktemp("graphs") / "shop"
    jobs.build_graph([shop / "shop.toml", NAMES], out)
    return out


def test_build_tells_coverage_and_ambiguity(shop, built, tmp_path):
    report = json.loads(kgrec("build", "--recipe", shop / "shop.toml", "--out", tmp_path / "g", "--json", "knowledge.names.use=attributes"))
    colour = report["sources"]["names"]["relations"]["item-has_colour->colour"]
    assert (colour["edges"], colour["coverage"], colour["targets"], colour["per_source"]) == (16, 1.0, 2, 1.0)
    assert report["relations"]["item-has_type->type"]["targets"] == 8
    assert json.loads((built / "report.json").read_text())["behaviour"] == [["user", "buys", "item"]]
    assert "has_colour" in kgrec("stats", built) and "graph folder" in kgrec(
        "build", "--recipe", shop / "shop.toml", "--out", tmp_path / "g"
    )


def test_show_and_paths_over_a_graph_and_a_run(built, published):
    assert "-has_colour->  colour:red" in kgrec("show", built, "r1")
    assert "item-colour->colour" in kgrec("stats", published)
    told = json.loads(kgrec("paths", built, "r1", "item:r2", "--hops", 2, "--json"))
    found = told["paths"]
    assert {step["relation"] for path in found for step in path["steps"]} == {"item-colour->colour", "item-has_colour->colour"}
    assert found[0]["steps"][-1]["to"]["id"] == "r2" and all(one["score"] >= other["score"] for one, other in pairwise(found))
    graph = jobs.opened(built)[0]
    met = [set(graph.adjacent(BUYS, graph.rows("item", [id]), inverse=True).rows.tolist()) for id in ("r1", "r2")]
    assert told["both"] == {str(BUYS): len(met[0] & met[1])}
    assert "of kind user buys both" in kgrec("paths", built, "r1", "r2")
    apart = json.loads(kgrec("paths", built, "r1", "user:ruser0", "--hops", 1, "--json"))["paths"]
    assert not apart or apart[0]["steps"][0]["relation"] == str(BUYS), "where knowledge has none"


def test_what_a_relation_counts_in_a_run_is_shown(built, monkeypatch):
    graph, behaviour, none = jobs.opened(built)
    assert not none and "counts" not in kgrec("stats", built)
    monkeypatch.setattr(jobs, "opened", lambda *_: jobs.Opened(graph, behaviour, {"colour": 1.4}))
    told = json.loads(kgrec("stats", "run", "--json"))["relations"]
    assert told["item-colour->colour"]["counts"] == 1.4 and "counts" not in told["item-has_colour->colour"]
    assert "counts" in kgrec("stats", "run") and "-colour-> counts 1.40  colour:red" in kgrec("show", "run", "r1")


@pytest.mark.parametrize("form", ["tsv", "parquet"])
def test_an_export_is_an_import(built, tmp_path, form):
    file = tmp_path / f"facts.{form}"
    kgrec("export", built, file)
    graph, behaviour, _ = jobs.opened(built)
    bare = Graph({kind: table for kind, table in graph.entities.items() if kind in ("item", "user")})
    more = bare.join(Triples(file=file).read(bare))
    again = {str(r): set(_edges(more, r)) for r in more.relations}
    assert again == {str(r): set(_edges(graph, r)) for r in graph.timeless - behaviour} and len(again) == 3
    assert dict(more.entities["type"].select("id", "text").iter_rows()) == dict(graph.entities["type"].select("id", "text").iter_rows())


def _edges(graph, relation):
    table = graph.relations[relation]
    ends = [graph.gather(k, table[e].to_numpy(), "id")["id"] for e, k in (("source", relation.source), ("target", relation.target))]
    return zip(*ends, strict=True)


def test_a_hub_of_many_edges_is_no_road(monkeypatch):
    n = 2_000
    monkeypatch.setattr("kgrec_core.knowledge.paths.HUB", 1_000)
    entities = {"item": pl.DataFrame({"id": [f"i{i}" for i in range(n)]}), "tag": pl.DataFrame({"id": ["all", "few"]})}
    rows = np.r_[np.arange(n), [0, 1]].astype(np.uint32)
    tags = Relation("item", "tag", "tag")
    graph = Graph(entities, {tags: pl.DataFrame({"source": rows, "target": np.r_[np.zeros(n), [1, 1]].astype(np.uint32)})})
    found = paths(graph, find(graph, "i0"), find(graph, "i1"), hops=2)
    assert [path.steps[0].to for path in found] == [("tag", 1), ("tag", 0)], "the rare one first; a hub in the middle is met from both ends"
    assert paths(graph, find(graph, "i0"), find(graph, "i9"), hops=4)[0].steps[0].to == ("tag", 0)


def test_a_hub_of_a_million_edges_costs_no_walk_and_says_nothing():
    """A tag that everything has: shown by its first few, no road between two things, and next to nothing in what is near."""
    n = 1_000_000
    rows = np.r_[np.arange(n), [0, 1]].astype(np.uint32)
    entities = {"item": pl.DataFrame({"id": pl.int_range(n, eager=True).cast(pl.String)}), "tag": pl.DataFrame({"id": ["all", "few"]})}
    tags = Relation("item", "tag", "tag")
    table = pl.DataFrame({"source": rows, "target": np.r_[np.zeros(n), [1, 1]].astype(np.uint32)})
    graph = Graph(entities, {tags: table}, frozenset([tags]))
    began = time.process_time()
    (_, inverse, shown, count), *_ = neighbours(graph, ("tag", 0), 10)
    assert inverse and shown.tolist() == list(range(10)) and count == n
    assert paths(graph, ("item", 0), ("item", 1), hops=4)[0].steps[0].to == ("tag", 1)
    pool, met = Ragged.of(np.zeros(2, np.int64), np.array([1, 2]), 1), sp.csr_matrix(([1.0], ([0], [0])), shape=(1, n), dtype=np.float32)
    near = Ends(graph, "item").near({"": met}, pool)["near by tag"]
    assert near[0] == pytest.approx(1) and near[1] < 0.1
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "{built}", "item:nobody"], "no item has the id 'nobody'; the kind has 16"),
        (["show", "{built}", "itme:r1"], "no kind of entity is called 'itme'; did you mean 'item'"),
        (["paths", "{built}", "r1", "item:r1"], "both ends are the same entity"),
        (["stats", "nowhere"], "nowhere is neither a run, nor a graph"),
        (["export", "{built}", "facts.xlsx"], "name a .tsv or a .parquet file"),
        (["build", "--out", "{built}"], "the recipe has no [data]"),
        (["build", "--domain", "ecommerec", "--out", "x"], "did you mean 'ecommerce'"),
    ],
)
def test_faults_are_one_line(built, words, said):
    done = CliRunner().invoke(main, ["graph", *(word.format(built=built) for word in words)])
    assert done.exit_code == 2 and said in done.output and len(done.output.splitlines()) == 1, done.output


def test_another_folder_is_not_written_over(shop, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(KgrecError, match="exists and is no graph"):
        jobs.build_graph([shop / "shop.toml"], tmp_path / "mine")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_review_beside_the_graph_is_obeyed(tmp_path):
    (tmp_path / "items.csv").write_text(
        "sku,brand\n" + "".join(f"{i},{b}\n" for i, b in enumerate(["Globex Corp", "Globec Corp", "Globex Corp", "Acme"]))
    )
    (tmp_path / "r.toml").write_text(
        '[data]\nuse = "tables"\n[data.entities.item]\nfile = "items.csv"\nid = "sku"\nattributes = ["brand"]\n'
        '[knowledge.columns]\nuse = "columns"\n[knowledge.columns.links.brand]\ncolumn = "brand"\nspellings = true\n'
    )
    out = tmp_path / "g"
    assert "1 pairs of spellings to decide" in kgrec("build", "--recipe", tmp_path / "r.toml", "--out", out)
    review = out / "review.csv"
    review.write_text(review.read_text().replace("90.9,", "90.9,yes"))
    report = json.loads(kgrec("build", "--recipe", tmp_path / "r.toml", "--out", out, "--json"))
    assert report["doubtful"] == 0 and report["relations"]["item-brand->brand"]["targets"] == 2
    assert "yes" in review.read_text()


def test_a_name_that_no_file_can_have_is_told(built):
    """Asked in this process, too, where the output is a buffer and no file."""
    done = CliRunner().invoke(main, ["graph", "export", str(built), f"{'x' * 300}.tsv"])
    assert done.exit_code == 2 and "File name too long" in done.output and len(done.output.splitlines()) == 1, done.output
