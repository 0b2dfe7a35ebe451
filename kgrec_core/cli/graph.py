"""`kgrec graph build|show|stats|paths|export|audit`: the knowledge graph of a recipe or a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kgrec_core.cli.domain import LazyGroup
from kgrec_core.cli.progress import progress_bar
from kgrec_core.cli.run import FILE, allow, as_json
from kgrec_core.printing import columns, say, say_json

place = click.argument("place", type=FILE)


@click.command(epilog="Example: kgrec graph build --domain ecommerce knowledge.names.use=attributes --out graphs/shop")
@click.option(
    "--recipe", "recipes", multiple=True, type=FILE, metavar="FILE", help="A recipe with [data] and [knowledge]; several are layers."
)
@click.option("--domain", metavar="NAME", help="Begin with this domain's recipe.")
@click.option("--out", required=True, type=FILE, metavar="FOLDER", help="Where the graph is written.")
@click.option("--allow-leak", is_flag=True, help="Let a relation pass that is a task's target in disguise.")
@click.argument("settings", nargs=-1, metavar="[SECTION.KEY=VALUE]...")
@as_json
def build(recipes: tuple[Path, ...], domain: str | None, out: Path, allow_leak: bool, settings: tuple[str, ...], as_json: bool) -> None:
    """Build the graph that a recipe's data and [knowledge] give, with a report of coverage and ambiguity, and review.csv for doubtful spellings."""
    from kgrec_core.jobs.graph import build_graph
    from kgrec_core.recipe.registry import Registry

    first = (Registry.discover().domain(domain).recipe,) if domain else ()
    with progress_bar(quiet=as_json) as progress:
        report = build_graph((*first, *recipes, settings), out, allow_leak, progress)
    if as_json:
        say_json(report)
        return
    say(_relations(report["relations"]))
    for name, of in report["sources"].items():
        for note in of["notes"]:
            say(f"{name}: {note}")
    said = ", ".join(f"{name} ({'/'.join(kinds)})" for name, kinds in list(report["ambiguous"]["most"].items())[:5])
    if said:
        say(f"{report['ambiguous']['names']:,} names are of several kinds: {said}")
    if report["doubtful"]:
        say(f"{report['doubtful']:,} pairs of spellings to decide: write yes or no into {out / 'review.csv'}, column same, and build again")
    say(f"graph folder: {out}")


@click.command(epilog="Examples: kgrec graph stats runs/demo; kgrec graph stats graphs/shop --json")
@place
@allow
@as_json
def stats(place: Path, allow: tuple[str, ...], as_json: bool) -> None:
    """Entities and relations of PLACE: a run, a built graph or a recipe file; how many have an edge, how many several, the largest hub;
    of a run also how much each counts, as was learned."""
    from kgrec_core.jobs.graph import opened
    from kgrec_core.jobs.graph import stats as counted

    graph, _, weights = opened(place, allow)
    found = counted(graph, weights)
    if as_json:
        say_json(found)
        return
    say(columns([("kind", "entities", "named"), *((k, f"{v['count']:,}", f"{v['named']:,}") for k, v in found["entities"].items())]) + "\n")
    say(_relations(found["relations"]))


@click.command(epilog="Example: kgrec graph show runs/demo item:22423")
@place
@click.argument("entity")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1), help="Most edges of a relation that are shown.")
@allow
@as_json
def show(place: Path, entity: str, k: int, allow: tuple[str, ...], as_json: bool) -> None:
    """The edges of ENTITY (KIND:ID, or an id) in PLACE."""
    from kgrec_core.jobs.graph import opened
    from kgrec_core.knowledge.paths import find, neighbours

    graph, _, weights = opened(place, allow)
    found = find(graph, entity)
    edges = [
        {
            "relation": str(r),
            "inverse": inverse,
            "count": count,
            "others": [_named(graph, (r.source if inverse else r.target, row)) for row in rows.tolist()],
            **({"counts": round(weights[r.name], 3)} if r in graph.timeless and r.name in weights else {}),
        }
        for r, inverse, rows, count in neighbours(graph, found, k)
    ]
    if as_json:
        say_json({"entity": _named(graph, found), "edges": edges})
        return
    rows = [
        (
            _arrow(e["relation"], e["inverse"]) + (f" counts {e['counts']:.2f}" if "counts" in e else ""),
            ", ".join(map(_short, e["others"])) + (f" ... {e['count']:,} in all" if e["count"] > k else ""),
        )
        for e in edges
    ]
    say(f"{_short(_named(graph, found))}\n{columns(rows)}")


@click.command(epilog="Example: kgrec graph paths runs/demo item:22423 item:22138")
@place
@click.argument("one")
@click.argument("other")
@click.option("--hops", default=3, show_default=True, type=click.IntRange(1, 4), help="Edges of a path, at most.")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1), help="Paths, at most.")
@allow
@as_json
def paths(place: Path, one: str, other: str, hops: int, k: int, allow: tuple[str, ...], as_json: bool) -> None:
    """What connects ONE and OTHER (KIND:ID, or an id) in PLACE: paths of knowledge, those over rare entities first, and who met both.

    Paths over what was bought or clicked are shown only where nothing else connects the two.
    """
    from kgrec_core.jobs.graph import opened
    from kgrec_core.knowledge.paths import find, shared
    from kgrec_core.knowledge.paths import paths as between

    graph, behaviour, _ = opened(place, allow)
    ends = find(graph, one), find(graph, other)
    both = {str(relation): count for relation, count in shared(graph, *ends, behaviour).items()}
    found = between(graph, *ends, hops, k, [r for r in graph.relations if r not in behaviour])
    found = found or ([] if both else between(graph, *ends, hops, k))
    told = [
        {
            "score": path.score,
            "start": _named(graph, path.start),
            "steps": [{"relation": str(s.relation), "inverse": s.inverse, "to": _named(graph, s.to)} for s in path.steps],
        }
        for path in found
    ]
    if as_json:
        say_json({"paths": told, "both": both})
        return
    for path in told:
        steps = " ".join(f"{_arrow(s['relation'], s['inverse'])} {_short(s['to'])}" for s in path["steps"])
        say(f"{path['score']:.4f}  {_short(path['start'])} {steps}")
    if not told:
        say(f"no path of knowledge of {hops} edges or fewer")
    for relation, count in both.items():
        kind, _, rest = relation.partition("-")
        say(f"{count:,} of kind {kind} {rest.rpartition('->')[0]} both")


@click.command(epilog="Example: kgrec graph export graphs/shop facts.tsv")
@place
@click.argument("file", type=FILE)
@allow
@as_json
def export(place: Path, file: Path, allow: tuple[str, ...], as_json: bool) -> None:
    """Write the knowledge of PLACE as triples into FILE (.tsv or .parquet); `use = "triples"` reads it again."""
    from kgrec_core.jobs.graph import export as written
    from kgrec_core.jobs.graph import opened

    graph, behaviour, _ = opened(place, allow)
    count = written(graph, behaviour, file)
    say_json({"triples": count, "file": str(file)}) if as_json else say(f"{count:,} triples in {file}")


def _named(graph: Any, place: tuple[str, int]) -> dict[str, str]:
    kind, row = place
    shown = graph.gather(kind, [row], *(c for c in ("id", "text") if c in graph.columns(kind))).to_dicts()[0]
    return {"kind": kind, **shown}


def _short(entity: dict[str, str]) -> str:
    text = entity.get("text")
    return f"{entity['kind']}:{entity['id']}" + (f' "{text[:60]}"' if text and text != entity["id"] else "")


def _arrow(relation: str, inverse: bool) -> str:
    name = relation.partition("-")[2].rpartition("->")[0]
    return f"<-{name}-" if inverse else f"-{name}->"


def _relations(relations: dict[str, Any]) -> str:
    weighed = any("counts" in of for of in relations.values())
    rows = [
        (
            name,
            f"{of['edges']:,}",
            f"{of['coverage']:.1%}",
            f"{of['several']:.1%}",
            f"{of['targets']:,}",
            f"{of['hub'][0]} ({of['hub'][1]:,})" if of["hub"] else "-",
            *([f"{of['counts']:.2f}" if "counts" in of else "-"] if weighed else []),
        )
        for name, of in relations.items()
    ]
    return columns([("relation", "edges", "covers", "several", "values", "most at", *(["counts"] if weighed else [])), *rows])


graph = LazyGroup(
    "graph",
    {
        "build": ("kgrec_core.cli.graph:build", "Build the graph of a recipe's data and [knowledge]."),
        "show": ("kgrec_core.cli.graph:show", "The edges of one entity."),
        "stats": ("kgrec_core.cli.graph:stats", "Entities and relations, coverage, hubs."),
        "paths": ("kgrec_core.cli.graph:paths", "What connects two entities."),
        "export": ("kgrec_core.cli.graph:export", "Write the knowledge as triples."),
        "audit": ("kgrec_core.cli.audit:audit", "Say which relation pays, and what leaks."),
    },
    help="Build a knowledge graph from a recipe's tables, and look at it.",
)
