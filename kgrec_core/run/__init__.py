"""A published run: its folder, its snapshots, the log of its edits, and what it is asked."""
