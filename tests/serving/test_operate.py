"""The files of docs/operate: well formed, and about figures that the service really has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from kgrec_core.cli.main import OWN
from kgrec_core.serving.metrics import Metrics

OPERATE = Path(__file__).parents[2] / "docs" / "operate"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def exported() -> set[str]:
    return {family.name + suffix for family in Metrics().registry.collect() for suffix in SUFFIXES[family.type]}


def labels() -> dict[str, set[str]]:
    """By the family's name, those of the histogram's buckets included."""
    return {of._name: {*of._labelnames, "le", "instance", "job", "namespace", "pod"} for of in Metrics().registry._collector_to_names}


@pytest.mark.parametrize("name", ["rules.yml", "dashboard.json", "kubernetes.yaml", "adapter.yaml"])
def test_every_figure_that_is_named_is_exported_with_its_labels(name):
    text = (OPERATE / name).read_text()
    found = set(re.findall(r"\bkgrec_[a-z_]+\b", text))
    assert found and found - exported() == set()
    known = labels()
    for figure, picked in re.findall(r"\b(kgrec_[a-z_]+)\{([^}]*)\}", text.replace('\\"', '"')):
        family = re.sub("_(total|bucket|sum|count)$", "", figure)
        assert set(re.findall(r"(\w+)=", picked)) <= known[family], figure


def test_what_an_alert_waits_for_is_counted_from_nought():
    """Prometheus sees no increase in a series that begins with one."""
    awaited = set(re.findall(r'increase\(kgrec_reloads_total\{what="([^"]+)"', (OPERATE / "rules.yml").read_text()))
    metrics = Metrics(["shop"])
    assert len(awaited) == 3 and all(f'kgrec_reloads_total{{run="shop",what="{what}"}} 0.0' in metrics.text().decode() for what in awaited)


def test_no_gauge_tells_of_a_worker_that_is_gone():
    """Of several workers prometheus_client forgets a dead one's live gauges alone."""
    modes = {of._name: of._multiprocess_mode for of in Metrics().registry._collector_to_names if of._type == "gauge"}
    assert modes and all(mode.startswith("live") or mode == "mostrecent" for mode in modes.values()), modes


def test_what_is_yaml_or_json_can_be_read_and_runs_as_nobody():
    objects = {of["kind"]: of for of in yaml.safe_load_all((OPERATE / "kubernetes.yaml").read_text())}
    assert set(objects) == {"Deployment", "Service", "PersistentVolumeClaim", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    assert objects["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == objects["Deployment"]["metadata"]["name"]
    compose = yaml.safe_load((OPERATE / "compose.yaml").read_text())["services"]
    assert (
        compose["kgrec"]["read_only"]
        and (OPERATE / compose["kgrec"]["build"]["context"] / compose["kgrec"]["build"]["dockerfile"]).is_file()
    )
    mounted = [volume.partition(":")[0] for volume in compose["prometheus"]["volumes"] if volume.startswith("./")]
    assert mounted and all((OPERATE / file).is_file() for file in mounted)
    panels = json.loads((OPERATE / "dashboard.json").read_text())["panels"]
    assert panels and len({panel["id"] for panel in panels}) == len(panels)
    assert re.search(r"^USER 10001", (OPERATE / "Dockerfile").read_text(), re.M)


def test_the_adapter_serves_what_the_autoscaler_asks_for():
    objects = {of["kind"]: of for of in yaml.safe_load_all((OPERATE / "kubernetes.yaml").read_text())}
    (asked,) = objects["HorizontalPodAutoscaler"]["spec"]["metrics"]
    (rule,) = yaml.safe_load((OPERATE / "adapter.yaml").read_text())["rules"]["custom"]
    figure = rule["seriesQuery"].partition("{")[0]
    assert asked["pods"]["metric"]["name"] == rule["name"]["as"] and re.fullmatch(rule["name"]["matches"], figure) and figure in exported()
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"} == set(re.findall(r'(\w+)!=""', rule["seriesQuery"]))


def test_what_is_started_are_commands_and_options_that_exist():
    from kgrec_core.cli.serve import serve
    from kgrec_core.serving.process import GRACE

    options, unit = {name for of in serve.params for name in of.opts}, (OPERATE / "kgrec.service").read_text()
    started = re.search(r"^ExecStart=(.*)$", unit, re.M).group(1)
    started += re.search(r"^ENTRYPOINT (.*)$", (OPERATE / "Dockerfile").read_text(), re.M).group(1)
    started += str(yaml.safe_load((OPERATE / "compose.yaml").read_text())["services"]["kgrec"]["command"])
    used = set(re.findall(r"--[a-z]+", started))
    assert "serve" in OWN and {"--host", "--keys", "--workers"} <= used <= options
    assert int(re.search(r"TimeoutStopSec=(\d+)", unit).group(1)) > GRACE


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Debian's package prometheus")
@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", OPERATE / "rules.yml"),
        ("check", "config", OPERATE / "prometheus.yml"),
        ("test", "rules", Path(__file__).with_name("rules_test.yml")),
    ],
)
def test_promtool_reads_the_rules_and_they_fire_when_they_should(words):
    done = subprocess.run(["promtool", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_reads_the_unit(tmp_path):
    unit = (OPERATE / "kgrec.service").read_text().replace("/opt/kgrec/bin/kgrec", shutil.which("true"))
    (tmp_path / "kgrec.service").write_text(unit)
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "kgrec.service"], capture_output=True, text=True)
    told = [line for line in done.stderr.splitlines() if "kgrec.service" in line]
    assert told == []
