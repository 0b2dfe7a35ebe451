"""The graph around an answer, drawn: whole, escaped, and reachable by the keyboard."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from kgrec_core.explain.explanation import Explanation, Node, Path
from kgrec_core.report.page import render
from kgrec_core.report.paths import drawn

ITEM = Node("item", "1", "Mug <script>alert(1)</script> & Co")
LAMP = Node("item", "2", "A lamp whose name is far too long to fit into any box at all")
PATHS = (
    Path("graph", (LAMP, Node("brand", "b", 'AC"ME'), ITEM), ("has_brand",) * 2, 0.5),
    Path("graph", (Node("item", "3", "Bowl"), ITEM), ("goes_with",), 0.4),
    Path("behaviour", (LAMP, Node("user", ""), ITEM), ("buys",) * 2, 0.3, 7),
    Path("text", (LAMP, ITEM), ("buys",), 0.2, 1, ("red", "tall")),
    Path("habit", (ITEM,), ("buys",), 0.1, 2),
    Path("examples", (Node("query", "q", "Where?"), ITEM), ("answered_by",), 0.1),
)


@pytest.mark.parametrize("paths", [PATHS, *((path,) for path in PATHS)], ids=lambda paths: f"{len(paths)} {paths[0].evidence}")
def test_every_path_is_drawn_with_a_title_and_every_node_can_be_reached(paths):
    svg = drawn(Explanation(ITEM, 2.0, paths, {"a": 2.0}, {"a": 2.0}))
    root = ET.fromstring(svg)  # well formed, so everything is escaped
    groups = [g for g in root.iter("g") if g.get("tabindex") == "0"]
    assert all(g.get("aria-label") and g.find("title").text for g in groups)
    titles = " ".join(g.find("title").text for g in groups)
    for path in paths:
        assert path.nodes[-1].name in titles and f"{path.weight:.3g} of a score of 2" in titles
        assert len(path.nodes) == 1 or path.nodes[0].name in titles
    boxes = [r for r in root.iter("rect")]
    assert all(float(r.get("x")) >= 0 and float(r.get("x")) + float(r.get("width")) <= 720 for r in boxes)
    lines = list(root.iter("line"))
    assert len(lines) >= len(paths) and all(float(line.get("stroke-width")) <= 5 for line in lines)


def test_without_a_path_nothing_is_drawn():
    assert drawn(Explanation(ITEM, 1.0, (), {}, {})) == ""


def test_a_report_draws_answers_says_what_leaks_and_shows_the_audit_of_this_run(copy):
    from kgrec_core.lifecycle.audit import beside
    from kgrec_core.run.run import open_run

    run = open_run(copy)
    kept = {"data": run.manifest["data"], "metric": {"buys": "ndcg@10"}, "systems": {}, "leaks": []}
    kept["pays"] = {"buys": {"has_<brand>": {"cold": {"mean": 0.1, "low": 0.05, "high": 0.2, "n": 9}}}}
    beside(copy).write_text(json.dumps(kept))
    page = render(run)
    assert '<svg viewBox="0 0 720' in page and "is the sum of" in page and "<h3>Leaks</h3><p>None was found.</p>" in page.replace("\n", "")
    assert "What the fit cost" in page and '<th class="n">peak memory, MB</th>' in page and "on the GPU" not in page
    assert "Audit of the graph" in page and "has_&lt;brand&gt;" in page and "Accuracy against diversity" in page
    for other in ("{", json.dumps({**kept, "data": "another run's"}), "[]"):
        beside(copy).write_text(other)
        assert "Audit of the graph" not in render(run)
