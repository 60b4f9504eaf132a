"""What `make deploy` and `make undeploy` say and keep; and TLS with the journal on the node, for real."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.harness import PATIENCE_S, Brisa, until
from tests.manifests.rendering import write_overlay
from tools import credentials, deploy


@pytest.fixture
def as_deployed(brisa: Brisa) -> Iterator[None]:
    yield
    _deploy(brisa, "tested")


def test_a_node_without_a_credential_waits_and_says_what_to_do(
    brisa: Brisa, sensors: str, as_deployed: None, capsys: pytest.CaptureFixture[str]
) -> None:
    brisa.unlabel(sensors)
    until(
        "the edge is gone",
        lambda: not brisa.get("pods", "-l", "app.kubernetes.io/name=edge")["items"],
    )
    (brisa.credentials / "users" / sensors).unlink()
    others = [node for node in brisa.nodes if node != sensors]
    credentials.make(brisa.credentials, others)
    assert deploy.main(_words(brisa, "tested")) == 0  # no edge is asked for
    brisa.label(sensors)
    assert deploy.main(_words(brisa, "tested", "--timeout-s", "30")) == 1
    assert f"no credential for node {sensors}: " in capsys.readouterr().err
    credentials.make(brisa.credentials, [*others, sensors])
    assert deploy.main(_words(brisa, "tested")) == 0
    brisa.wait_for(f"{sensors}/aula", "live")


def test_undeploy_keeps_the_history(brisa: Brisa, sensors: str, as_deployed: None) -> None:
    before = _stored(brisa)
    assert before
    words = ["undeploy", "--overlays", str(brisa.overlays), "--overlay", "tested"]
    assert deploy.main(words) == 0
    until("every pod is gone", lambda: not brisa.get("pods")["items"])
    left = brisa.get("all,secrets,configmaps", "-l", "app.kubernetes.io/part-of=brisa")["items"]
    assert left == []
    assert len(brisa.get("persistentvolumeclaims")["items"]) == 2
    _deploy(brisa, "tested")
    assert _stored(brisa) >= before


def test_tls_and_the_journal_on_the_node(brisa: Brisa, sensors: str, as_deployed: None) -> None:
    overlay = brisa.overlays / "tested-ha"
    if not overlay.exists():
        write_overlay(overlay, "../tested", ["tls", "journal-on-node"])
    _deploy(brisa, "tested-ha")
    brisa.wait_for(f"{sensors}/aula", "live")
    viewer = ("-u", "viewer", "-P", brisa.password("viewer"), "-C", "1", "-t", "brisa/+/+/reading")
    authority = str(brisa.credentials / "tls" / "ca.crt")
    # the test's certificate is for the name inside the cluster only
    assert brisa.subscribe(sensors, *viewer, "--cafile", authority, "--insecure").returncode == 0
    assert brisa.subscribe(sensors, *viewer).returncode != 0
    stream = _stream(brisa, sensors)
    pod = brisa.pod("edge")
    brisa.kubectl("delete", "pod", pod)
    brisa.kubectl("wait", "--for=delete", f"pod/{pod}", f"--timeout={PATIENCE_S:g}s")
    brisa.wait_for(f"{sensors}/aula", "live")
    assert _stream(brisa, sensors) == stream, "another pod has begun another journal"


def _words(brisa: Brisa, overlay: str, *more: str) -> list[str]:
    return ["deploy", "--overlays", str(brisa.overlays), "--overlay", overlay, *more]


def _deploy(brisa: Brisa, overlay: str) -> None:
    assert deploy.main(_words(brisa, overlay)) == 0


def _stored(brisa: Brisa) -> int:
    return sum(one["stored"] for one in brisa.audit()["sensors"])


def _stream(brisa: Brisa, node: str) -> str:
    sensors = brisa.board()["sensors"]
    return next(
        str(one["stream"]) for one in sensors if (one["node"], one["sensor"]) == (node, "aula")
    )
