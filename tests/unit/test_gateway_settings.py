"""The gateway's settings and its command line."""

from __future__ import annotations

import pytest

from broker.settings import SettingsError, load
from gateway.__main__ import main
from gateway.settings import GatewaySettings


def test_without_variables_the_page_is_on_port_5000_of_every_address() -> None:
    settings = load(GatewaySettings, {})
    assert (settings.host, settings.port, settings.root) == ("0.0.0.0", 5000, "brisa")
    assert (settings.max_sensors, settings.max_viewers, settings.drain_s) == (2000, 2000, 0)


def test_variables_are_read_by_name() -> None:
    settings = load(GatewaySettings, {"BRISA_PORT": "8080", "BRISA_DRAIN_S": "2.5"})
    assert (settings.port, settings.drain_s) == (8080, 2.5)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BRISA_PORT", "0"),
        ("BRISA_PORT", "http"),
        ("BRISA_DRAIN_S", "-1"),
        ("BRISA_DRAIN_S", "nan"),
        ("BRISA_MAX_SENSORS", "0"),
        ("BRISA_MAX_VIEWERS", "many"),
        ("BRISA_HOST", ""),
        ("BRISA_ROOT", "a/+"),
        ("BRISA_HISTORY_URL", "oracle://h/d"),
    ],
)
def test_a_bad_value_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable}="):
        load(GatewaySettings, {variable: value})


def test_a_bad_value_ends_the_command_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BRISA_PORT", "70000")
    assert main([]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gateway: BRISA_PORT=70000: ")
    assert error.count("\n") == 1


def test_help_names_every_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for name in GatewaySettings.model_fields:
        assert f"BRISA_{name.upper()}" in text


def test_there_is_no_history_unless_it_is_named_and_its_password_is_not_in_the_url() -> None:
    assert load(GatewaySettings, {}).history_url is None
    with pytest.raises(SettingsError, match="BRISA_HISTORY_PASSWORD_FILE") as refused:
        load(GatewaySettings, {"BRISA_HISTORY_URL": "postgresql://u:geheim@h/d"})
    assert "geheim" not in str(refused.value)
