"""What `make deploy` and `make undeploy` say and keep; and TLS with the journal on the node, for real."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.harness import PATIENCE_S, Brisa, until
from tests.manifests.rendering import write_overlay
from tools import cluster, credentials, deploy
from tools.cluster import NAMESPACE


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


def test_tls_is_switched_on_and_off_and_no_reading_is_lost(
    brisa: Brisa, sensors: str, as_deployed: None, record_property: Callable[[str, object], None]
) -> None:
    """The journals go with their pods: each edge hands over to a broker that it still reaches."""
    overlay = brisa.overlays / "tested-tls"
    if not overlay.exists():
        write_overlay(overlay, "../tested", ["tls"])
    before, stored = _gone(brisa), _stored(brisa)
    for name in ("tested-tls", "tested"):
        logs = ["-n", NAMESPACE, "logs", "--follow", brisa.pod("edge"), "-c", "edge"]
        with subprocess.Popen(
            [*cluster.kubectl_command(), *logs],
            env=cluster.environment(),
            stdout=subprocess.PIPE,
            text=True,
        ) as leaving:
            _deploy(brisa, name)
            said, _ = leaving.communicate(timeout=PATIENCE_S)
        assert "stopping" in said
        assert "in the journal only" not in said, said
        brisa.wait_for(f"{sensors}/aula", "live")
        until("nothing is missing", lambda: not _sum(brisa, "missing"))
        assert _gone(brisa) == before
    assert _stored(brisa) > stored
    record_property("note", f"{_stored(brisa) - stored} readings stored meanwhile, none lost")


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


def _sum(brisa: Brisa, what: str) -> int:
    return sum(one[what] for one in brisa.audit()["sensors"])


def _stored(brisa: Brisa) -> int:
    return _sum(brisa, "stored")


def _gone(brisa: Brisa) -> tuple[int, int]:
    """How many readings are lost, and journals gone with an unknown number of them."""
    return _sum(brisa, "lost"), _sum(brisa, "open_ends")


def _stream(brisa: Brisa, node: str) -> str:
    sensors = brisa.board()["sensors"]
    return next(
        str(one["stream"]) for one in sensors if (one["node"], one["sensor"]) == (node, "aula")
    )
