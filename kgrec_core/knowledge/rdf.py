"""`rdf`: knowledge that exists already as RDF: Turtle, N-Triples, RDF/XML, JSON-LD that names nothing outside of the file.

[knowledge.ontology]
use = "rdf"                  # needs the extra `rdf`
file = "shop.ttl"
items = "http://shop.example/item/"
"""

from __future__ import annotations

import json
import logging
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph
from kgrec_core.knowledge.imported import STRINGS, Imported

FORMS = ("turtle", "nt", "xml", "json-ld")  # that read the file and nothing else
LONGEST = 2**20  # bytes of a line: N-Triples' parser reads it anew for every two thousand of them


class Rdf(Imported):
    """Triples of an RDF file (Turtle, N-Triples, RDF/XML, JSON-LD) by rdflib, the extra `rdf`.

    file: where. items: beginning of the addresses of what is known by an id, which follows. of: the kind of these. kind: of all other addresses and values.
    language: of texts that stand in several. An address is known by what follows its last / or #, a relation too; rdfs:label and
        skos:prefLabel name an entity and are no relation; blank nodes are left out.
    """

    def __init__(self, *, file: Path, items: str, of: str = "item", kind: str = "entity", language: str = "en") -> None:
        self.file, self.items, self.of, self.kind, self.language = file, items, of, kind, language

    def triples(self, graph: Graph) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
        if not find_spec("rdflib"):
            raise KgrecError(f'{self.file}: RDF needs the package rdflib; pip install "kgrec-core[rdf]"')
        import rdflib
        from rdflib.util import guess_format

        if not self.file.is_file():
            raise KgrecError(f"knowledge.*.file: there is no file {self.file}")
        form = guess_format(str(self.file)) or "turtle"
        if form not in FORMS:
            raise KgrecError(f"{self.file.name} is {form}; knowledge is read from {', '.join(FORMS)}: convert it")
        warns = logging.getLogger("rdflib.term")  # of an address that is none, with all that stands in it, raw
        silent, warns.disabled = warns.disabled, True
        try:
            if form == "json-ld" and (other := _elsewhere(json.loads(self.file.read_bytes()))):
                raise ValueError(f"its context is at {other!r}, which is not read; write the context into the file")
            if form == "xml" and re.search(rb"<!ENTITY[^>]*&", self.file.read_bytes().replace(b"\0", b"")):
                raise ValueError("it has an entity made of entities, which could be of any length; write it out")
            if form == "nt" and (long := _long_line(self.file)):
                raise ValueError(f"row {long} has more than {LONGEST:,} bytes, too long for a triple; shorten it")
            parsed = rdflib.Graph().parse(self.file, format=form)
        except Exception as error:  # every one of its parsers has exceptions of its own
            raise KgrecError(f"{self.file.name} cannot be read as RDF: {' '.join(str(error).split())[:200]}") from error
        finally:
            warns.disabled = silent
        labels = (rdflib.RDFS.label, rdflib.SKOS.prefLabel)
        found, names = [], []
        for subject, predicate, other in sorted(parsed):
            if isinstance(subject, rdflib.BNode) or isinstance(other, rdflib.BNode):
                continue
            if predicate in labels:
                if getattr(other, "language", None) in (None, self.language):
                    names.append((*self._end(str(subject)), str(other)))
            elif isinstance(other, rdflib.Literal):
                if other.language in (None, self.language):
                    found.append((*self._end(str(subject)), _local(str(predicate)), self.kind, str(other)))
            else:
                found.append((*self._end(str(subject)), _local(str(predicate)), *self._end(str(other))))
        told = pl.DataFrame(names, {"kind": pl.String, "id": pl.String, "text": pl.String}, orient="row")
        named = {kind: of.select("id", "text") for (kind,), of in told.partition_by("kind", as_dict=True).items() if kind != self.of}
        return pl.DataFrame(found, STRINGS, orient="row"), named

    def _end(self, address: str) -> tuple[str, str]:
        if address.startswith(self.items):
            return self.of, address.removeprefix(self.items)
        return self.kind, _local(address)


def _long_line(file: Path) -> int | None:
    """The number of the first line of more than LONGEST bytes."""
    with file.open("rb") as lines:
        return next((number for number, line in enumerate(lines, 1) if len(line) > LONGEST), None)


def _elsewhere(node: Any) -> str | None:
    """A context that JSON-LD names instead of saying it: an address or a file, which rdflib would fetch."""
    if isinstance(node, dict):
        contexts = node.get("@context") if isinstance(node.get("@context"), list) else [node.get("@context")]
        named = next((told for told in (*contexts, node.get("@import")) if isinstance(told, str)), None)
        return named or next((found for value in node.values() if (found := _elsewhere(value))), None)
    return next((found for value in node if (found := _elsewhere(value))), None) if isinstance(node, list) else None


def _local(address: str) -> str:
    return address.rstrip("/#").replace("#", "/").rpartition("/")[2] or address
