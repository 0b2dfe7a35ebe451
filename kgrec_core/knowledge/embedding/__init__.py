"""Vectors of entities and relations, learned from triples: scorers, how they are learned, how well they find held-out edges."""
