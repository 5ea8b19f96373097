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
from realtime_bridge.observe.metrics import Metrics
from realtime_bridge.settings import Settings
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


def kubernetes(kind):
    """The one object of this kind."""
    (found,) = [one for one in yaml(DEPLOY / "kubernetes.yaml") if one["kind"] == kind]
    return found


def pod():
    """What runs there: the pod's specification, and its containers by name."""
    spec = kubernetes("Deployment")["spec"]["template"]["spec"]
    return spec, {container["name"]: container for container in spec["containers"]}


def secrets(container):
    """The secrets that a container is given, by variable; none may come wholesale."""
    assert "envFrom" not in container
    return {
        entry["name"]: tuple(entry["valueFrom"]["secretKeyRef"].values())
        for entry in container.get("env", ())
        if "valueFrom" in entry
    }


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
        ("vendor.github-workflows", WORKFLOW.with_name("release.yml")),
        ("vendor.dependabot", REPOSITORY / ".github" / "dependabot.yml"),
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
    _, containers = pod()

    named = set(compose["services"]["realtime-bridge"]["environment"])
    named |= {entry["name"] for one in containers.values() for entry in one.get("env", ())}

    assert named <= SETTINGS | FILES


def test_probes_ask_what_is_served():
    """The paths of /livez and /readyz, on the port that the image listens on."""
    bridge = pod()[1]["realtime-bridge"]

    assert bridge["ports"] == [{"name": "metrics", "containerPort": 9464}]
    assert bridge["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "metrics"}
    assert bridge["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}


def test_the_bot_does_not_get_the_bridges_key():
    """Nor anything by the way: each gets what it is given by name."""
    _, containers = pod()
    (compose,) = yaml(DEPLOY / "compose.yaml")

    assert secrets(containers["bot"]) == {"BOT_TOKEN": ("bot", "BOT_TOKEN")}
    assert secrets(containers["realtime-bridge"]) == {"BOT_TOKEN": ("bot", "BOT_TOKEN")}
    assert "volumeMounts" not in containers["bot"]
    assert compose["services"]["bot"]["secrets"] == ["bot_token"]
    assert "env_file" not in compose["services"]["bot"]


def test_the_bridges_key_is_a_file_that_may_change():
    """Kubernetes replaces files of a whole volume in a running pod, and nothing else."""
    spec, containers = pod()
    bridge = containers["realtime-bridge"]
    (volume,) = spec["volumes"]
    (mount,) = bridge["volumeMounts"]
    told = {entry["name"]: entry.get("value") for entry in bridge["env"]}

    assert volume == {"name": mount["name"], "secret": {"secretName": "realtime-bridge"}}
    assert "subPath" not in mount
    assert told["SUPABASE_KEY_FILE"] == f"{mount['mountPath']}/SUPABASE_KEY"


@pytest.mark.parametrize("name", ["bot", "realtime-bridge"])
def test_containers_can_do_next_to_nothing(name):
    """As the strictest of Kubernetes' Pod Security Standards has it, and with nothing to write."""
    spec, containers = pod()
    context = dict(containers[name]["securityContext"])
    (compose,) = yaml(DEPLOY / "compose.yaml")
    service = compose["services"][name]

    assert context.pop("runAsUser") > 10_000  # images that say root would not start otherwise
    assert context == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert all(volume.keys() == {"name", "secret"} for volume in spec["volumes"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_image_says_who_it_is():
    """So compose needs to say it for the bot only, whose image is root's."""
    (compose,) = yaml(DEPLOY / "compose.yaml")
    (user,) = re.findall(r"^USER (\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)

    assert pod()[1]["realtime-bridge"]["securityContext"]["runAsUser"] == int(user)
    assert compose["services"]["bot"]["user"] == user


def test_only_the_monitoring_may_scrape():
    """The policy is the pod's, lets in one namespace to one port, and nobody else to any."""
    policy = kubernetes("NetworkPolicy")["spec"]
    labels = kubernetes("Deployment")["spec"]["template"]["metadata"]["labels"]
    (rule,) = policy["ingress"]

    assert policy["podSelector"]["matchLabels"] == labels
    assert policy["policyTypes"] == ["Ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 9464}]
    assert rule["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    ]


def test_ports_are_published_on_this_machine_only():
    """Docker's port rules go past the machine's firewall."""
    (compose,) = yaml(DEPLOY / "compose.yaml")

    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


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


def test_the_workflow_trusts_nobody_it_need_not():
    """Actions by commit, since a tag can be moved; a token that reads, and is not left lying about.

    Pull requests of strangers run this: never with secrets.
    """
    (workflow,) = yaml(WORKFLOW)
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    actions = [step for step in steps if "uses" in step]

    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())
    assert set(workflow["on"]) == {"push", "pull_request", "workflow_call"}
    assert "secrets." not in WORKFLOW.read_text()
    assert actions
    for step in actions:
        assert re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40}", step["uses"])
        assert re.search(rf"{step['uses']} # v\d+\.\d+\.\d+\n", WORKFLOW.read_text())
        if step["uses"].startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
