"""The files that others run us by: they parse, and they speak of what there is."""

import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from realtime_bridge.doorbell import Bell, Reason
from realtime_bridge.settings import Settings
from realtime_bridge.telemetry import Metrics
from tests.packaging.conftest import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
WORKFLOW = REPOSITORY / ".github" / "workflows" / "test.yml"
ALERTS = DEPLOY / "prometheus-alerts.yaml"
DASHBOARD = DEPLOY / "grafana-dashboard.json"
SETTINGS = {str(field.alias) for field in Settings.model_fields.values()}
FILES = {f"{name}_FILE" for name in SETTINGS}
SERIES = re.compile(r"\b((?:bridge|process)_[a-z_]+)")
SELECTOR = re.compile(r"(bridge_[a-z_]+)\{([^}]*)\}")


def yaml(path):
    return list(YAML(typ="safe").load_all(path))


def alerts():
    (document,) = yaml(ALERTS)
    return [rule for group in document["groups"] for rule in group["rules"]]


def expressions():
    """Every PromQL expression that is shipped, with where it stands."""
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.fixture(scope="module")
def series():
    """The series that a bridge serves, each with its labels."""
    metrics = Metrics()
    metrics.watch("tma_events", slots=1, in_hand=lambda: 0, outcomes=["delivered", "uncertain"])
    metrics.wakeups.labels("tma_events", "changes")
    metrics.claims.labels("tma_events", "changes")
    metrics.pickup.labels("tma_events")
    metrics.delivery.labels("tma_events")
    metrics.pending.labels("tma_events")
    metrics.oldest_pending.labels("tma_events")
    metrics.doorbell_ready.labels(Bell.CHANGES.value)
    metrics.doorbell_rebuilds.labels(Reason.LOST.value)
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("vendor.compose-spec", DEPLOY / "compose.yaml"),
        ("vendor.github-workflows", WORKFLOW),
    ],
)
def test_they_follow_their_schema(schema, path):
    """As the programs that read them publish it."""
    checker = Path(sys.executable).parent / "check-jsonschema"

    checked = subprocess.run(
        [checker, "--builtin-schema", schema, path], check=False, capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("expression", [text for _, text in expressions()])
def test_dashboard_and_alerts_ask_for_series_that_there_are(series, expression):
    """By their names and their labels."""
    asked = set(SERIES.findall(expression))
    assert asked
    assert asked <= series.keys()
    for name, selector in SELECTOR.findall(expression):
        labels = set(re.findall(r"(\w+)\s*[=!]~?", selector)) - {"instance"}
        assert labels <= series[name]


def test_every_metric_is_on_the_dashboard_or_in_an_alert(series):
    """One that nobody looks at is not worth its series."""
    looked_at = {name for _, text in expressions() for name in SERIES.findall(text)}
    base = re.compile(r"_(bucket|count|sum|total)$")

    ours = {base.sub("", name) for name in series if name.startswith("bridge_")}
    assert ours - {base.sub("", name) for name in looked_at} == {"bridge_wakeups"}


def test_the_dashboard_can_be_imported():
    """Ids are unique, panels do not overlap, and the data source is a choice."""
    board = json.loads(DASHBOARD.read_text())
    places = [
        (column, row)
        for panel in board["panels"]
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len(places) == len(set(places))
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {"${datasource}"}


def test_every_alert_has_its_page_in_the_runbook():
    """Whoever is woken by it finds what to do."""
    runbook = (REPOSITORY / "docs" / "operations.md").read_text()
    headings = {line[4:].strip() for line in runbook.splitlines() if line.startswith("### ")}

    for rule in alerts():
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md"
        assert anchor == rule["alert"].lower()
        assert rule["alert"] in headings
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_settings_are_called_by_their_names():
    """In what configures containers; each is one of ours or of Python's."""
    (compose,) = yaml(DEPLOY / "compose.yaml")
    (kubernetes,) = yaml(DEPLOY / "kubernetes.yaml")
    containers = kubernetes["spec"]["template"]["spec"]["containers"]

    named = set(compose["services"]["realtime-bridge"]["environment"])
    named |= {entry["name"] for container in containers for entry in container.get("env", ())}

    assert named <= SETTINGS | FILES


def test_probes_ask_what_is_served():
    """The paths of /livez and /readyz, on the port that the image listens on."""
    (kubernetes,) = yaml(DEPLOY / "kubernetes.yaml")
    bridge = kubernetes["spec"]["template"]["spec"]["containers"][1]

    assert bridge["ports"] == [{"name": "metrics", "containerPort": 9464}]
    assert bridge["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "metrics"}
    assert bridge["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert bridge["securityContext"]["runAsNonRoot"] is True


def test_the_unit_uses_what_the_bridge_tells_systemd(tmp_path):
    """READY, WATCHDOG and exit code 78; and systemd's own check, where there is one."""
    text = (DEPLOY / "realtime-bridge.service").read_text()
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(text)
    here = tmp_path / "realtime-bridge.service"
    here.write_text(text.replace("/opt/realtime-bridge/bin/realtime-bridge", sys.executable))

    if analyze := shutil.which("systemd-analyze"):
        subprocess.run([analyze, "verify", here], check=True, capture_output=True)

    service = unit["Service"]
    assert (service["Type"], service["RestartPreventExitStatus"]) == ("notify", "78")
    assert int(service["WatchdogSec"]) > 0
    assert float(service["TimeoutStopSec"]) > Settings.model_fields["stop_grace"].default


def test_the_workflow_runs_what_a_developer_runs():
    """No second way to test."""
    (workflow,) = yaml(WORKFLOW)
    steps = workflow["jobs"]["test"]["steps"]

    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert {"make lint", "make test"} <= set((REPOSITORY / ".ci" / "run").read_text().splitlines())
    assert workflow["permissions"] == {"contents": "read"}
