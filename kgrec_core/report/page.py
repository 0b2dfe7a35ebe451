"""A run as one self-contained HTML page for people: what was gained, how it learned, what it shows to whom.

Nothing is loaded from anywhere: styles and plots are inline, and the page forbids itself scripts and requests. Whatever comes from
data (names, texts, ids) is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kgrec_core.data.summary import told
from kgrec_core.evaluation.rank_tables import SYSTEMS
from kgrec_core.graph import Task, histories
from kgrec_core.report.paths import drawn
from kgrec_core.report.plots import Dot, bars, dots, lines
from kgrec_core.report.verdict import apart, short, verdict

if TYPE_CHECKING:
    from kgrec_core.explain.explanation import Explanation
    from kgrec_core.run.asks import Answer
    from kgrec_core.run.run import Run

K, ASKED, EXAMPLES, SHOWN, GROUPS, WHY = 10, 500, 5, 8, 10, 2
COSTS = {"seconds": "seconds", "cpu": "CPU seconds", "peak_mb": "peak memory, MB", "gpu_mb": "on the GPU, MB"}
STYLE = """
:root { color-scheme: light dark; --c0: #2563eb; --c1: #ea580c; --c2: #059669; --c3: #9333ea; --c4: #64748b; --rule: #8884; --ink: #111; }
@media (prefers-color-scheme: dark) { :root { --c0: #60a5fa; --c1: #fb923c; --c2: #34d399; --c3: #c084fc; --c4: #94a3b8; --ink: #eee; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.grid { stroke: var(--rule); } .zero { stroke: var(--ink); } .interval { stroke: var(--c0); stroke-width: 2; } .dot { fill: var(--c0); }
.node { fill: Canvas; stroke: var(--c4); } g:focus-visible { outline: 2px solid var(--c1); } g:focus-visible line { stroke: var(--c1); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; margin: .5rem 0; }
td, th { padding: .15rem .6rem; border-bottom: 1px solid var(--rule); text-align: left; white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } small { opacity: .7; } pre { overflow-x: auto; }
"""


def render(run: Run) -> str:
    """The page, for any domain. Asks the run for the lists of up to 500 sources, drawn with a fixed seed."""
    body = [f"<h1>{escape(run.folder.name)}</h1>", "<p>A kgrec run; figures are means over test queries with 95 % bootstrap intervals.</p>"]
    body += [f"<p>{escape(said)}</p>" for said in run.metrics.get("dropped", [])]
    for task in run.tasks:
        body += _tested(run, task)
        sources = _sources(run, task)
        answers = run.answer(sources, task=task.name, k=K) if sources else []
        body += [*_coverage(run, task, answers), *_examples(run, task, sources[:EXAMPLES], answers[:EXAMPLES])]
    body += _beside(run)
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(run.folder.name)}</title><style>{STYLE}</style>'
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(body) + "\n</body></html>\n"


def summary(run: Run) -> str:
    """What the page says without asking the run anything, for a page around it: figures, audit, data, training, card."""
    body = [f"<p>{escape(said)}</p>" for said in run.metrics.get("dropped", [])]
    return "\n".join([*body, *(part for task in run.tasks for part in _tested(run, task)), *_beside(run)])


def _tested(run: Run, task: Task) -> list[str]:
    """A task's verdict and test figures."""
    of = run.metrics["tasks"][task.name]
    body = [f"<h2>Task {escape(task.name)}: {escape(str(task.relation))}</h2>"]
    body += [f"<p>{escape(said)}</p>" for said in verdict(task.name, of)]
    if rows := short(of, most=40):
        body.append(f"<details open><summary>who could have been published</summary>{_table(rows[0], rows[1:])}</details>")
        body += [f"<p>{escape(said)}</p>" for said in [apart(of)] if said]
    return [*body, *_figures(of["test"]), *_curves(of["test"])]


def _beside(run: Run) -> list[str]:
    return [*_audit(run), *_read(run.metrics), *_training(run.history), *_card(run)]


def _read(metrics: Mapping[str, Any]) -> list[str]:
    """What was read for the fit, with doubts."""
    lines = told(metrics["data"]) if "data" in metrics else []
    return ["<h2>Data</h2>", "<ul>", *(f"<li>{escape(line)}</li>" for line in lines), "</ul>", *_leaks(metrics)] if lines else []


def _audit(run: Run) -> list[str]:
    """What the graph and each relation pay, where `kgrec graph audit` was asked of this very run."""
    file = run.folder.with_name(f"{run.folder.name}.audit.json")
    try:
        kept = json.loads(file.read_text())
        if kept["data"] != run.manifest.get("data"):
            return []
        body = ["<h2>Audit of the graph</h2>", "<p>What it brings, each time fitted again without it; intervals above 0 are gains.</p>"]
        for task, pays in kept["pays"].items():
            for name in dict.fromkeys(name for of in pays.values() for name in of):
                rows = [Dot(what, v["mean"], v["low"], v["high"]) for what, of in pays.items() if (v := of.get(name)) and v["n"]]
                body += [
                    f"<h3>{escape(task)}, {escape(name.replace('_', ' '))}: {escape(kept['metric'][task])}</h3>",
                    dots(rows, signed=True),
                ]
        return body
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []  # there is none, or it is no audit


def _leaks(metrics: Mapping[str, Any]) -> list[str]:
    """What tells the held-out edges, as the fit found it; nothing of a run that was not looked at."""
    if "leaks" not in metrics:
        return []
    found = [f"<li>{escape(leak['grade'])}: {escape(leak['where'])}: {escape(leak['said'])}</li>" for leak in metrics["leaks"]]
    return ["<h3>Leaks</h3>", f"<ul>{''.join(found)}</ul>" if found else "<p>None was found.</p>"]


# --- figures ------------------------------------------------------------------------------------------------------------
def _figures(test: Mapping[str, Any]) -> list[str]:
    """Plot, gains and table of the whole ranking, then of every variant of it."""
    body = []
    for case, found in {"": test, **test.get("variants", {})}.items():
        systems = [(f"floor: {name}", values) for name, values in found["floor"].items()]
        systems += [(name.replace("_", " "), found[name]) for name in SYSTEMS if name in found]
        names = list(dict.fromkeys(name for _, values in systems for name in values))
        if not names:
            continue
        gains = [(f"gain: {name.replace('_', ' ')}", values) for name, values in found["gain"].items()]
        body.append(f"<h3>{escape(case.replace('_', ' ') or 'all targets')}, {escape(names[0])}</h3>")
        body.append(dots(_dots(systems, names[0])))
        if rows := _dots(gains, names[0]):
            body.append(dots(rows, signed=True))
        cells = [[name, *(_interval(values.get(metric)) for metric in names)] for name, values in systems + gains]
        body.append(f"<details><summary>all metrics</summary>{_table(['', *names], cells)}</details>")
    return body


def _curves(test: Mapping[str, Any]) -> list[str]:
    """Accuracy against diversity, and against what new candidates get."""
    body = []
    for name, x, said in (
        ("diversity", "diversity@10", "mean of 1 - cosine within a list, by mmr"),
        ("new", "new@10", "share of places, by boost"),
    ):
        points = [(point[x], point["ndcg@10"]) for point in test.get("curves", {}).get(name, ())]
        if len(points) > 1:
            body += [
                f"<h3>Accuracy against {'diversity' if name == 'diversity' else 'exposure of new'}</h3>",
                lines({"ndcg@10": points}, said),
            ]
    return body


def _dots(systems: Iterable[tuple[str, Mapping[str, Any]]], metric: str) -> list[Dot]:
    found = [(name, values[metric]) for name, values in systems if values.get(metric, {}).get("n")]
    return [Dot(name, v["mean"], v["low"], v["high"]) for name, v in found]


def _interval(value: Mapping[str, float] | None) -> str:
    return "–" if not value or not value["n"] else f"{value['mean']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"


def _training(history: Sequence[Mapping[str, Any]]) -> list[str]:
    if not history:
        return ["<h2>Training</h2><p>Nothing was fine-tuned.</p>"]
    loss = [(r["step"], r["loss"]) for r in history if np.isfinite(r.get("loss", np.nan))]
    select = {name: [(r["step"], r["select"][name]) for r in history] for name in history[0]["select"]}
    body = ["<h2>Training</h2>"]
    body += [lines({"training loss": loss}, "step")] if loss else []
    return [*body, lines({f"{name}, select queries": line for name, line in select.items()}, "step")]


# --- what is shown to whom ----------------------------------------------------------------------------------------------
def _sources(run: Run, task: Task) -> list[str]:
    """Ids of up to 500 living sources, those with a history of the task if there are any."""
    kind, graph = task.relation.source, run.graph
    alive = graph.alive(kind)
    met = np.zeros(len(alive), bool)
    for relation in histories(run.tasks, kind):
        met |= graph.degree(relation, np.arange(len(alive))) > 0
    rows = np.flatnonzero(alive & met if (alive & met).any() else alive)
    rows = np.random.default_rng(0).permutation(rows)[:ASKED]
    return graph.gather(kind, rows, "id")["id"].to_list()


def _coverage(run: Run, task: Task, answers: Sequence[Sequence[Answer]]) -> list[str]:
    """How recommendations and past events spread over the catalogue, in tenths from the rarest to the most popular."""
    kind, graph = task.relation.target, run.graph
    rows = np.flatnonzero(graph.alive(kind))
    shown = graph.rows(kind, [answer.id for given in answers for answer in given])
    counts = np.bincount(shown, minlength=graph.size(kind))[rows]
    events = graph.degree(task.relation, rows, inverse=True)
    covered = f"{(counts > 0).sum():,} of {len(rows):,} ({(counts > 0).mean():.1%})"
    said = f"The first {K} answers for {len(answers):,} {task.relation.source} entities show {covered} {kind} candidates."
    if len(rows) < GROUPS or not counts.sum() or not events.sum():
        return [f"<h3>Coverage</h3><p>{escape(said)}</p>"]
    tenth = np.empty(len(rows), np.int64)
    tenth[np.argsort(events, kind="stable")] = np.arange(len(rows)) * GROUPS // len(rows)
    names = [f"{10 * g}–{10 * g + 10}%" for g in range(GROUPS)]
    shares = {"share of answers": _shares(tenth, counts), "share of past events": _shares(tenth, events)}
    plot = bars(names, shares, "candidates from the rarest to the most popular")
    return [f"<h3>Coverage against popularity</h3><p>{escape(said)}</p>", plot]


def _shares(group: NDArray[np.int64], counts: NDArray[np.int64]) -> list[float]:
    return (np.bincount(group, counts, GROUPS) / counts.sum()).tolist()


def _examples(run: Run, task: Task, sources: Sequence[str], answers: Sequence[Sequence[Answer]]) -> list[str]:
    """What the source met lately, and what it is answered, with every channel's score."""
    body, graph = ["<h3>Examples</h3>"], run.graph
    for source, given in zip(sources, answers, strict=True):
        row = graph.rows(task.relation.source, [source])
        own = graph.gather(task.relation.source, row).to_dicts()[0].get("text") or ""
        body.append(f"<h4>{escape(task.relation.source)} {escape(source)} <small>{escape(own)}</small></h4>")
        for relation in histories(run.tasks, task.relation.source):
            met = graph.gather(relation.target, graph.adjacent(relation, row, last=SHOWN).rows[::-1]).to_dicts()
            if met:
                names = "".join(f"<li>{escape(e.get('text') or e['id'])}</li>" for e in met)
                body.append(f"<p>{escape(relation.name)}, latest first:</p><ul>{names}</ul>")
        channels = list(dict.fromkeys(name for answer in given for name in answer.columns))
        cells = [[a.text or a.id, f"{a.score:.3f}", *(_number(a.columns.get(name)) for name in channels)] for a in given]
        body.append(_table(["answer", "score", *channels], cells))
        (why,) = run.explain([source], task.name, WHY)
        body += [f"<p>{escape(of.item.name)}: {escape(str(of))}</p>{drawn(of)}{_parts(of)}" for of in why]
    return body


def _parts(why: Explanation) -> str:
    """What adds to a score, folded away."""
    rows = [[name, f"{value:+.3g}"] for name, value in why.channels.items()]
    return f"<details><summary>what its score of {why.score:.3g} is the sum of</summary>{_table(['', 'adds'], rows)}</details>"


# --- what it is ---------------------------------------------------------------------------------------------------------
def _card(run: Run) -> list[str]:
    graph, manifest = run.graph, run.manifest
    facts = [[f"entities: {kind}", f"{graph.size(kind):,}"] for kind in graph.entities]
    counts = {r: f", counts {weight:.2f}" for r in graph.timeless if (weight := run.snapshot.relation_weights.get(r.name)) is not None}
    facts += [[f"relation: {relation}", f"{len(table):,}{counts.get(relation, '')}"] for relation, table in graph.relations.items()]
    facts += [["seed", str(manifest.get("seed"))], ["data (SHA-256)", str(manifest.get("data"))]]
    facts += [[name, str(version)] for group in ("plugins", "libraries") for name, version in manifest.get(group, {}).items()]
    recipe = f"<details><summary>recipe</summary><pre>{escape(run.recipe.dumps())}</pre></details>"
    stages = run.metrics.get("stages", {})
    costs = {key: said for key, said in COSTS.items() if any(key in cost for cost in stages.values())}
    rows = [[name, *(f"{cost[key]:,.0f}" if key in cost else "" for key in costs)] for name, cost in stages.items()]
    cost = ["<h3>What the fit cost</h3>", _table(["stage", *costs.values()], rows)] if rows else []
    return ["<h2>Model card</h2>", _table(["", ""], facts), recipe, *cost]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """First column left, the others right."""
    mark = ["", *[' class="n"'] * (len(header) - 1)]
    head = "".join(f"<th{m}>{escape(cell)}</th>" for m, cell in zip(mark, header, strict=True))
    body = "".join(f"<tr>{''.join(f'<td{m}>{escape(c)}</td>' for m, c in zip(mark, row, strict=True))}</tr>" for row in rows)
    return f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
