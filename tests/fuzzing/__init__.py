"""Mutated inputs through every door, for `python tests/fuzz.py`."""
