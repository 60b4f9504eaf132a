"""`make credentials`, `make certificates` and what `make deploy` says when it cannot."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from broker import credentials as hashes
from broker.ids import SERVICES
from tests.manifests.rendering import copied, need_kustomize
from tools import certificates, cluster, credentials, deploy


def run(folder: Path, *nodes: str) -> int:
    return credentials.main(["--folder", str(folder), "--node", *nodes])


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_one_user_a_node_and_one_a_service(tmp_path: Path) -> None:
    assert run(tmp_path, "pi-1") == 0
    known = dict(line.split(":", 1) for line in (tmp_path / "passwords").read_text().splitlines())
    assert set(known) == {*SERVICES, "pi-1"}
    for user, line in known.items():
        assert hashes.fits((tmp_path / "users" / user).read_text().strip(), line)
    assert (
        tmp_path / "edge.env"
    ).read_text() == f"node.pi-1={(tmp_path / 'users' / 'pi-1').read_text()}"
    for path in tmp_path.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077 or path == tmp_path, path


def test_again_adds_what_is_missing_and_changes_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "pi-1")
    viewer = (tmp_path / "users" / "viewer").read_text().strip()
    assert viewer in capsys.readouterr().out
    before = files(tmp_path)
    run(tmp_path, "pi-1")
    assert files(tmp_path) == before
    assert viewer not in capsys.readouterr().out
    run(tmp_path, "pi-2")
    after = files(tmp_path)
    assert {name for name in after if after[name] != before.get(name)} == {
        "users/pi-2", "passwords", "edge.env",
    }  # fmt: skip
    old, new = before["passwords"].splitlines(), after["passwords"].splitlines()
    assert set(old) <= set(new)
    assert len(new) == len(old) + 1


def test_a_password_that_was_taken_away_is_no_longer_good(tmp_path: Path) -> None:
    run(tmp_path, "pi-1", "pi-2")
    (tmp_path / "users" / "pi-2").unlink()
    run(tmp_path, "pi-1")
    assert "pi-2" not in (tmp_path / "passwords").read_text() + (tmp_path / "edge.env").read_text()


@pytest.mark.parametrize("node", ["Pi", "pi_", "viewer", "a/b", "x" * 64])
def test_a_name_that_no_node_may_have(
    node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, node) == 1
    said = capsys.readouterr().err
    assert node in said
    assert said.count("\n") == 1
    assert not files(tmp_path)


def test_without_a_cluster_the_nodes_have_to_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need_kustomize()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert credentials.main(["--folder", str(tmp_path)]) == 1
    assert "make credentials NODE=" in capsys.readouterr().err


def test_deploy_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_kustomize()
    overlays = copied(tmp_path)

    def said(overlay: str) -> str:
        words = ["deploy", "--overlays", str(overlays), "--overlay", overlay]
        assert deploy.main(words) == 1
        return capsys.readouterr().err

    assert "there are" in said("nowhere")
    (overlays.parent / "credentials" / "tls" / "tls.key").unlink()
    assert said("ha").endswith("make certificates\n")
    (overlays.parent / "credentials" / "users" / "gateway").unlink()
    assert said("demo").endswith("make credentials\n")


@pytest.mark.parametrize(
    ("said", "explained"),
    [
        (
            'E1123 23:00:01 memcache.go:265] "Unhandled Error"\nThe connection to the server 10.0.0.1'
            " was refused - did you specify the right host or port?",
            "the cluster does not answer: The connection to the server 10.0.0.1 was refused",
        ),
        ("Unable to connect: dial tcp 10.0.0.1:6443: connect: no route", "the cluster does not"),
        (
            "The connection to the server localhost:8080 was refused - did you",
            "no cluster is named",
        ),
        ("Error from server (NotFound): pods", "Error from server (NotFound): pods"),
        (
            'E1127 06:09:01.008945    2081 run.go:72] "command failed" err="accumulating resources:'
            ' no such file \\"tls.key\\""',
            'accumulating resources: no such file "tls.key"',
        ),
        ('E1127 06:09:01.0 2081 run.go:72] "Unhandled"', "E1127 06:09:01.0 2081 run.go:72]"),
    ],
)
def test_what_kubectl_says_is_put_so_that_it_helps(
    said: str, explained: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.touch()
    monkeypatch.setenv("KUBECONFIG", str(config))
    assert cluster._explained(said).startswith(explained)
    config.unlink()
    assert cluster._explained(said) == f"KUBECONFIG={config}: there is no such file"


def test_a_kubectl_that_says_nothing_is_told_by_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    silent = tmp_path / "kubectl"
    silent.write_text("#!/bin/sh\nexit 3\n")
    silent.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(cluster.ClusterError, match="kubectl apply: exit code 3"):
        cluster.run("apply", "-f", "-")


def test_which_cluster_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """K3s' own kubectl would take K3s' file, which only root may read, before the user's."""
    k3s, own = tmp_path / "k3s.yaml", tmp_path / ".kube" / "config"
    monkeypatch.setattr(cluster, "K3S_CONFIG", k3s)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert "KUBECONFIG" not in cluster.environment()
    k3s.touch()
    assert cluster.environment()["KUBECONFIG"] == str(k3s)
    own.parent.mkdir()
    own.touch()
    assert cluster.environment()["KUBECONFIG"] == str(own)
    monkeypatch.setenv("KUBECONFIG", "elsewhere")
    assert cluster.environment()["KUBECONFIG"] == "elsewhere"


class FakeCluster:
    """kubectl as `deploy` calls it: says what was applied, in order, and what was deleted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, minor: int = 34) -> None:
        self.applied: list[list[str]] = []
        self.deleted: list[str] = []
        self.told_before: list[str] = []
        self.there: list[dict[str, object]] = []
        self.service = ""
        monkeypatch.setattr(cluster, "run", self.run)
        monkeypatch.setattr(cluster, "nodes", lambda: {"pi-1": ["192.0.2.7"]})
        monkeypatch.setattr(cluster, "server_minor", lambda: minor)
        monkeypatch.setattr(cluster, "get", self.get)
        monkeypatch.setattr(deploy, "_wait", lambda *_: None)

    def get(self, *words: str) -> dict[str, object]:
        return {"items": [{"metadata": {"name": "pi-1"}}] if words[0] == "nodes" else self.there}

    def run(self, *words: str, given: str = "") -> str:
        match words:
            case ("api-versions",):
                return "v1\napps/v1\npolicy/v1\n"
            case ("api-resources", *_):
                return "secrets\nservices\nhorizontalpodautoscalers.autoscaling\n"
            case ("apply", "set-last-applied", *_):
                self.told_before.append(given)
            case ("apply", *_):
                self.applied.append(sorted(deploy.NAME.findall(given)))
            case (_, _, "get", "service", *_):
                return self.service
            case (_, _, "delete", *what):
                self.deleted.append(" ".join(what))
        return ""


def document(kind: str, name: str, more: str = "", version: str = "v1") -> str:
    return f"apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n{more}"


def test_the_broker_stops_listening_with_tls_only_when_the_edges_have_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kubectl = FakeCluster(monkeypatch)
    gateway = document("Service", "gateway")
    edge, policy = document("DaemonSet", "edge"), document("Service", "to-the-broker")
    plain = document("Service", "mosquitto", "spec:\n  ports:\n  - port: 1883\n")
    tls = document("Service", "mosquitto", "spec:\n  ports:\n  - port: 8883\n")
    everything = ["gateway", "mosquitto", "to-the-broker"]
    for before, after, order in (
        ("", plain, [everything, ["edge"]]),
        (plain, plain, [everything, ["edge"]]),
        (plain, tls, [everything, ["edge"]]),
        (tls, tls, [everything, ["edge"]]),
        (tls, plain, [["gateway"], ["edge"], ["mosquitto", "to-the-broker"]]),
    ):
        kubectl.service, kubectl.applied = before, []
        assert deploy.deploy("\n---\n".join((gateway, after, policy, edge)), 9)
        assert kubectl.applied == order


def test_what_another_overlay_left_behind_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    def item(kind: str, name: str, **more: object) -> dict[str, object]:
        return {"kind": kind, "metadata": {"name": name, **more}}

    kubectl = FakeCluster(monkeypatch)
    kubectl.there = [
        item("Secret", "gateway-credential-0123456789"),
        item("Secret", "gateway-credential-9876543210"),  # for `rollout undo`
        item("Secret", "mosquitto-tls-0123456789"),
        item("Service", "gateway"),
        item("Service", "recorder-metrics"),
        item("Service", "made-by-another", ownerReferences=[{}]),
        item("HorizontalPodAutoscaler", "gateway"),
    ]
    wanted = [document("Secret", "gateway-credential-0123456789"), document("Service", "gateway")]
    assert deploy.deploy("\n---\n".join(wanted), 9)
    assert kubectl.deleted == [
        "secret mosquitto-tls-0123456789",
        "service recorder-metrics",
        "horizontalpodautoscaler gateway",
    ]


def test_the_number_of_gateways_is_left_to_an_autoscaler(monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl = FakeCluster(monkeypatch)
    fixed = document("Deployment", "recorder", "spec:\n  replicas: 1\n", "apps/v1")
    free = document("Deployment", "gateway", "spec:\n  selector: {}\n", "apps/v1")
    assert deploy.deploy(f"{fixed}\n---\n{free}", 9)
    assert kubectl.told_before == [free]


@pytest.mark.parametrize("minor", [20, 26, 27, 34])
def test_a_server_is_given_no_field_that_it_does_not_know(minor: int, tmp_path: Path) -> None:
    need_kustomize()
    whole = deploy.render(copied(tmp_path) / "ha")
    given = deploy._for_server(whole, minor)
    new = ("matchLabelKeys", "pod-template-hash", "unhealthyPodEvictionPolicy")
    assert [word in given for word in new] == [minor >= 27] * 3
    assert len(given.splitlines()) == len(whole.splitlines()) - (0 if minor >= 27 else 3)


def test_an_image_that_a_node_does_not_have_is_said_when_its_pod_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pod(image: str, reason: str) -> dict[str, object]:
        states = [{"image": image, "state": {"waiting": {"reason": reason}}}]
        return {"spec": {"nodeName": "pi-2"}, "status": {"containerStatuses": states}}

    pods = [
        pod("localhost/brisa-edge:0.1.0", "ErrImagePull"),
        pod("localhost/brisa-edge:0.1.0", "ImagePullBackOff"),
        pod("docker.io/library/postgres:17.7", "ErrImagePull"),
        pod("localhost/brisa-gateway:0.1.0", "ContainerCreating"),
    ]
    monkeypatch.setattr(cluster, "get", lambda *_: {"items": pods})
    said = deploy._say_missing_images("daemonset.apps/edge", set())
    assert deploy._say_missing_images("daemonset.apps/edge", said) == said
    assert capsys.readouterr().err.splitlines() == [
        "deploy: pi-2 does not get the image docker.io/library/postgres:17.7: has it a network?",
        "deploy: pi-2 does not get the image localhost/brisa-edge:0.1.0: on that node: make images"
        " LOAD=k3s",
    ]


def test_what_the_server_warns_of_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho 'Warning: it is deprecated' >&2\necho configured\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cluster.run("apply", "-f", "-") == "configured\n"
    assert capsys.readouterr().err == "kubectl: Warning: it is deprecated\n"


def test_the_edges_are_applied_when_the_rest_is_there_and_stop_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def run(*words: str, given: str = "") -> str:
        if words == ("api-versions",):
            return "v1\napps/v1\n"
        if "set-last-applied" in words or words[0] != "apply":
            return ""
        asked.append("edges" if "kind: DaemonSet" in given else "rest")
        return (
            "daemonset.apps/edge created"
            if asked[-1] == "edges"
            else "deployment.apps/gateway created"
        )

    def wait(workload: str, _timeout_s: int) -> None:
        asked.append(workload)
        if workload == "daemonset.apps/edge":
            raise cluster.ClusterError("a node is off")

    monkeypatch.setattr(cluster, "run", run)
    monkeypatch.setattr(cluster, "nodes", lambda: {"pi-1": ["192.0.2.7"]})
    monkeypatch.setattr(cluster, "server_minor", lambda: 34)
    monkeypatch.setattr(cluster, "get", lambda *_: {"items": [{"metadata": {"name": "pi-1"}}]})
    monkeypatch.setattr(deploy, "_wait", wait)
    edges, rest = (f"apiVersion: apps/v1\nkind: {kind}" for kind in ("DaemonSet", "Deployment"))
    assert not deploy.deploy(f"{edges}\n---\n{rest}\n", 9)
    assert asked == ["rest", "deployment.apps/gateway", "edges", "daemonset.apps/edge"]
    said = capsys.readouterr()
    assert said.err == "deploy: a node is off\n"
    assert "http://192.0.2.7:30001" in said.out
    newer = "apiVersion: policy/v1\nkind: PodDisruptionBudget\n"
    assert not deploy.deploy(f"{rest}\n---\n{newer}\n---\n{edges}\n", 9)
    said = capsys.readouterr()
    assert (
        "left out, since this cluster does not know it: PodDisruptionBudget (policy/v1)" in said.out
    )


def test_our_images_from_a_registry(tmp_path: Path) -> None:
    need_kustomize()
    text = deploy.render(copied(tmp_path) / "ha", "registry.example/you/")
    assert "image: localhost/" not in text
    assert text.count("image: registry.example/you/brisa-") == 5  # journal-folder, credential, …


def test_certificates_are_good_for_their_names_and_the_ca_stays(tmp_path: Path) -> None:
    certificates.make(tmp_path, ["mosquitto", "192.0.2.7"])
    ca = (tmp_path / "ca.crt").read_bytes()
    first = (tmp_path / "tls.crt").read_bytes()

    def good_for(*words: str) -> bool:
        command = ["openssl", "verify", "-CAfile", "ca.crt", *words, "tls.crt"]
        return (
            subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
        )

    assert good_for("-verify_hostname", "mosquitto")
    assert good_for("-verify_ip", "192.0.2.7")
    assert not good_for("-verify_hostname", "pi-1")
    certificates.make(tmp_path, ["mosquitto", "pi-1"])
    assert good_for("-verify_hostname", "pi-1")
    assert (tmp_path / "ca.crt").read_bytes() == ca
    assert (tmp_path / "tls.crt").read_bytes() != first
    assert {path.name for path in tmp_path.iterdir()} == {"ca.crt", "ca.key", "tls.crt", "tls.key"}
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600
