"""Rules on what must fit together. A rule takes the objects of a rendering, and returns what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from broker.settings import FILE_SUFFIX, PREFIX, Settings, SettingsError, load
from edge.settings import EdgeSettings
from edge.settings import plans as sensor_plans
from gateway.history.settings import HistorySettings
from gateway.server import STOP_WITHIN_S
from gateway.settings import GatewaySettings
from tests.manifests.flows import ANYONE, closed, flows, may_look_up_names
from tests.manifests.looking import (
    container,
    containers,
    matches,
    of_kind,
    pods,
    port_of,
    workloads,
)
from tests.manifests.rendering import Object
from tests.support import REPOSITORY

PROGRAMS: dict[str, type[Settings]] = {
    "edge/edge": EdgeSettings,
    "gateway/gateway": GatewaySettings,
    "recorder/recorder": HistorySettings,
}
# by the settings' own defaults
LISTENS = {
    "edge": EdgeSettings.model_fields["health_port"].default,
    "gateway": GatewaySettings.model_fields["port"].default,
    "recorder": HistorySettings.model_fields["health_port"].default,
}
PLAIN_PORT, TLS_PORT = 1883, 8883
NODE_PORTS = {"gateway": 30001, "mosquitto-outside": 31883}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
PATHS = {"/healthz", "/readyz"}
STARTED_WITHIN_S = 60  # a pod that takes readings, on a slow Pi
_REFERENCE = re.compile(r"\$\(([A-Z_0-9]+)\)")
_GENERATED = re.compile(r"-[a-z0-9]{10}$")


def selectors_match(objects: list[Object]) -> Iterator[str]:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(objects).items()}
    for name, one in workloads(objects).items():
        if not matches(one["spec"]["selector"], labels[name]):
            yield f"{name}: its selector does not match its own pods"
    for one in of_kind(objects, "Service"):
        selector = {"matchLabels": one["spec"]["selector"]}
        if sum(matches(selector, pod) for pod in labels.values()) != 1:
            yield f"Service {one['metadata']['name']}: not the pods of one workload"
    for one in of_kind(objects, "NetworkPolicy", "PodDisruptionBudget"):
        selector = one["spec"].get("podSelector", one["spec"].get("selector"))
        if not any(matches(selector, pod) for pod in labels.values()):
            yield f"{one['kind']} {one['metadata']['name']}: selects nothing"


def targets_are_there(objects: list[Object]) -> Iterator[str]:
    """Of autoscalers and of Prometheus."""
    for one in of_kind(objects, "HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        if workloads(objects).get(target["name"], {}).get("kind") != target["kind"]:
            yield f"autoscaler of {target}"
        elif "replicas" in workloads(objects)[target["name"]]["spec"]:
            yield f"{target['name']}: has replicas, which every deploy would set back"
    for one in of_kind(objects, "ServiceMonitor"):
        if (found := _monitored(objects, one)) != 1:
            yield f"ServiceMonitor {one['metadata']['name']}: {found} Services with its port"


def ports_match(objects: list[Object]) -> Iterator[str]:
    """Services, pods and the settings' defaults, which no manifest overrides."""
    for service in of_kind(objects, "Service"):
        name, port = service["metadata"]["name"], service["spec"]["ports"][0]
        selector = {"matchLabels": service["spec"]["selector"]}
        for each in service["spec"]["ports"]:
            for pod in pods(objects).values():
                number = port_of(pod, each["targetPort"])
                if matches(selector, pod["metadata"]["labels"]) and number != each["port"]:
                    yield f"Service {name}: {each} does not lead to {number}"
        if port.get("nodePort") != NODE_PORTS.get(name):
            yield f"Service {name}: nodePort {port.get('nodePort')}"
    for program, number in LISTENS.items():
        if program in pods(objects) and port_of(pods(objects)[program], number) is None:
            yield f"{program}: does not listen on {number}"
    listens = _config_of(objects, "mosquitto-listener")["listener.conf"]
    for port in _broker_ports(objects):
        if f"listener {port}\n" not in listens:
            yield f"mosquitto: does not listen on {port}"


def _broker_ports(objects: list[Object]) -> set[int]:
    """What the broker listens on."""
    found = (port_of(pods(objects)["mosquitto"], name) for name in ("mqtt", "mqtts"))
    return {port for port in found if port is not None}


def addresses_lead_to_services(objects: list[Object]) -> Iterator[str]:
    tls = TLS_PORT in _broker_ports(objects)
    ports = {
        one["metadata"]["name"]: {port["port"] for port in one["spec"]["ports"]}
        for one in of_kind(objects, "Service")
    }
    if ports["mosquitto-outside"] != {TLS_PORT if tls else PLAIN_PORT}:
        yield f"mosquitto-outside: leads to {ports['mosquitto-outside']}"
    for where, _, one in containers(objects, initial=False):
        for variable in one.get("env", []):
            if variable["name"] not in ("BRISA_BROKER_URL", "BRISA_HISTORY_URL"):
                continue
            url = urlsplit(variable["value"].replace("$(BRISA_NODE)", "node"))
            if (url.port or 5432) not in ports.get(str(url.hostname), ()):
                yield f"{where}: {variable['value']} leads nowhere"
            if "mqtt" in url.scheme and (url.scheme == "mqtts") != tls:
                yield f"{where}: {variable['value']} and the listener do not agree on TLS"


def gateways_are_counted(objects: list[Object]) -> Iterator[str]:
    """By a name with an address for each of them, which they may look up."""
    gateway = pods(objects)["gateway"]
    given = _environment(objects, container(objects, "gateway/gateway"))
    name = given.get("BRISA_REPLICAS_NAME")
    for one in of_kind(objects, "Service"):
        if one["metadata"]["name"] == name:
            spec, labels = one["spec"], gateway["metadata"]["labels"]
            if spec.get("clusterIP") != "None":
                yield f"Service {name}: has one address for all"
            if not spec.get("publishNotReadyAddresses"):
                yield f"Service {name}: has no address for those that are not ready"
            if not matches({"matchLabels": spec["selector"]}, labels):
                yield f"Service {name}: is not of the gateways"
            break
    else:
        yield f"gateway: no Service is called {name}"
    if not may_look_up_names(objects, gateway):
        yield "gateway: may not look up names"


def settings_are_known_and_good(objects: list[Object]) -> Iterator[str]:
    for where, cls in PROGRAMS.items():
        if not any(where == one for one, _, _ in containers(objects)):
            continue
        one = container(objects, where)
        given = _environment(objects, one)
        names = {PREFIX + name.upper() for name in cls.model_fields}
        for name in given:
            if name not in names and name.removesuffix(FILE_SUFFIX) not in names:
                yield f"{where}: {name} is no setting"
        values = {name: value for name, value in given.items() if not name.endswith(FILE_SUFFIX)}
        try:
            settings = load(cls, values)
            if isinstance(settings, EdgeSettings):
                sensor_plans(settings)
        except SettingsError as error:
            yield f"{where}: {error}"


def variables_come_before_their_use(objects: list[Object]) -> Iterator[str]:
    for where, _, one in containers(objects):
        known: set[str] = set()
        for variable in one.get("env", []):
            missing = set(_REFERENCE.findall(variable.get("value", ""))) - known
            if missing:
                yield f"{where}: {variable['name']} uses {missing} before it is there"
            known.add(variable["name"])


def secrets_are_generated(objects: list[Object]) -> Iterator[str]:
    for one in of_kind(objects, "Secret"):
        if not _GENERATED.search(one["metadata"]["name"]):
            yield f"Secret {one['metadata']['name']}: was not generated"


def references_are_there(objects: list[Object]) -> Iterator[str]:
    """Secrets, ConfigMaps and volumes."""
    data = {
        (one["kind"], one["metadata"]["name"]): set(one.get("data", {}))
        for one in of_kind(objects, "Secret", "ConfigMap")
    }
    for one in of_kind(objects, "Certificate"):
        data["Secret", one["spec"]["secretName"]] = {"ca.crt", "tls.crt", "tls.key"}
    for name, pod in pods(objects).items():
        for kind, wanted, keys in _sources(pod):
            if not keys <= data.get((kind, wanted), set()) or (kind, wanted) not in data:
                yield f"{name}: {kind} {wanted} {keys or ''} is not there"
    for where, spec, one in containers(objects):
        claims = workloads(objects)[where.split("/")[0]]["spec"].get("volumeClaimTemplates", [])
        there = {volume["name"] for volume in spec["volumes"]}
        there |= {claim["metadata"]["name"] for claim in claims}
        used = {mount["name"] for mount in one.get("volumeMounts", [])}
        if not used <= there:
            yield f"{where}: volumes {used - there}"


def _sources(pod: Object) -> Iterator[tuple[str, str, set[str]]]:
    """Kind, name and keys of what a pod takes from Secrets and ConfigMaps."""
    for volume in pod["spec"]["volumes"]:
        if source := volume.get("secret"):
            yield "Secret", source["secretName"], {item["key"] for item in source.get("items", [])}
        if source := volume.get("configMap"):
            yield "ConfigMap", source["name"], set()
    for one in pod["spec"]["containers"]:
        for source in one.get("envFrom", []):
            yield "ConfigMap", source["configMapRef"]["name"], set()


def only_who_must_talks(objects: list[Object]) -> Iterator[str]:
    there = set(pods(objects))
    for name in there - closed(objects):
        yield f"{name}: open to everything"
    # no stranger reaches the broker that nodes use; without TLS, where there is TLS, edges that have
    # not moved yet
    ports = _broker_ports(objects)
    wanted = {(ANYONE, "mosquitto-outside", max(ports)), (ANYONE, "gateway", LISTENS["gateway"])}
    wanted |= {
        (one, "mosquitto", mqtt)
        for one in ("edge", "gateway", "recorder", "mosquitto-outside")
        for mqtt in ports
    }
    wanted |= {(one, "postgres", 5432) for one in ("gateway", "recorder")}
    if of_kind(objects, "ServiceMonitor"):
        wanted |= {("namespace monitoring", one, LISTENS[one]) for one in ("edge", "recorder")}
    wanted = {
        flow
        for flow in wanted
        if flow[1] in there and (" " in flow[0] or flow[0] in {*there, ANYONE})
    }
    for flow in sorted(wanted ^ flows(objects)):
        yield f"{flow}: {'cannot' if flow in wanted else 'can'} talk"


def probes_ask_what_answers(objects: list[Object]) -> Iterator[str]:
    for where, _, one in containers(objects, initial=False):
        for kind in PROBES:
            probe = one.get(kind)
            if probe is None:
                yield f"{where}: no {kind}"
            elif "httpGet" in probe:
                ports = {port["name"] for port in one["ports"]}
                if probe["httpGet"]["path"] not in PATHS or probe["httpGet"]["port"] not in ports:
                    yield f"{where}: {kind} asks {probe['httpGet']}"
            elif "exec" not in probe:
                yield f"{where}: {kind} asks nothing that the program answers"


def draining_fits_the_grace_period(objects: list[Object]) -> Iterator[str]:
    for where in ("gateway/gateway", "edge/edge"):
        drain_s = float(_environment(objects, container(objects, where)).get("BRISA_DRAIN_S", "0"))
        grace_s = pods(objects)[where.split("/")[0]]["spec"]["terminationGracePeriodSeconds"]
        needed = where == "gateway/gateway" or "recorder" in pods(objects)
        if needed and not drain_s:
            yield f"{where}: ends while it is still sent requests, or has what the recorder lacks"
        if drain_s + STOP_WITHIN_S >= grace_s:
            yield f"{where}: is killed after {grace_s} s, while it drains for {drain_s:g}"


def edges_outwait_who_takes_their_readings(objects: list[Object]) -> Iterator[str]:
    """In an update of everything at once: until the last of those has ended, and is back."""
    if "recorder" not in pods(objects):
        return
    drain_s = float(_environment(objects, container(objects, "edge/edge"))["BRISA_DRAIN_S"])
    for name in ("mosquitto", "postgres", "recorder"):
        away_s = pods(objects)[name]["spec"]["terminationGracePeriodSeconds"] + STARTED_WITHIN_S
        if drain_s < away_s:
            yield f"edge: waits {drain_s:g} s, while {name} may be away for {away_s}"


def updates_leave_no_gap(objects: list[Object]) -> Iterator[str]:
    gateway = workloads(objects)["gateway"]["spec"]
    if gateway["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
        yield "gateway: fewer than wanted during an update"
    autoscaled = [one["spec"]["minReplicas"] for one in of_kind(objects, "HorizontalPodAutoscaler")]
    if min(
        [gateway.get("replicas", 99), *autoscaled]
    ) < 2 or "topologySpreadConstraints" not in str(gateway):
        yield "gateway: one at a time is too few, or all on one node"
    if not of_kind(objects, "PodDisruptionBudget"):
        yield "gateway: all may be evicted at once"
    recorder = workloads(objects).get("recorder")
    if recorder and (recorder["spec"]["replicas"], recorder["spec"]["strategy"]) != (
        1,
        {"type": "Recreate"},
    ):
        yield "recorder: more than one"


def the_api_answers_the_probes() -> set[str]:
    """The gateway's own word on its paths."""
    return set(json.loads((REPOSITORY / "gateway" / "openapi.json").read_text())["paths"])


def _environment(objects: list[Object], one: Object) -> dict[str, str]:
    """The container's variables; `node` where the cluster says the node's name."""
    given: dict[str, str] = {}
    for source in one.get("envFrom", []):
        for config in of_kind(objects, "ConfigMap"):
            if config["metadata"]["name"] == source["configMapRef"]["name"]:
                given |= config["data"]
    for variable in one.get("env", []):
        value = variable.get("value", "node")
        given[variable["name"]] = _REFERENCE.sub(lambda found: given.get(found[1], ""), value)
    return given


def _config_of(objects: list[Object], prefix: str) -> dict[str, str]:
    found: dict[str, str] = next(
        one["data"]
        for one in of_kind(objects, "ConfigMap")
        if one["metadata"]["name"].startswith(prefix)
    )
    return found


def _monitored(objects: list[Object], monitor: Object) -> int:
    """By how many Services; by a second one, each pod would be scraped twice."""
    wanted = {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]}
    return sum(
        wanted <= {port["name"] for port in service["spec"]["ports"]}
        for service in of_kind(objects, "Service")
        if matches(monitor["spec"]["selector"], service["metadata"]["labels"])
    )
