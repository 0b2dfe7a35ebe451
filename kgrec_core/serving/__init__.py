"""A run behind HTTP: its domain's verbs as endpoints. Needs the extra `serve`; nothing below imports it."""
