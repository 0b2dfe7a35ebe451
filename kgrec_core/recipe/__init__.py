"""Recipes and the parts they name: layers of TOML, the registry of plugins, and constructors bound to both."""
