"""The data contract: entities and dated relations in columns, and the one door through which they are read."""

from kgrec_core.graph.graph import DAY, Dataset, Graph, Nodes, Queries, Ragged, Relation, Task, View, candidates, histories
from kgrec_core.graph.memo import Memo

__all__ = ["DAY", "Dataset", "Graph", "Memo", "Nodes", "Queries", "Ragged", "Relation", "Task", "View", "candidates", "histories"]
