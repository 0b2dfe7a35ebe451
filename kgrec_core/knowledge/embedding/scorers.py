"""How plausible a triple is: four scorers, each of which says where a target (or a source) should lie, and how near it is.

All vectors are (n, dim) float32; complex ones are their real half beside their imaginary half. A score is higher where a triple is
more plausible.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

Name = Literal["transe", "rotate", "complex", "distmult"]


class Scorer:
    """A subclass gives `onward` and `back`; `by_distance` says how what they find is compared with an entity."""

    by_distance: ClassVar[bool]
    halves: ClassVar[bool] = False  # whether vectors are complex, so that their width must be even

    def relation_width(self, dim: int) -> int:
        return dim

    def onward(self, source: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        """(n, dim): where the target of (source, relation, ?) should lie."""
        raise NotImplementedError

    def back(self, target: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        """(n, dim): where the source of (?, relation, target) should lie."""
        raise NotImplementedError

    def score(self, source: torch.Tensor, relation: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """(n,) of n triples."""
        return self.matched(self.onward(source, relation), target)

    def matched(self, places: torch.Tensor, entities: torch.Tensor) -> torch.Tensor:
        """(n,) of one entity for each place."""
        return -(places - entities).norm(dim=1) if self.by_distance else (places * entities).sum(1)

    def scores(self, places: torch.Tensor, entities: torch.Tensor) -> torch.Tensor:
        """(n, m) of every entity for every place that `onward` or `back` found."""
        if not self.by_distance:
            return places @ entities.T
        squared = places.square().sum(1)[:, None] + entities.square().sum(1)[None] - 2 * places @ entities.T
        return -squared.clamp_min(1e-9).sqrt()


class TransE(Scorer):
    """A relation is a translation: source + relation = target (Bordes et al. 2013, "Translating Embeddings for Modeling Multi-relational Data")."""

    by_distance = True

    def onward(self, source: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        return source + relation

    def back(self, target: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        return target - relation


class DistMult(Scorer):
    """A relation weighs dimensions, the same in both directions (Yang et al. 2015, "Embedding Entities and Relations for Learning and Inference")."""

    by_distance = False

    def onward(self, source: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        return source * relation

    def back(self, target: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        return target * relation


class ComplEx(Scorer):
    """DistMult in complex numbers, which tell source from target (Trouillon et al. 2016, "Complex Embeddings for Simple Link Prediction")."""

    by_distance, halves = False, True

    def onward(self, source: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        return _times(source, *relation.chunk(2, 1))

    def back(self, target: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        real, imaginary = relation.chunk(2, 1)
        return _times(target, real, -imaginary)


class RotatE(Scorer):
    """A relation turns each complex dimension by an angle (Sun et al. 2019, "RotatE: Knowledge Graph Embedding by Relational Rotation").

    Relations are (n, dim / 2) angles.
    """

    by_distance, halves = True, True

    def relation_width(self, dim: int) -> int:
        return dim // 2

    def onward(self, source: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        return _times(source, relation.cos(), relation.sin())

    def back(self, target: torch.Tensor, relation: torch.Tensor) -> torch.Tensor:
        return _times(target, relation.cos(), -relation.sin())


def _times(x: torch.Tensor, real: torch.Tensor, imaginary: torch.Tensor) -> torch.Tensor:
    """Complex product, per dimension."""
    a, b = x.chunk(2, 1)
    return torch.cat([a * real - b * imaginary, a * imaginary + b * real], 1)


SCORERS: dict[str, Scorer] = {"transe": TransE(), "rotate": RotatE(), "complex": ComplEx(), "distmult": DistMult()}
