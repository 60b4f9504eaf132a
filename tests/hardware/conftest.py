"""The virtual Pi: commands in a machine whose kernel reads a sensor that answers as it is told."""

import importlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Plain Python that the guest's Debian does not have, or has in an older version.
FROM_THE_VENV = ("paho", "prometheus_client", "pythonjsonlogger")

VirtualPi = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def virtual_pi_home() -> Path:
    """The folder with `build` and `run`, built."""
    named = os.environ.get("BRISA_VIRTUAL_PI")
    home = Path(named) if named else ROOT.parent / "shared" / "virtual-pi"
    if not (home / "run").exists():
        pytest.skip(f"no virtual Pi in {home}; BRISA_VIRTUAL_PI names another place")
    if os.geteuid() != 0:
        pytest.skip("the virtual Pi is built and run as root")
    built = subprocess.run([home / "build"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return home


@pytest.fixture(scope="session")
def guest_share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the guest sees as /mnt: a copy of the packages, readable by its uid 10001."""
    share = tmp_path_factory.mktemp("guest")
    without = shutil.ignore_patterns("__pycache__", "*.so")
    for package in ("edge", "broker"):
        shutil.copytree(ROOT / package, share / package, ignore=without)
    for name in FROM_THE_VENV:
        (place,) = importlib.import_module(name).__path__
        shutil.copytree(place, share / "py" / name, ignore=without)
    shutil.copytree(Path(__file__).parent / "guest", share / "guest", ignore=without)
    for path in (share, *share.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return share


@pytest.fixture(scope="session")
def virtual_pi(
    virtual_pi_home: Path, guest_share: Path, tmp_path_factory: pytest.TempPathFactory
) -> VirtualPi:
    """Boot, run one command as uid 10001 without capabilities, power off.

    command: a shell script, in which `python3 -m edge` works. frames: lines of a frames file.
    gpio: the user is in the group gpio. pi_driver: the Raspberry Pi kernel's dht11 driver.
    net: this machine is 10.0.2.2 in there, and waiting takes real time.
    """

    def boot(
        command: str,
        *,
        frames: Iterable[str] = (),
        gpio: bool = True,
        pi_driver: bool = False,
        net: bool = False,
        timeout_s: int = 240,
    ) -> subprocess.CompletedProcess[str]:
        spoken = tmp_path_factory.mktemp("frames") / "frames"
        spoken.write_text("".join(f"{line}\n" for line in frames))
        flags: Sequence[str] = [
            *([] if gpio else ["--no-gpio"]),
            *(["--pi-driver"] if pi_driver else []),
            *(["--net"] if net else []),
        ]
        environment = "PYTHONPATH=/mnt:/mnt/py PYTHONPYCACHEPREFIX=/tmp/pyc PYTHONUNBUFFERED=1"
        return subprocess.run(
            [
                str(virtual_pi_home / "run"),
                *("--frames", str(spoken), "--share", str(guest_share), *flags),
                *("--timeout", str(timeout_s), "--"),
                *("bash", "-c", f"export {environment}\n{command}"),
            ],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return boot
