"""What runs and watches the program elsewhere: Kubernetes, Prometheus, Grafana. Every name there is the program's."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import msgspec
import pytest
import typer
import yaml
from prometheus_client import Counter, Gauge, Histogram

from pipeline import metrics, worker
from pipeline.__main__ import cli
from pipeline.errors import Misconfigured
from pipeline.settings import ROLES, Settings, read
from tests.program import ROOT

DEPLOY = ROOT / "deploy"
FOLDER = DEPLOY / "kubernetes"
VARIABLES = {item.metadata["variable"]: item.metadata["secret"] for item in fields(Settings) if item.metadata}
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
PROVIDERS = {"ANTHROPIC_API_KEY", "MISTRAL_API_KEY", "GEMINI_API_KEY"}
"""litellm reads these by itself."""
WRITABLE = "/tmp"


def documents(name: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all((FOLDER / name).read_text()) if document]


def kustomization() -> dict[str, Any]:
    (document,) = documents("kustomization.yaml")
    return document


RESOURCES = [document for name in kustomization()["resources"] for document in documents(name)]
(SECRET,) = documents("secret.example.yaml")


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {document["metadata"]["name"]: document for document in RESOURCES if document["kind"] == kind}


(CONFIG,) = of_kind("ConfigMap").values()
DEPLOYMENTS = of_kind("Deployment")


def pod(role: str) -> dict[str, Any]:
    found: dict[str, Any] = DEPLOYMENTS[f"pulseguard-{role}"]["spec"]["template"]["spec"]
    return found


def container(role: str) -> dict[str, Any]:
    (found,) = pod(role)["containers"]
    return dict(found)


def secrets(role: str) -> set[str]:
    return {item["valueFrom"]["secretKeyRef"]["key"] for item in container(role)["env"]}


def ports(role: str) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container(role)["ports"]}


def test_every_manifest_is_applied_but_the_example():
    """A file that nothing names would be forgotten; the Secret is the user's own."""
    assert {path.name for path in FOLDER.iterdir()} == {
        "kustomization.yaml", "secret.example.yaml", *kustomization()["resources"]
    }  # fmt: skip
    assert of_kind("Secret") == {}
    assert set(DEPLOYMENTS) == {f"pulseguard-{role}" for role in ROLES}


def test_the_configuration_names_settings_that_are_read_and_are_no_secrets():
    """A misspelt variable would be passed over in silence."""
    assert {name for name in CONFIG["data"] if VARIABLES.get(name) is not False} == set()
    assert all(isinstance(value, str) for value in CONFIG["data"].values())
    settings = read(CONFIG["data"] | {"DATABASE_URL": "postgresql://x"})
    assert (settings.http_port, settings.relay_port, settings.metrics_port) == (8000, 8765, 9464)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_given_the_secrets_that_it_needs_and_that_the_example_has(role: str):
    """Each under its own name, each one the program's or a model provider's."""
    for item in container(role)["env"]:
        reference = item["valueFrom"]["secretKeyRef"]
        assert (reference["name"], reference["key"]) == (SECRET["metadata"]["name"], item["name"])
        assert reference.get("optional", False) == (item["name"] != "DATABASE_URL")
    assert secrets(role) <= {*VARIABLES, *PROVIDERS}
    assert secrets(role) <= set(SECRET["stringData"])
    assert container(role)["envFrom"] == [{"configMapRef": {"name": CONFIG["metadata"]["name"]}}]


def test_every_secret_is_used_and_none_is_real():
    """The example's empty values count as not named, and its one address can be taken for nobody's."""
    assert set().union(*map(secrets, ROLES)) == set(SECRET["stringData"])
    filled = {name: value for name, value in SECRET["stringData"].items() if value}
    assert list(filled) == ["DATABASE_URL"]
    assert "CHANGE-ME" in filled["DATABASE_URL"]
    secret = {name for name, is_secret in VARIABLES.items() if is_secret}
    assert secret - {*SECRET["stringData"]} == set()


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_runs_as_the_image_says_and_may_do_nothing_else(role: str):
    """Unprivileged, on a read-only root; what it writes is under a volume of its own."""
    user, group = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)[0]
    security = pod(role)["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"], security["runAsNonRoot"]) == (int(user), int(group), True)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(role)["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    assert pod(role)["automountServiceAccountToken"] is False
    assert [mount["mountPath"] for mount in container(role)["volumeMounts"]] == [WRITABLE]
    assert CONFIG["data"]["PULSEGUARD_HOME"].startswith(f"{WRITABLE}/")


@pytest.mark.parametrize("role", ROLES)
def test_a_service_of_the_cluster_sets_no_variable_of_ours(role: str):
    """Kubernetes would set KAFKA_PORT=tcp://… for a Service named kafka, and the program refuse to start."""
    assert pod(role)["enableServiceLinks"] is False
    with pytest.raises(Misconfigured, match="KAFKA_PORT"):
        read({"KAFKA_PORT": "tcp://10.0.0.1:9092"})


@pytest.mark.parametrize("role", ROLES)
def test_the_image_is_the_dockerfiles_in_this_version(role: str):
    """One image, one version, and the role as its argument."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (image,) = kustomization()["images"]
    assert (image["name"], image["newTag"]) == (container(role)["image"], version)
    assert container(role)["args"] == ["run", role]
    assert 'ENTRYPOINT ["python", "-m", "pipeline"]' in DOCKERFILE


@pytest.mark.parametrize("role", ROLES)
def test_ports_are_those_that_the_role_serves(role: str):
    """The gateway has /metrics beside its API; of the others each has a port for them."""
    settings = {name: int(CONFIG["data"][f"{name}_PORT"]) for name in ("HTTP", "RELAY", "METRICS")}
    served = {
        "gateway": {"http": settings["HTTP"]}, "relay": {"feed": settings["RELAY"], "metrics": settings["METRICS"]}
    }  # fmt: skip
    assert ports(role) == served.get(role, {"metrics": settings["METRICS"]})
    exposed = re.findall(r"^EXPOSE (.+)$", DOCKERFILE, re.MULTILINE)[0].split()
    assert {str(port) for port in settings.values()} == set(exposed)


@pytest.mark.parametrize("role", ROLES)
def test_probes_ask_for_what_is_served(role: str):
    """/readyz is the gateway's alone: a worker that waits for PostgreSQL must not be restarted for it."""
    asked = {name: container(role)[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {probe["port"] for probe in asked.values()} <= set(ports(role))
    assert asked["startup"] == asked["liveness"]
    assert asked["liveness"]["path"] == "/healthz"
    assert asked["readiness"]["path"] == ("/readyz" if role == "gateway" else "/healthz")
    handlers = (ROOT / "pipeline" / "gateway" / "app.py").read_text()
    assert '"/healthz"' in handlers
    assert '"/readyz"' in handlers


@pytest.mark.parametrize("role", ROLES)
def test_a_stop_has_the_time_that_it_needs(role: str):
    """What is in flight is finished, up to the drain's limit and what comes around it; compose says likewise."""
    assert pod(role)["terminationGracePeriodSeconds"] >= worker.DRAIN_SECONDS + 20
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert int(services[role]["stop_grace_period"].removesuffix("s")) >= worker.DRAIN_SECONDS + 20


@pytest.mark.parametrize("role", ROLES)
def test_selectors_find_the_pods_of_their_role(role: str):
    """Deployment, disruption budget and Service mean the same pods."""
    labels = DEPLOYMENTS[f"pulseguard-{role}"]["spec"]["template"]["metadata"]["labels"]
    assert labels == {"app.kubernetes.io/name": "pulseguard", "app.kubernetes.io/component": role}
    assert DEPLOYMENTS[f"pulseguard-{role}"]["spec"]["selector"]["matchLabels"] == labels
    budget = of_kind("PodDisruptionBudget")[f"pulseguard-{role}"]["spec"]
    assert (budget["selector"]["matchLabels"], budget["maxUnavailable"]) == (labels, 1)
    service = of_kind("Service").get(f"pulseguard-{role}")
    assert (service is not None) == (role in {"gateway", "relay"})
    for port in service["spec"]["ports"] if service else []:
        assert service is not None
        assert service["spec"]["selector"] == labels
        assert port["port"] == ports(role)[port["targetPort"]]


def test_network_policies_name_roles_and_ports_that_exist():
    """A port by a name that no pod has would let nobody in."""
    known = set().union(*(ports(role) for role in ROLES))
    for policy in of_kind("NetworkPolicy").values():
        spec = policy["spec"]
        for expression in spec["podSelector"].get("matchExpressions", []):
            assert set(expression["values"]) <= {*ROLES, "pulseguard"}
        for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
            assert {port["port"] for port in rule["ports"] if isinstance(port["port"], str)} <= known


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]
DASHBOARD: dict[str, Any] = msgspec.json.decode((DEPLOY / "grafana" / "dashboards" / "pulseguard.json").read_bytes())


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))


DECLARED = [one for one in vars(metrics).values() if isinstance(one, Counter | Gauge | Histogram)]
SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
EXPORTED = {one._name + suffix for one in DECLARED for suffix in SUFFIXES[one._type]}


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_metric_that_is_asked_for_exists(expression: str):
    """A dashboard and an alert on a name that nothing serves are silent for ever."""
    own = {rule["record"] for rule in rules() if "record" in rule}
    named = set(re.findall(r"\b(?:pulseguard|process)[a-z0-9_:]+", expression))
    assert named - own - EXPORTED - {"process_resident_memory_bytes"} == set()
    assert named or "up{" in expression


def test_what_an_alert_counts_is_counted_from_0():
    """Prometheus does not see the first event of a counter that begins with it."""
    program = (
        "from pipeline import metrics; from prometheus_client import generate_latest; print(generate_latest().decode())"
    )
    served = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    counted = {name for rule in rules() for name in re.findall(r"(?:increase|rate)\((pulseguard_\w+)", rule["expr"])}
    assert {name for name in counted if not re.search(rf"^{name}\b.* 0\.0$", served, re.MULTILINE)} == set()


def test_every_metric_is_shown_or_watched():
    """What nobody looks at need not be counted."""
    text = "\n".join(expressions())
    assert {one._name for one in DECLARED if one._name not in text} == set()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_is_and_what_to_do(rule: dict[str, Any]):
    """Whoever is woken by it knows nothing else of the program."""
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert "for" in rule or "increase" in rule["expr"]
    assert set(rule["annotations"]) == {"summary", "description"}
    assert len(rule["annotations"]["description"].split()) > 20


def test_an_alert_names_settings_and_commands_that_exist():
    """Advice that cannot be followed is worse than none."""
    text = "\n".join(rule["annotations"]["description"] for rule in ALERTS)
    named = set(re.findall(r"\b[A-Z]{3,}(?:_[A-Z]+)+\b", text))
    assert named - set(VARIABLES) == set()
    commands = {name.split()[0] for name in typer.main.get_command(cli).commands}  # type: ignore[attr-defined]
    assert set(re.findall(r"`pulseguard ([a-z]+)", text)) <= commands


def test_prometheus_asks_every_role_where_it_answers():
    """The targets are the services of compose, under the ports that it sets; the rules know each by its role."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert config["rule_files"] == ["alerts.yml"]
    (job,) = config["scrape_configs"]
    targets = {item["labels"]["role"]: item["targets"] for item in job["static_configs"]}
    assert targets == {
        role: [f"{role}:{8000 if role == 'gateway' else CONFIG['data']['METRICS_PORT']}"] for role in ROLES
    }
    gone = {rule["labels"]["role"] for rule in ALERTS if rule["alert"] == "PulseGuardRoleGone"}
    assert gone == set(ROLES)


def test_prometheus_finds_the_pods():
    """By the labels and the names of ports that the manifests give them."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "kubernetes.yml").read_text())
    (job,) = config["scrape_configs"]
    kept = {tuple(step["source_labels"]): step["regex"] for step in job["relabel_configs"] if "regex" in step}
    wanted = kept["__meta_kubernetes_pod_container_port_name",]
    asked = {role: [port for port in ports(role) if re.fullmatch(wanted, port)] for role in ROLES}
    assert asked == {role: ["http" if role == "gateway" else "metrics"] for role in ROLES}
    (place,) = job["kubernetes_sd_configs"]
    assert place["namespaces"]["names"] == list(of_kind("Namespace")) == [kustomization()["namespace"]]
    assert job["job_name"] == "pulseguard"


def test_the_dashboard_is_one_that_grafana_takes():
    """Panels have numbers of their own, lie in the grid beside each other, and ask the source that is chosen."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["targets"]
        sources = [item["datasource"]["uid"] for item in [*panel.get("targets", []), *[panel][: "targets" in panel]]]
        assert set(sources) <= {"${datasource}"}
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")


def test_grafana_is_provisioned_with_what_is_there():
    """Compose mounts the folders that the provisioning names, and the source is compose's Prometheus."""
    folder = DEPLOY / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards" / "pulseguard.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounts = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"] if mount.startswith("./"))
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert source["url"] == "http://prometheus:9090"
    assert all((ROOT / path).exists() for path in mounts)
