"""Who may talk to whom, by the NetworkPolicies of a rendering."""

from __future__ import annotations

from typing import Any

from tests.manifests.looking import matches, of_kind, pods, port_of
from tests.manifests.rendering import Object

ANYONE = "anyone"


def closed(objects: list[Object]) -> set[str]:
    """The pods for which both directions are denied, but for what a policy allows."""
    shut = set()
    for name, pod in pods(objects).items():
        kinds: set[str] = set()
        for one in _selecting(objects, pod):
            kinds |= set(one["spec"]["policyTypes"])
        if kinds == {"Ingress", "Egress"}:
            shut.add(name)
    return shut


def flows(objects: list[Object]) -> set[tuple[str, str, int]]:
    """(from, to, port) as both ends allow it, inside the namespace; from `anyone` where ingress does."""
    found = set()
    for name, pod in pods(objects).items():
        for peers, ports in _rules(objects, pod, "ingress", "from"):
            for port in {port_of(pod, one["port"]) for one in ports}:
                assert port is not None, f"{name} has none of {ports}"
                if peers is None:
                    found.add((ANYONE, name, port))
                for sender, other in pods(objects).items():
                    if _admits(peers, other) and _may_send(objects, other, pod, port):
                        found.add((sender, name, port))
                found |= {(space, name, port) for space in _namespaces(peers)}
    return found


def may_look_up_names(objects: list[Object], pod: Object) -> bool:
    """On whatever port the cluster's DNS has inside its pods."""
    dns = {"kubernetes.io/metadata.name": "kube-system", "k8s-app": "kube-dns"}
    return any(
        matches(peer.get("namespaceSelector"), dns) and matches(peer.get("podSelector"), dns)
        for peers, ports in _rules(objects, pod, "egress", "to")
        for peer in peers or []
        if "namespaceSelector" in peer and not ports
    )


def _may_send(objects: list[Object], sender: Object, receiver: Object, port: int) -> bool:
    return any(
        _admits(peers, receiver) and port in {port_of(receiver, one["port"]) for one in ports}
        for peers, ports in _rules(objects, sender, "egress", "to")
    )


def _rules(objects: list[Object], pod: Object, direction: str, peers: str) -> list[tuple[Any, Any]]:
    return [
        (rule.get(peers), rule.get("ports", []))
        for policy in _selecting(objects, pod)
        for rule in policy["spec"].get(direction, [])
    ]


def _selecting(objects: list[Object], pod: Object) -> list[Object]:
    labels = pod["metadata"]["labels"]
    policies = of_kind(objects, "NetworkPolicy")
    return [one for one in policies if matches(one["spec"]["podSelector"], labels)]


def _admits(peers: list[Object] | None, pod: Object) -> bool:
    """None is everyone; a peer with a namespaceSelector is in another namespace."""
    if peers is None:
        return True
    labels = pod["metadata"]["labels"]
    return any(
        "namespaceSelector" not in one and matches(one["podSelector"], labels) for one in peers
    )


def _namespaces(peers: list[Object] | None) -> set[str]:
    return {
        "namespace " + "".join(one["namespaceSelector"]["matchLabels"].values())
        for one in peers or []
        if "namespaceSelector" in one
    }
