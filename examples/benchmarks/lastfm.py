"""Last.FM, the KGCN universe's 21,173 positives, each listener's artists split at random: NDCG@20 of a whole chain, all artists ranked.

    python examples/benchmarks/lastfm.py [--seed 0] [--small] [section.key=value ...]

Needs the set lastfm in KGREC_DATA (default ../shared/data). A fifth of every listener's artists is the test, a tenth of the others
validation; references, chain and what they may know are as in `ml100k.py`. Knowledge: the 60 relations of KGCN's graph; texts: artists'
names. --small takes 60 listeners. One JSON line last.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from arguments import about, asked_of, stored
from ml100k import LIKES, TAKES, attribute, edges, parts, run

from kgrec_core import Dataset, Graph, Task


class Listeners:
    """lastfm as a data part; users: only so many, the first of the file."""

    def __init__(self, *, folder: Path, users: int = 0, seed: int = 0) -> None:
        self.folder, self.users, self.seed = folder, users, seed

    def load(self) -> Dataset:
        rated = np.loadtxt(self.folder / "mcclk/ratings_final.txt", np.int64)
        users, source = np.unique(rated[rated[:, 2] == 1, 0], return_inverse=True)
        target = rated[rated[:, 2] == 1, 1]
        kept = source < (self.users or len(users))
        source, target = source[kept], target[kept]
        artists = pl.read_csv(self.folder / "hetrec2011/artists.dat", separator="\t", quote_char=None, columns=["id", "name"])
        name, numbers = dict(artists.iter_rows()), np.loadtxt(self.folder / "kgcn/item_index2entity_id.txt", np.int64)
        text = [""] * (int(numbers[:, 1].max()) + 1)
        for artist, entity in numbers.tolist():
            text[entity] = name.get(artist, "")
        entities = {
            "user": pl.DataFrame({"id": [str(user) for user in users[: self.users or None]]}),
            "item": pl.DataFrame({"id": [str(row) for row in range(len(text))], "text": text}),
        }
        relations = {LIKES: edges(source, target).with_columns(part=pl.Series(parts(source, (0.2, 0.08), self.seed)))}
        facts: dict[str, list[tuple[int, str]]] = {}
        for line in (self.folder / "kgcn/kg.txt").read_text().splitlines():
            head, relation, tail = line.split("\t")
            if int(head) < len(text):
                facts.setdefault(relation.replace(".", "_"), []).append((int(head), tail))
        for relation, pairs in facts.items():
            attribute(entities, relations, relation, pairs)
        return Dataset(Graph(entities, relations, frozenset(r for r in relations if r != LIKES)), (Task("likes", LIKES),))


def main() -> None:
    asked = asked_of(about(__doc__), TAKES)
    run("lastfm", Listeners(folder=stored("lastfm"), users=60 if asked.small else 0, seed=asked.seed), "lastfm:Listeners", "ndcg@20", asked)


if __name__ == "__main__":
    main()
