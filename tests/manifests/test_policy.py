"""Our own rules for k8s/: each holds for every rendering, and fails for what it is there to prevent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from broker.metrics import Metric
from broker.probes import HealthServer
from tests.manifests import consistency, strictness
from tests.manifests.conftest import Render
from tests.manifests.consistency import PATHS, the_api_answers_the_probes
from tests.manifests.looking import container, named, of_kind, pods, workloads
from tests.manifests.rendering import Object
from tests.support import REPOSITORY

Rule = Callable[[list[Object]], Iterator[str]]
RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        strictness.images_are_pinned,
        strictness.pods_are_strict,
        strictness.nothing_of_the_host_is_shared,
        strictness.host_folders_are_the_journals,
        strictness.the_namespace_enforces_it,
        strictness.resources_fit_a_pi,
        strictness.nobody_has_a_token,
        strictness.everything_is_labelled,
        consistency.selectors_match,
        consistency.targets_are_there,
        consistency.ports_match,
        consistency.addresses_lead_to_services,
        consistency.gateways_are_counted,
        consistency.settings_are_known_and_good,
        consistency.variables_come_before_their_use,
        consistency.secrets_are_generated,
        consistency.references_are_there,
        consistency.only_who_must_talks,
        consistency.probes_ask_what_answers,
        consistency.draining_fits_the_grace_period,
        consistency.edges_outwait_who_takes_their_readings,
        consistency.updates_leave_no_gap,
    )
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_rendering_keeps_the_rule(rule: Rule, objects: list[Object]) -> None:
    assert list(rule(objects)) == []


# ---- what each rule is there to prevent

BROKEN: list[tuple[str, Callable[[list[Object]], object]]] = []


def broken(rule: str) -> Callable[[Callable[[list[Object]], object]], None]:
    return lambda change: BROKEN.append((rule, change))


def _security(objects: list[Object], where: str) -> Object:
    found: Object = container(objects, where)["securityContext"]
    return found


def _config(objects: list[Object], prefix: str) -> Object:
    return next(
        one for one in of_kind(objects, "ConfigMap") if one["metadata"]["name"].startswith(prefix)
    )


@broken("images_are_pinned")
def latest(objects: list[Object]) -> None:
    container(objects, "mosquitto/mosquitto")["image"] = "eclipse-mosquitto:latest"


@broken("images_are_pinned")
def another_version(objects: list[Object]) -> None:
    container(objects, "recorder/recorder")["image"] = "localhost/brisa-gateway:0.0.9"


@broken("pods_are_strict")
def privileged(objects: list[Object]) -> None:
    _security(objects, "edge/edge")["privileged"] = True


@broken("pods_are_strict")
def root(objects: list[Object]) -> None:
    pods(objects)["postgres"]["spec"]["securityContext"]["runAsUser"] = 0


@broken("pods_are_strict")
def capabilities(objects: list[Object]) -> None:
    _security(objects, "edge/credential")["capabilities"]["add"] = ["NET_RAW"]


@broken("pods_are_strict")
def written(objects: list[Object]) -> None:
    del _security(objects, "gateway/gateway")["readOnlyRootFilesystem"]


@broken("pods_are_strict")
def seccomp(objects: list[Object]) -> None:
    del pods(objects)["recorder"]["spec"]["securityContext"]["seccompProfile"]


@broken("nothing_of_the_host_is_shared")
def host_network(objects: list[Object]) -> None:
    pods(objects)["edge"]["spec"]["hostNetwork"] = True


@broken("host_folders_are_the_journals")
def gpio(objects: list[Object]) -> None:
    pods(objects)["edge"]["spec"]["volumes"].append({"name": "dev", "hostPath": {"path": "/dev"}})


@broken("the_namespace_enforces_it")
def unlabelled_namespace(objects: list[Object]) -> None:
    del named(objects, "Namespace", "brisa")["metadata"]["labels"][
        "pod-security.kubernetes.io/enforce"
    ]


@broken("resources_fit_a_pi")
def no_limit(objects: list[Object]) -> None:
    del container(objects, "edge/credential")["resources"]["limits"]


@broken("resources_fit_a_pi")
def killed_too_soon(objects: list[Object]) -> None:
    container(objects, "mosquitto/mosquitto")["resources"]["limits"]["memory"] = "24Mi"
    container(objects, "mosquitto/mosquitto")["resources"]["requests"]["memory"] = "24Mi"


@broken("nobody_has_a_token")
def token(objects: list[Object]) -> None:
    pods(objects)["gateway"]["spec"]["automountServiceAccountToken"] = True


@broken("everything_is_labelled")
def nameless(objects: list[Object]) -> None:
    del pods(objects)["mosquitto"]["metadata"]["labels"]["app.kubernetes.io/name"]


@broken("selectors_match")
def stray_service(objects: list[Object]) -> None:
    named(objects, "Service", "gateway")["spec"]["selector"]["app.kubernetes.io/name"] = "page"


@broken("targets_are_there")
def replicas_beside_an_autoscaler(objects: list[Object]) -> None:
    target = {"scaleTargetRef": {"kind": "Deployment", "name": "gateway"}}
    objects.append({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "x"}, "spec": target})


@broken("targets_are_there")
def scraped_twice(objects: list[Object]) -> None:
    named(objects, "Service", "gateway-replicas")["spec"]["ports"][0]["name"] = "http"
    selector = {"matchLabels": {"app.kubernetes.io/name": "gateway"}}
    spec = {"selector": selector, "endpoints": [{"port": "http"}]}
    objects.append({"kind": "ServiceMonitor", "metadata": {"name": "gateway"}, "spec": spec})


@broken("ports_match")
def another_node_port(objects: list[Object]) -> None:
    named(objects, "Service", "gateway")["spec"]["ports"][0]["nodePort"] = 30002


@broken("ports_match")
def another_container_port(objects: list[Object]) -> None:
    container(objects, "edge/edge")["ports"][0]["containerPort"] = 9999


@broken("ports_match")
def another_listener(objects: list[Object]) -> None:
    _config(objects, "mosquitto-listener")["data"]["listener.conf"] = "listener 1884\n"


@broken("addresses_lead_to_services")
def another_host(objects: list[Object]) -> None:
    variables = container(objects, "recorder/recorder")["env"]
    next(one for one in variables if one["name"] == "BRISA_HISTORY_URL")["value"] = (
        "postgresql://b@db/b"
    )


@broken("gateways_are_counted")
def one_address_for_all(objects: list[Object]) -> None:
    del named(objects, "Service", "gateway-replicas")["spec"]["clusterIP"]


@broken("gateways_are_counted")
def only_the_ready_ones(objects: list[Object]) -> None:
    del named(objects, "Service", "gateway-replicas")["spec"]["publishNotReadyAddresses"]


@broken("gateways_are_counted")
def another_name(objects: list[Object]) -> None:
    named(objects, "Service", "gateway-replicas")["metadata"]["name"] = "replicas"


@broken("gateways_are_counted")
def no_names(objects: list[Object]) -> None:
    objects.remove(named(objects, "NetworkPolicy", "names"))


@broken("gateways_are_counted")
def names_by_a_port_that_only_k3s_has(objects: list[Object]) -> None:
    named(objects, "NetworkPolicy", "names")["spec"]["egress"][0]["ports"] = [{"port": 53}]


@broken("settings_are_known_and_good")
def misspelt(objects: list[Object]) -> None:
    _config(objects, "edge-settings")["data"]["BRISA_INTERVALL_S"] = "5"


@broken("settings_are_known_and_good")
def not_allowed(objects: list[Object]) -> None:
    _config(objects, "gateway-settings")["data"]["BRISA_DRAIN_S"] = "for ever"


@broken("settings_are_known_and_good")
def no_driver(objects: list[Object]) -> None:
    _config(objects, "edge-settings")["data"]["BRISA_SENSORS"] = "aula"


@broken("variables_come_before_their_use")
def too_late(objects: list[Object]) -> None:
    container(objects, "edge/edge")["env"].reverse()


@broken("references_are_there")
def no_secret(objects: list[Object]) -> None:
    objects.remove(
        next(one for one in of_kind(objects, "Secret") if "edge" in one["metadata"]["name"])
    )


@broken("secrets_are_generated")
def by_hand(objects: list[Object]) -> None:
    objects.append({"kind": "Secret", "metadata": {"name": "mine"}, "data": {}})


@broken("only_who_must_talks")
def no_default(objects: list[Object]) -> None:
    objects.remove(named(objects, "NetworkPolicy", "default-deny"))


@broken("only_who_must_talks")
def database_for_all(objects: list[Object]) -> None:
    del named(objects, "NetworkPolicy", "postgres")["spec"]["ingress"][0]["from"]


@broken("only_who_must_talks")
def cut_off(objects: list[Object]) -> None:
    objects.remove(named(objects, "NetworkPolicy", "to-the-database"))


@broken("probes_ask_what_answers")
def no_such_path(objects: list[Object]) -> None:
    container(objects, "recorder/recorder")["livenessProbe"]["httpGet"]["path"] = "/health"


@broken("probes_ask_what_answers")
def an_open_port(objects: list[Object]) -> None:
    container(objects, "mosquitto/mosquitto")["livenessProbe"] = {"tcpSocket": {"port": "mqtt"}}


@broken("draining_fits_the_grace_period")
def too_little_grace(objects: list[Object]) -> None:
    pods(objects)["gateway"]["spec"]["terminationGracePeriodSeconds"] = 10


@broken("edges_outwait_who_takes_their_readings")
def too_little_time_to_hand_over(objects: list[Object]) -> None:
    _config(objects, "edge-settings")["data"]["BRISA_DRAIN_S"] = "60"


@broken("updates_leave_no_gap")
def a_gap(objects: list[Object]) -> None:
    workloads(objects)["gateway"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = 1


@pytest.mark.parametrize(
    ("rule", "change"), BROKEN, ids=[f"{rule}-{change.__name__}" for rule, change in BROKEN]
)
def test_a_rule_fails_for_what_it_is_there_to_prevent(
    rule: str, change: Callable[[list[Object]], object], render: Render
) -> None:
    objects = render("demo")
    change(objects)
    assert list(RULES[rule](objects))


def test_no_rule_is_without_such_an_example() -> None:
    assert {rule for rule, _ in BROKEN} == set(RULES)


# ---- and what the rules take for granted


def test_the_probes_paths_answer() -> None:
    assert the_api_answers_the_probes() >= PATHS

    class Fine:
        def alive(self) -> list[str]:
            return []

        ready = alive

        def collect(self) -> Iterator[Metric]:
            return iter(())

    server = HealthServer(Fine(), "127.0.0.1", 0)
    server.start()
    try:
        for path in PATHS:
            assert httpx.get(f"http://127.0.0.1:{server.port}{path}").status_code == 200
    finally:
        server.stop()


def test_selectors_are_left_alone_by_the_common_labels() -> None:
    for path in (REPOSITORY / "k8s").rglob("kustomization.yaml"):
        assert "commonLabels" not in path.read_text(), path
