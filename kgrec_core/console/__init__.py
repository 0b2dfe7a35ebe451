"""A run in the browser: pages made from the same verbs as the endpoints, for whoever does not program. Needs the extra `serve`."""
