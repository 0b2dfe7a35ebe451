"""The core's own parts, handed over by the same hooks that a plugin uses; importing this module imports none of them."""

from __future__ import annotations

from kgrec_core.recipe.components import Component
from kgrec_core.recipe.hookspecs import hookimpl

DOMAINS = {
    name: f"kgrec-{name}" for name in ("ecommerce", "support", "finance")
}  # word -> the distribution that owns it, whoever else has it
SOURCES = (  # of [knowledge]; others come from a file
    Component(
        "attributes",
        "kgrec_core.knowledge.attributes:Attributes",
        "type, colour, material, size, count, theme and audience read from texts",
    ),
    Component("columns", "kgrec_core.knowledge.columns:Columns", "values, lists, hierarchies and buckets in the entities' columns"),
    Component("alike", "kgrec_core.knowledge.alike:Alike", "nearest others by a pretrained language model's vectors of their texts"),
    Component("llm", "kgrec_core.knowledge.llm:Llm", "a language model that reads the texts, at an endpoint or here"),
    Component("triples", "kgrec_core.knowledge.imported:Triples", "triples of a CSV, TSV, Parquet or JSONL file"),
    Component("recbole-kg", "kgrec_core.knowledge.imported:RecboleKg", "NAME.kg and NAME.link of a RecBole data set"),
    Component("rdf", "kgrec_core.knowledge.rdf:Rdf", "an RDF file: Turtle, N-Triples, RDF/XML, JSON-LD (extra rdf)"),
)
OBJECTIVES = (  # of [train.objectives]; others come from a file
    Component("supervised", "kgrec_core.training.supervised:Supervised", "every task's own edges, by the loss of its head"),
    Component(
        "catalogue", "kgrec_core.training.catalogue:Catalogue", "what comes next among all candidates, on vectors made once, before that"
    ),
    Component("simcse", "kgrec_core.teaching.warmup:Simcse", "before any label, each text near itself under other dropout"),
    Component("tsdae", "kgrec_core.teaching.warmup:Tsdae", "before any label, texts told again from the vector of a few of their words"),
    Component("pseudo", "kgrec_core.teaching.pseudo:Pseudo", "unlabelled texts that an earlier run is sure of (self-training)"),
    Component("contrastive", "kgrec_core.training.contrastive:Contrastive", "queries of one class drawn together, before a classification"),
)


@hookimpl
def kgrec_data() -> list[Component]:
    return [
        Component("tables", "kgrec_core.data.tables:Tables", "CSV, TSV, Parquet or JSONL files, mapped to entities and relations"),
        Component("recbole", "kgrec_core.data.recbole:Recbole", "RecBole atomic files: .inter, .item, .user, .kg, .link"),
    ]


@hookimpl
def kgrec_encoder() -> list[Component]:
    return [
        Component("text", "kgrec_core.encoder.text:Text", "a pretrained language model over the texts of entities"),
        Component("tfidf", "kgrec_core.encoder.tfidf:Tfidf", "the words of the texts, rare ones counting more; learns nothing"),
        Component("history", "kgrec_core.encoder.history:History", "around any encoder: a query is read through what it met"),
        Component(
            "sequence", "kgrec_core.encoder.sequence:Sequence", "around any encoder: what goes together, in what order and how lately"
        ),
        Component("concat", "kgrec_core.encoder.concat:Concat", "several encoders side by side, their scores added"),
        Component("kge", "kgrec_core.encoder.kge:Kge", "where an entity stands in the graph, learned from its triples"),
        Component("verbalize", "kgrec_core.encoder.verbalize:Verbalize", "a text goes on with what the graph says, most telling first"),
        Component("gate", "kgrec_core.encoder.gate:Gate", "a text's vector and an entity's, mixed per dimension as learned"),
        Component("attention", "kgrec_core.encoder.attention:Attention", "a text looks at its neighbours in the graph, by relation"),
        Component("propagate", "kgrec_core.encoder.propagate:Propagate", "texts spread along who met what (LightGCN)"),
        Component("auto", "kgrec_core.encoder.auto:Auto", "whichever fusion pays on the select queries, or none"),
    ]


@hookimpl
def kgrec_head() -> list[Component]:
    return [
        Component("rank", "kgrec_core.head.rank:Rank", "ranks candidates by dot product with a temperature"),
        Component("classify", "kgrec_core.head.classify:Classify", "chooses among few fixed classes, a learned vector and bias each"),
    ]


@hookimpl
def kgrec_retrieval() -> list[Component]:
    folder = "kgrec_core.retrieval"
    return [
        Component("exact", f"{folder}.exact:Exact", "nearest vectors by brute force, on any device"),
        Component("faiss", f"{folder}.faiss:Faiss", "nearest vectors by a FAISS index"),
        Component("lexical", f"{folder}.lexical:Lexical", "words in common (BM25)"),
        Component("cooccurrence", f"{folder}.cooccurrence:Cooccurrence", "what goes together with the query's history"),
        Component("ease", f"{folder}.ease:Ease", "a linear item-to-item model in closed form (EASE)"),
        Component("als", f"{folder}.als:Als", "a vector per target, queries solved from their histories, in closed form (ALS)"),
        Component("neighbours", f"{folder}.neighbours:Neighbours", "what was right for the most similar queries"),
        Component("logistic", f"{folder}.logistic:Logistic", "a linear classifier of the query's words or vectors (logistic regression)"),
        Component("content", f"{folder}.content:Content", "what has words or timeless relations in common with the query's history"),
        Component("repeat", f"{folder}.repeat:Repeat", "what the query was linked to before, weighted by recency"),
        Component("popular", f"{folder}.popular:Popular", "what was chosen most often lately"),
        Component("merge", f"{folder}.merge:Merge", "joins the lists of its channels by weights"),
        Component("mmr", f"{folder}.mmr:Mmr", "makes the lists of another retrieval less alike (maximal marginal relevance)"),
        Component("mixture", f"{folder}.mixture:Mixture", "joins its channels' probabilities, each trusted as far as it was right"),
        Component("switch", f"{folder}.switch:Switch", "answers newcomers by another channel than those of whom much is known"),
        Component("lambdarank", f"{folder}.lambdarank:Lambdarank", "re-ranks its channels' candidates by boosted trees (LambdaMART)"),
        Component(
            "cross-encoder", f"{folder}.cross_encoder:CrossEncoder", "re-ranks its channels' best by reading query and candidate together"
        ),
    ]
