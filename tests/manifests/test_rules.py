"""The alerts of components/monitoring, as Prometheus itself evaluates them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import REPOSITORY

RULES = REPOSITORY / "k8s" / "components" / "monitoring" / "rules.yaml"
SENSOR = 'node="pi-2", sensor="dht11"'

# alert, the series that bring it about and those that do not (by promtool's notation), after minutes
CASES = [
    (
        "BrisaSensorNotLive",
        {f'brisa_sensor_state{{{SENSOR}, state="broken"}}': "1+0x120"},
        {f'brisa_sensor_state{{{SENSOR}, state="late"}}': "1+0x120"},
        6,
    ),
    (
        "BrisaSensorSilent",
        {f"brisa_last_reading_timestamp_seconds{{{SENSOR}}}": "0+0x120"},
        {f"brisa_last_reading_timestamp_seconds{{{SENSOR}}}": "0+60x120"},
        20,
    ),
    (
        "BrisaReadingsLost",
        {f"brisa_history_lost_readings{{{SENSOR}}}": "0+0x30 12+0x90"},
        {f"brisa_history_lost_readings{{{SENSOR}}}": "12+0x120"},
        45,
    ),
    (
        "BrisaJournalGone",
        {f"brisa_history_open_ends{{{SENSOR}}}": "0+0x30 1+0x90"},
        {f"brisa_history_open_ends{{{SENSOR}}}": "1+0x120"},
        45,
    ),
    (
        "BrisaHistoryAway",
        {"brisa_history_up": "0+0x120"},
        {"brisa_history_up": "1+0x120", "brisa_recorder_database_up": "1+0x120"},
        15,
    ),
    (
        "BrisaRecorderBehind",
        {f"brisa_edge_behind{{{SENSOR}}}": "70+12x120"},
        {f"brisa_edge_behind{{{SENSOR}}}": "1+0x120"},
        15,
    ),
    (
        "BrisaRecorderAbsent",
        {"brisa_history_up": "1+0x120"},
        {"brisa_history_up": "1+0x120", "brisa_recorder_connected": "1+0x120"},
        15,
    ),
    # without a history there is no recorder to miss
    ("BrisaRecorderAbsent", None, {"brisa_gateway_ready": "1+0x120"}, 15),
    (
        "BrisaGatewayWithoutBroker",
        {'brisa_gateway_broker_connected{pod="gateway-1"}': "0+0x120"},
        {'brisa_gateway_broker_connected{pod="gateway-1"}': "1+0x120"},
        6,
    ),
    (
        "BrisaJournalUnsound",
        {'brisa_edge_journal_sound{node="pi-2"}': "0+0x120"},
        {'brisa_edge_journal_sound{node="pi-2"}': "1+0x120"},
        3,
    ),
    (
        "BrisaClockNotSynchronised",
        {'brisa_edge_clock_synchronised{node="pi-2"}': "0+0x120"},
        {'brisa_edge_clock_synchronised{node="pi-2"}': "1+0x120"},
        70,
    ),
]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The groups as Prometheus reads them, without what is the operator's."""
    if not shutil.which("promtool"):
        pytest.skip("promtool is not on PATH: apt-get install prometheus")
    path = tmp_path / "rules.yaml"
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["spec"]
    path.write_text(yaml.safe_dump(groups), encoding="utf-8")
    return path


def promtool(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["promtool", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def fires(rules: Path, alert: str, series: dict[str, str], minutes: int) -> bool:
    """Is the alert firing then? As promtool tells, asked for no alert at all."""
    test: dict[str, Any] = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": f"{minutes}m", "alertname": alert, "exp_alerts": []},
        ],
    }
    path = rules.with_name("test.yaml")
    given = {"rule_files": [rules.name], "evaluation_interval": "1m", "tests": [test]}
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    done = promtool("test", "rules", path.name, folder=rules.parent)
    said = done.stdout + done.stderr
    assert "got:" in said or done.returncode == 0, said
    return done.returncode != 0


@pytest.mark.long
def test_prometheus_takes_the_rules(rules: Path) -> None:
    done = promtool("check", "rules", rules.name, folder=rules.parent)
    assert done.returncode == 0, done.stderr
    names = {rule["alert"] for rule in yaml.safe_load(rules.read_text())["groups"][0]["rules"]}
    assert names == {case[0] for case in CASES}, "an alert without a case"


@pytest.mark.long
@pytest.mark.parametrize(("alert", "wrong", "well", "minutes"), CASES)
def test_an_alert_fires_for_what_it_names_and_for_nothing_else(
    rules: Path, alert: str, wrong: dict[str, str] | None, well: dict[str, str], minutes: int
) -> None:
    assert not fires(rules, alert, well, minutes)
    if wrong is not None:
        assert fires(rules, alert, wrong, minutes)
