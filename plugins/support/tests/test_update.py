"""Questions that somebody has labelled since: the run learns from them, and says what that did to old and new ones."""

from __future__ import annotations

import json

from kgrec_core import open_run
from kgrec_core.later import Update
from kgrec_core.update import update


def test_labelled_questions(bank, write):
    run = open_run(bank.run)
    task, graph = run.task("intent"), run.graph
    edges = graph.relations[task.relation].drop_nulls().group_by("target", maintain_order=True).head(4)
    texts = graph.gather(task.relation.source, edges["source"].to_numpy(), "text")["text"]
    labels = graph.gather(task.relation.target, edges["target"].to_numpy(), "id")["id"]
    lines = [f'"once more, {text.replace(chr(34), "")} thanks",{label}' for text, label in zip(texts, labels, strict=True)]
    file = write("answered.csv", "text,label", *lines)
    kept = update(run, [file], rule=Update(publish="never", replay=0.5))
    assert not kept.published and kept.reason == 'update.publish = "never"' and kept.folder == f"{bank.run}.update"
    assert not open_run(bank.run).metrics.get("updates") and open_run(kept.folder).metrics["updates"][0]["files"] == ["answered.csv"]
    done = bank.ask("update", "--data", file, "--json")
    found = json.loads(done.out)
    assert done.code == 0 and found["learned"]["intent"] == kept.learned["intent"] > 10, done.err
    assert set(found["figures"]["intent"]["old"]["test"]) == set(found["figures"]["intent"]["new"]["test"]) == {"before", "after", "gain"}
    assert found["published"] is found["reason"].startswith("not worse: ")
    assert found["folder"] == f"{bank.run}{'' if found['published'] else '.update'}"
    assert open_run(found["folder"]).graph.size(task.relation.source) > graph.size(task.relation.source)
