"""The built-in parts, to wrap or to derive from, and what they are made of. Everything is imported when first used."""

from __future__ import annotations

from kgrec_core.late import late

__getattr__, __dir__, __all__ = late(
    __name__,
    {
        "data.tables": "Tables",
        "data.recbole": "Recbole",
        "data.mapping": "Edges End Entity Goal",
        "data.links": "Link",
        "data.privacy": "mask",
        "knowledge.source": "Source",
        "knowledge.attributes": "Attributes",
        "encoder.text": "Text",
        "encoder.tfidf": "Tfidf",
        "encoder.history": "History",
        "encoder.concat": "Concat",
        "encoder.tower": "Tower fixed_shape",
        "encoder.pretrained": "load_model=load silence",
        "encoder.cache": "VectorCache default_folder",
        "head.rank": "Rank",
        "head.classify": "Classify",
        "retrieval.exact": "Exact",
        "retrieval.faiss": "Faiss",
        "retrieval.index": "index_parameters=parameters",
        "retrieval.lexical": "Lexical",
        "retrieval.content": "Content",
        "retrieval.cooccurrence": "Cooccurrence",
        "retrieval.ease": "Ease",
        "retrieval.als": "Als",
        "retrieval.neighbours": "Neighbours",
        "retrieval.logistic": "Logistic",
        "retrieval.repeat": "Repeat",
        "retrieval.switch": "Switch",
        "retrieval.popular": "Popular",
        "retrieval.merge": "Merge",
        "retrieval.mixture": "Mixture",
        "retrieval.lambdarank": "Lambdarank",
        "retrieval.cross_encoder": "CrossEncoder",
        "training.supervised": "Supervised",
        "training.contrastive": "Contrastive",
        "knowledge.duplicates": "Recent near_duplicates",
        "words": "rjieba units",
    },
)
