"""A plugin for a later kgrec-core: its requirement must be read before it is imported."""

raise SystemExit("imported in spite of its requirement")
