"""What is asked, read and opened: a shop, an FAQ with a tiny language model, a feed, and the runs of the first two."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import NamedTuple

SHOP = """
[data]
use = "tables"
[data.entities.item]
file = "products.csv"
id = "sku"
text = ["name"]
attributes = ["price"]
where = "price > 0 AND name IS NOT NULL"
[data.entities.item.links.colour]
column = "colour"
[data.relations.buys]
file = "orders.csv"
source = { kind = "user", column = "customer" }
target = { kind = "item", column = "sku" }
time = "date"
weight = "n"
unknown = "add"
[data.tasks.buys]
relation = "buys"
repeats = true
[split]
test = "2024-03-01"
validation = "10d"
[encoder]
use = "history"
[encoder.items]
use = "tfidf"
[head.buys]
use = "rank"
adapter = true
[retrieval.buys]
use = "lambdarank"
trees = 4
folds = 2
smallest = 2
threads = 1
[retrieval.buys.near]
use = "faiss"
[retrieval.buys.same]
use = "exact"
[retrieval.buys.words]
use = "lexical"
[retrieval.buys.content]
use = "content"
[retrieval.buys.basket]
use = "cooccurrence"
[retrieval.buys.ease]
use = "ease"
[retrieval.buys.like]
use = "neighbours"
[retrieval.buys.alike]
use = "neighbours"
by = "history"
[retrieval.buys.repeat]
use = "repeat"
[retrieval.buys.popular]
use = "popular"
[train]
steps = 2
batch = 4
validations = 1
[fit]
publish = "chain"
minutes = 0.01
"""
LISTS = {
    "retrieval": {"buys": {"use": "merge", "near": {"use": "faiss", "index": "IVF2,Flat"}, "graph": {"use": "faiss", "index": "HNSW4"}}}
}
FAQ = "id,question,answer,category,variants,valid_until\n" + "".join(
    f"e{i},how do I {verb} my {thing}?,You can {verb} your {thing} online.,{thing},where to {verb} a {thing}|{thing} {verb},\n"
    for i, (verb, thing) in enumerate((v, t) for v in ("pay", "return", "track", "cancel") for t in ("order", "card", "parcel", "bill"))
)
INTENTS = "text,label,split\n" + "".join(
    f"please {verb} my {thing} number {n},{verb},{part}\n"
    for n, part in enumerate(["train"] * 6 + ["validation"] * 2 + ["test"] * 2)
    for verb in ("pay", "return", "track", "cancel")
    for thing in ("order", "card")
)
DIALOGUES = "session,role,text,time\n" + "".join(
    f"{s},{'user' if t % 2 == 0 else 'agent'},message {t} of {s} jo@example.com 13812345678,2024-01-0{1 + s % 9}T10:0{t}:00\n"
    for s in range(8)
    for t in range(4)
)
NEWS = "id,title,text,sentiment,time,source\n" + "".join(
    f"n{i},Acme {word} again,Acme Bolts Inc. {word} on Monday.,{label},2024-01-{1 + i % 28:02}T09:00:00Z,wire\n"
    for i, (word, label) in enumerate([("rises", "positive"), ("falls", "negative"), ("rests", "neutral")] * 10)
)
RSS = '<?xml version="1.0"?><rss version="2.0"><channel><title>t</title>' + "".join(
    f"<item><guid>g{i}</guid><title>Acme &amp; {i}</title><description>up &lt;b&gt;5%&lt;/b&gt;</description>"
    f"<pubDate>Mon, 0{1 + i} Jan 2024 09:00:00 GMT</pubDate></item>"
    for i in range(5)
) + "</channel></rss>"  # fmt: skip
SECRET = "x\nCANARY-7f3a\n"


class World(NamedTuple):
    """folder: everything below it may be read, but for secret/. runs: name -> run folder."""

    folder: Path
    runs: dict[str, Path]

    @property
    def secret(self) -> Path:
        return self.folder / "secret" / "secret.csv"


def make(folder: Path, names: tuple[str, ...]) -> World:
    """Write the files, and fit the runs of these names."""
    draw, colours, things = random.Random(0), ("red", "blue"), ("mug", "lamp", "bowl", "chair", "clock", "spoon", "basket", "candle")
    items = [f"{colour[0]}{i},{colour} {thing},{colour},{i + 1}\n" for colour in colours for i, thing in enumerate(things)]
    days = ["2024-01-03", "2024-01-12", "2024-01-28", "2024-02-06", "2024-02-14", "2024-02-22", "2024-02-26", "2024-03-02", "2024-03-04"]
    orders = [f"{'rb'[u % 2]}user{u},{'rb'[u % 2]}{draw.randrange(8)},{day},{draw.randint(1, 3)}\n" for u in range(12) for day in days]
    files = {"products.csv": "sku,name,colour,price\n" + "".join(items), "orders.csv": "customer,sku,date,n\n" + "".join(orders)}
    files |= {"shop.toml": SHOP, "faq.csv": FAQ, "intents.csv": INTENTS, "dialogues.csv": DIALOGUES, "news.csv": NEWS, "feed.xml": RSS}
    files["news.jsonl"] = "".join(
        json.dumps({"id": f"n{i}", "title": f"Acme {i}", "text": "Acme Bolts rises.", "time": f"2024-01-{1 + i % 28:02}T09:00:00Z"}) + "\n"
        for i in range(30)
    )
    (folder / "secret").mkdir(parents=True, exist_ok=True)
    for name, content in {**files, "secret/secret.csv": SECRET}.items():
        (folder / name).write_text(content)
    os.environ["KGREC_CACHE"] = str(folder / "cache")
    world = World(folder, {name: folder / "runs" / name for name in names})
    for name, place in world.runs.items():
        if not place.is_dir():
            from kgrec_core.pipeline import fit
            from kgrec_core.recipe.recipe import resolve

            fit(resolve(*({"support": _support} if name == "support" else {"shop": _shop, "lists": _lists})[name](folder)), place)
    return world


def _shop(folder: Path) -> tuple:
    return (folder / "shop.toml",)


def _lists(folder: Path) -> tuple:
    layer = (folder / "lists.toml", SHOP[: SHOP.index("[retrieval.buys]")] + SHOP[SHOP.index("[train]") :])
    layer[0].write_text(layer[1])
    return layer[0], LISTS


def _support(folder: Path) -> tuple:
    model = _model(folder / "model")
    data = {"use": "support", "faq": str(folder / "faq.csv"), "intents": str(folder / "intents.csv")}
    layer = {"data": data, "split": {"by": "random", "group": "group", "test": 0.2, "validation": 0.2}, "encoder": {"model": str(model)}}
    return "kgrec_support:recipe.toml", {
        **layer,
        "train": {"steps": 2, "batch": 4, "validations": 1},
        "fit": {"publish": "chain", "minutes": 0.01},
    }


def _model(folder: Path) -> Path:
    """A sentence-transformers folder of a few kilobytes."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    raw = folder.with_name("bert")
    raw.mkdir(exist_ok=True)
    words = sorted({word for text in (FAQ, INTENTS) for word in text.lower().replace(",", " ").replace("?", " ").split()})
    (raw / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    tokenizer = BertTokenizerFast(str(raw / "vocab.txt"))
    tokenizer.save_pretrained(raw)
    BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        )
    ).save_pretrained(raw)
    tower = Transformer(str(raw), max_seq_length=32)
    SentenceTransformer(modules=[tower, Pooling(tower.get_word_embedding_dimension())]).save(str(folder))
    return folder
