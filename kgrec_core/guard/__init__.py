"""What stands around every part that a recipe names: what it returns is held against its promise, what it raises gets its name."""
