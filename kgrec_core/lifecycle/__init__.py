"""What is done around a fit: settings looked for before it, and afterwards a run asked again, audited, updated, made smaller."""
