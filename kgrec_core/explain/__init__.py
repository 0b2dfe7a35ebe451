"""Why an answer: what its score is made of, the paths of the graph that speak for it, and a sentence of both."""
