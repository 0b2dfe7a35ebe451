"""Held-out edges: which part of a split each belongs to, and views that know nothing of what is held out."""

from kgrec_core.split.parts import Split
from kgrec_core.split.views import split

__all__ = ["Split", "split"]
