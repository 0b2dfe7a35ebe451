"""`gate`: around an encoder of texts; each dimension is a learned mix of what a text says and where an entity stands in the graph.

[encoder]
use = "gate"
[encoder.text]
use = "text"
model = "sentence-transformers/all-MiniLM-L6-v2"
[encoder.entity]
use = "kge"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kgrec_core.encoder.fusion import Fusion
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Encoder


class Gate(Fusion):
    """text + opening * sigmoid(W [text, entity]) * (entity - text), per dimension, as long as the text's (a gated fusion of modalities:
    Arevalo et al. 2017, "Gated Multimodal Units for Information Fusion"). The entity's vector is turned to the text's width by a learned
    linear map. The opening starts at zero; an entity that has no vector keeps its text's.

    text: the encoder that it stands around. entity: the encoder of what the graph knows, e.g. `kge`.
    """

    def __init__(self, *, text: Encoder, entity: Encoder) -> None:
        super().__init__()
        self.text, self.entity = text, entity

    def without_language_model(self) -> Encoder | None:
        """Of a language model in its entity encoder, the graph stays; without the text the graph stays alone."""
        text, entity = self.text.without_language_model(), self.entity.without_language_model()
        if text is None or entity is None:
            return text or entity
        return self if text is self.text and entity is self.entity else self.around(text=text, entity=entity)

    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        self.entity.prepare(graph, tasks)
        super().prepare(graph, tasks)

    def learn(self, graph: Graph, tasks: Sequence[Task]) -> dict[str, Any]:
        return {"text": self.text.dim, "entity": self.entity.dim}

    def assemble(self, settings: dict[str, Any]) -> None:
        text, entity = int(settings["text"]), int(settings["entity"])
        if (text, entity) != (self.text.dim, self.entity.dim):
            raise ValueError(f"it joins the widths {text} and {entity}, its encoders give {self.text.dim} and {self.entity.dim}")
        random = torch.Generator().manual_seed(0)
        self.map_ = nn.Parameter(torch.randn(entity, text, generator=random) / text**0.5)
        self.weigh_ = nn.Linear(2 * text, text)
        nn.init.zeros_(self.weigh_.weight)
        nn.init.zeros_(self.weigh_.bias)
        self.opening_ = nn.Parameter(torch.zeros(text))

    def forward(self, nodes: Nodes) -> torch.Tensor:
        text = self.text(nodes)
        known = self.entity(nodes).to(text.device)
        there = known.detach().any(1, keepdim=True)
        entity = nn.functional.normalize(known @ self.map_, dim=1)
        share = self.opening_ * self.weigh_(torch.cat([text, entity], 1)).sigmoid()
        return self.as_long(text + there * share * (entity - text), text)

    def refresh(self, graph: Graph, new: Mapping[str, NDArray[np.int64]] | None = None) -> None:
        super().refresh(graph, new)
        self.entity.refresh(graph, new)
