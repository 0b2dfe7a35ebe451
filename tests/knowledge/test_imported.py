"""Knowledge from files: triples, RecBole's, RDF; what is unknown waits, what is misspelt is refused."""

from __future__ import annotations

import contextlib

import polars as pl
import pytest

from kgrec_core import Graph, KgrecError, Relation
from kgrec_core.knowledge.imported import RecboleKg, Triples
from kgrec_core.knowledge.rdf import Rdf
from tests.knowledge.test_columns import edges

GRAPH = Graph({"item": pl.DataFrame({"id": ["a", "b"], "text": ["one", "two"]})})


def test_triples_wait_for_products_that_come_later(tmp_path):
    file = tmp_path / "facts.tsv"
    file.write_text("source\trelation\ttarget\tweight\na\tmade_by\tx\t0.5\na\tmade_by\tx\t0.9\nb\tmade_by\ty\t1\nz\tmade_by\tx\t1\n")
    source = Triples(file=file)
    found = source.read(GRAPH)
    made = Relation("item", "made_by", "entity")
    assert edges(found, made) == {("a", "x"), ("b", "y")} and sorted(found.relations[made]["weight"]) == [0.9, 1.0]
    assert source.notes[0] == "1 triples name a item that is not there; they wait for it" or source.notes[0].startswith("1 triples name")
    source.save(tmp_path)
    again = Triples(file=tmp_path / "gone.tsv")
    again.load(tmp_path)
    later = GRAPH.join(Graph({"item": pl.DataFrame({"id": ["z"], "text": ["three"]})}))
    assert edges(again.read(later, {"item": later.rows("item", ["z"])}), made) == {("z", "x")}
    assert not again.read(later, {"item": later.rows("item", ["a"])}).relations


def test_targets_that_are_ids_of_a_kind_are_of_that_kind(tmp_path):
    graph = Graph({**GRAPH.entities, "brand": pl.DataFrame({"id": ["x", "y"]}), "shelf": pl.DataFrame({"id": ["1", "2"]})})
    file = tmp_path / "facts.csv"
    file.write_text("source,relation,target\na,goes_with,b\nb,goes_with,a\na,goes_with,a\na,made_by,x\nb,made_by,y\na,rated,1\nb,from,z\n")
    found = Triples(file=file).read(graph)
    told = [("goes_with", "item"), ("made_by", "brand"), ("rated", "entity"), ("from", "entity")]
    assert set(found.relations) == {Relation("item", name, kind) for name, kind in told}
    assert set(Triples(file=file, kind="thing").read(graph).relations) == {Relation("item", name, "thing") for name, _ in told}


@pytest.mark.parametrize("form", ["tsv", "parquet"])
def test_how_far_a_file_is_is_told_and_it_reads_the_same(tmp_path, monkeypatch, form):
    """Rows that are read make a third; the rest are their ends, collected and numbered."""
    monkeypatch.setattr("kgrec_core.data.reading.ROWS", 4)
    file, told = tmp_path / f"facts.{form}", []
    ends = [("ab"[i % 2], f"has{i // 7}", f"v{i}") for i in range(10)]
    table = pl.DataFrame(ends, ("source", "relation", "target"), orient="row")
    table.write_csv(file, separator="\t") if form == "tsv" else table.write_parquet(file)
    source = Triples(file=file)
    source.progress = lambda done, total: told.append((done, total))
    found = source.read(GRAPH)
    assert told == [(n, 30) for n in (4, 8, 10, 17, 20, 27, 30)]
    made = [edges(found, Relation("item", f"has{i}", "entity")) for i in (0, 1)]
    assert made == [{(s, t) for s, r, t in ends if r == f"has{i}"} for i in (0, 1)]


def test_rows_that_a_fault_names_can_be_left_out_as_it_says(tmp_path):
    file = tmp_path / "facts.tsv"
    file.write_text("source\trelation\ttarget\na\tr\tx\nb\t\ty\n")
    with pytest.raises(KgrecError, match=r"row 3: relation is empty.*where = 'relation IS NOT NULL'"):
        Triples(file=file).read(GRAPH)
    assert edges(Triples(file=file, where="relation IS NOT NULL").read(GRAPH), Relation("item", "r", "entity")) == {("a", "x")}


def test_entities_without_a_name_are_counted(tmp_path):
    file = tmp_path / "facts.tsv"
    file.write_text(
        "source\trelation\ttarget\ttarget_kind\ttarget_text\na\tmade_by\tx\tbrand\tAcme\nb\tmade_by\ty\tbrand\t\nb\tin\tz\tplace\t\n"
    )
    source = Triples(file=file)
    found = source.read(GRAPH)
    assert source.notes == ("brand is new: 2 entities, 1 of them without a name", "place is new: 1 entities, 1 of them without a name")
    assert dict(found.entities["brand"].select("id", "text").iter_rows()) == {"x": "Acme", "y": "y"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source\trelation\ttarget\na\t\tx\n", "facts.tsv row 2: relation is empty"),
        (
            "source\trelation\ttarget\ttarget_kind\na\tr\tx\titme\n",
            r"no kind of entity \(facts.tsv row 2\) is called 'itme'; did you mean 'item'",
        ),
        ("head\trelation\ttarget\na\tr\tx\n", '"source" is no column of facts.tsv'),
        ("source\trelation\ttarget\tweight\na\tr\tx\t-1\n", 'facts.tsv row 2: weight "-1" is no weight'),
    ],
)
def test_faulty_triples_are_told_by_row(tmp_path, text, said):
    (tmp_path / "facts.tsv").write_text(text)
    with pytest.raises(KgrecError, match=said):
        Triples(file=tmp_path / "facts.tsv").read(GRAPH)


def test_recbole(tmp_path):
    (tmp_path / "m.kg").write_text(
        "head_id:token\trelation_id:token\ttail_id:token\nm.1\tgenre\tm.9\nm.9\tpart_of\tm.8\nm.1\tsequel\tm.2\n"
    )
    (tmp_path / "m.link").write_text("item_id:token\tentity_id:token\na\tm.1\nb\tm.2\n")
    found = RecboleKg(folder=tmp_path, name="m").read(GRAPH)
    assert edges(found, Relation("item", "genre", "entity")) == {("a", "m.9")}
    assert edges(found, Relation("entity", "part_of", "entity")) == {("m.9", "m.8")}
    assert edges(found, Relation("item", "sequel", "item")) == {("a", "b")}
    with pytest.raises(KgrecError, match=r"there is no file .*other\.link"):
        RecboleKg(folder=tmp_path, name="other").read(GRAPH)


TURTLE = """@prefix s: <http://shop/item/> . @prefix v: <http://shop/v#> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
s:a v:brand v:acme ; v:colour "red"@en, "rot"@de ; rdfs:label "mug" .
v:acme rdfs:label "Acme Ltd"@en ; v:in v:spain .
"""


@pytest.mark.parametrize("form", ["ttl", "nt"])
def test_rdf(tmp_path, form, caplog):
    rdflib = pytest.importorskip("rdflib")
    file = tmp_path / f"shop.{form}"
    rdflib.Graph().parse(data=TURTLE, format="turtle").serialize(file, format=form)
    found = Rdf(file=file, items="http://shop/item/").read(GRAPH)
    assert edges(found, Relation("item", "brand", "entity")) == {("a", "acme")}
    assert edges(found, Relation("item", "colour", "entity")) == {("a", "red")}
    assert edges(found, Relation("entity", "in", "entity")) == {("acme", "spain")}
    assert dict(found.entities["entity"].iter_rows())["acme"] == "Acme Ltd"
    file.write_text("<http://shop/item/a> <http://shop/v#in> <http://shop/\x9b31m place> .")
    with contextlib.suppress(KgrecError):  # the one parser lets it pass
        Rdf(file=file, items="http://shop/item/").read(GRAPH)
    assert not caplog.records, "what stands in an address reaches no terminal"
    file.write_text("<<< no rdf")
    with pytest.raises(KgrecError, match=f"shop.{form} cannot be read as RDF"):
        Rdf(file=file, items="http://shop/item/").read(GRAPH)


@pytest.mark.parametrize(
    "context",
    ['"file://{secret}"', '["{secret}"]', '{{"@import": "{secret}"}}', '{{"in": {{"@id": "http://shop/v#in", "@context": "{secret}"}}}}'],
)
def test_a_context_that_is_elsewhere_is_not_fetched(tmp_path, context):
    pytest.importorskip("rdflib")
    (tmp_path / "secret.json").write_text('{"@context": {"in": "http://shop/v#in"}}')
    file = tmp_path / "shop.jsonld"
    file.write_text(f'{{"@context": {context.format(secret=tmp_path / "secret.json")}, "@id": "http://shop/item/a", "in": "spain"}}')
    with pytest.raises(KgrecError, match=r"shop\.jsonld cannot be read as RDF: its context is at .*secret.json', which is not read"):
        Rdf(file=file, items="http://shop/item/").read(GRAPH)
    file.write_text('{"@context": {"in": "http://shop/v#in"}, "@id": "http://shop/item/a", "in": "spain"}')
    assert edges(Rdf(file=file, items="http://shop/item/").read(GRAPH), Relation("item", "in", "entity")) == {("a", "spain")}
    (tmp_path / "shop.trig").write_text("x")
    with pytest.raises(KgrecError, match=r"shop\.trig is trig; knowledge is read from turtle, nt, xml, json-ld"):
        Rdf(file=tmp_path / "shop.trig", items="http://shop/item/").read(GRAPH)


def test_a_triple_without_end_is_refused_and_what_is_wrong_is_said_whole(tmp_path):
    pytest.importorskip("rdflib")
    triple = '<http://shop/item/a> <http://shop/v#in> "{}" .'
    (tmp_path / "shop.nt").write_text(triple.format("x") + "\n" + triple.format("x" * 2**20))
    with pytest.raises(KgrecError, match=r"shop\.nt cannot be read as RDF: row 2 has more than 1,048,576 bytes"):
        Rdf(file=tmp_path / "shop.nt", items="http://shop/item/").read(GRAPH)
    (tmp_path / "shop.ttl").write_text("@prefix s: <http://shop/v#> . s:a s:in s:b \n s:c")
    with pytest.raises(KgrecError, match=r"shop\.ttl cannot be read as RDF: at line 2 of <>: Bad syntax"):
        Rdf(file=tmp_path / "shop.ttl", items="http://shop/item/").read(GRAPH)


@pytest.mark.parametrize("code", ["utf-8", "utf-16"])
def test_an_entity_of_entities_is_refused_before_it_is_read(tmp_path, code):
    pytest.importorskip("rdflib")
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 9))
    space = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:s="http://shop/v#"'
    body = f'<rdf:RDF {space}><rdf:Description rdf:about="http://shop/item/a"><s:in>&l{{}};</s:in></rdf:Description></rdf:RDF>'
    file, first = tmp_path / "shop.rdf", '<!DOCTYPE r [<!ENTITY l0 "lol">'
    file.write_bytes((f"{first}{laughs}]>" + body.format(8)).encode(code))
    with pytest.raises(KgrecError, match=r"shop\.rdf cannot be read as RDF: it has an entity made of entities"):
        Rdf(file=file, items="http://shop/item/").read(GRAPH)
    file.write_bytes((f"{first}]>" + body.format(0)).encode(code))
    assert edges(Rdf(file=file, items="http://shop/item/").read(GRAPH), Relation("item", "in", "entity")) == {("a", "lol")}
