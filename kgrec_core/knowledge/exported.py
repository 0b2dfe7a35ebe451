"""A graph's knowledge as triples with ids, names and weights: what `kgrec graph export` writes and the source `triples` reads."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from kgrec_core.graph import Graph, Relation

COLUMNS = {
    **dict.fromkeys(("source_kind", "source", "relation", "target_kind", "target"), pl.String),
    "weight": pl.Float64,
    "target_text": pl.String,
}


def triples_of(graph: Graph, behaviour: Collection[Relation] = ()) -> pl.DataFrame:
    """The timeless relations that are no behaviour; weight 1 where a relation has none."""
    parts = [pl.DataFrame(schema=COLUMNS)]
    for relation in sorted(graph.timeless - set(behaviour)):
        table = graph.relations[relation].drop_nulls(["source", "target"])
        source, target = (graph.entities[kind] for kind in (relation.source, relation.target))
        named = target["text"] if "text" in target.columns else pl.Series("text", [None], pl.String).new_from_index(0, len(target))
        parts.append(
            pl.DataFrame(
                {
                    "source_kind": pl.repeat(relation.source, len(table), eager=True),
                    "source": source["id"].gather(table["source"]),
                    "relation": pl.repeat(relation.name, len(table), eager=True),
                    "target_kind": pl.repeat(relation.target, len(table), eager=True),
                    "target": target["id"].gather(table["target"]),
                    "weight": table["weight"] if "weight" in table.columns else pl.repeat(1.0, len(table), eager=True),
                    "target_text": named.gather(table["target"]),
                },
                COLUMNS,
            )
        )
    return pl.concat(parts)
