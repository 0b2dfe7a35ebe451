"""The same verbs as long work: fitting, rows of files in bulk, and what every domain's run can do."""
