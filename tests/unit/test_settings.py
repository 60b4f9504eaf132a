"""Settings: from variables and files, refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.settings import (
    BrokerAddress,
    BrokerSettings,
    SettingsError,
    describe,
    load,
    unknown_variables,
)
from edge.settings import EdgeSettings, SensorPlan, build, plans


def edge(**variables: str) -> EdgeSettings:
    return load(EdgeSettings, {f"BRISA_{name}": value for name, value in variables.items()})


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://broker", BrokerAddress(host="broker", port=1883, tls=False, user=None)),
        ("mqtts://pi-1@broker", BrokerAddress(host="broker", port=8883, tls=True, user="pi-1")),
        ("mqtt://a%40b@[::1]:1884", BrokerAddress(host="::1", port=1884, tls=False, user="a@b")),
    ],
)
def test_a_url_says_host_port_tls_and_user(url: str, address: BrokerAddress) -> None:
    assert load(BrokerSettings, {"BRISA_BROKER_URL": url}).address == address


@pytest.mark.parametrize(
    "url", ["", "broker", "http://broker", "mqtt://", "mqtt://b:0", "mqtt://b:99999", "mqtt://b/x"]
)
def test_a_url_that_is_none_is_refused_with_what_is_allowed(url: str) -> None:
    with pytest.raises(SettingsError, match=rf"BRISA_BROKER_URL={url}: .*allowed is mqtt://"):
        load(BrokerSettings, {"BRISA_BROKER_URL": url})


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="BRISA_BROKER_PASSWORD_FILE") as caught:
        load(BrokerSettings, {"BRISA_BROKER_URL": "mqtt://me:hunter2@broker"})
    assert "hunter2" not in str(caught.value)


def test_a_password_comes_from_a_file_or_a_variable_and_never_shows(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    settings = load(BrokerSettings, {"BRISA_BROKER_PASSWORD_FILE": str(path)})
    assert settings.broker_password is not None
    assert settings.broker_password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)
    assert load(BrokerSettings, {"BRISA_BROKER_PASSWORD": "hunter2"}) == settings
    with pytest.raises(SettingsError, match="both set"):
        load(BrokerSettings, {"BRISA_BROKER_PASSWORD": "x", "BRISA_BROKER_PASSWORD_FILE": "y"})
    missing = tmp_path / "missing"
    with pytest.raises(SettingsError, match=f"{missing}: No such file"):
        load(BrokerSettings, {"BRISA_BROKER_PASSWORD_FILE": str(missing)})


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"INTERVAL_S": "often"}, "BRISA_INTERVAL_S=often: allowed are more than 0, up to 3600"),
        ({"INTERVAL_S": "0"}, "BRISA_INTERVAL_S=0: allowed are more than 0"),
        ({"INTERVAL_S": "nan"}, "BRISA_INTERVAL_S=nan"),
        ({"MODEL": "bme280"}, "BRISA_MODEL=bme280: allowed are dht11, dht22"),
        ({"NODE": "Pi 1"}, "BRISA_NODE=Pi 1: node 'Pi 1': allowed are"),
        ({"NODE": "gateway"}, "BRISA_NODE=gateway: .*name of a service"),
        ({"SENSOR": "a/b"}, "BRISA_SENSOR=a/b: .*allowed are"),
        ({"ROOT": "brisa/#"}, "BRISA_ROOT=brisa/#: .*allowed are"),
        ({"KEEPALIVE_S": "1"}, "BRISA_KEEPALIVE_S=1: allowed are 5 to 3600"),
        ({"RECONNECT_S": "0"}, "BRISA_RECONNECT_S=0: allowed are 0.5 to 3600"),
        ({"LOG_LEVEL": "loud"}, "BRISA_LOG_LEVEL=loud: allowed are debug, info, warning, error"),
        ({"HEALTH_PORT": "70000"}, "BRISA_HEALTH_PORT=70000"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_by_name(
    variables: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        edge(**variables)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"SENSORS": ";"}, "at least one"),
        ({"SENSORS": "a=replay;a=replay"}, "an id of its own"),
        ({"SENSORS": "a"}, "allowed is ID=DRIVER"),
        ({"SENSORS": "A=replay"}, "sensor 'A': allowed are"),
        ({"SENSORS": "a=replay,pace"}, "pace: allowed is NAME=VALUE"),
        ({"SENSORS": "a=replay,model=x"}, "model x: allowed are dht11, dht22"),
        ({"OPTIONS": "pin"}, "BRISA_OPTIONS: pin: allowed is NAME=VALUE"),
        ({"DRIVER": "telepathy"}, "sensor dht11: .*telepathy.*adafruit"),
        ({"DRIVER": "gpio", "OPTIONS": "pin=99"}, "pin.*99.*0 to 27"),
        ({"DRIVER": "gpio", "OPTIONS": "leg=3"}, "leg.*pin"),
        ({"DRIVER": "gpio", "INTERVAL_S": "0.5"}, "BRISA_INTERVAL_S=0.5: .*DHT11.*every 1 s"),
        ({"DRIVER": "gpio", "MODEL": "dht22", "INTERVAL_S": "1"}, "DHT22.*every 2 s"),
        ({"DRIVER": "iio", "INTERVAL_S": "1"}, "iio.*every 2"),
    ],
)
def test_a_sensor_that_cannot_be_is_refused_by_name(variables: dict[str, str], says: str) -> None:
    settings = edge(NODE="pi-1", **variables)
    with pytest.raises(SettingsError, match=says):
        [build(plan, settings) for plan in plans(settings)]


def test_one_sensor_is_named_after_its_model_and_several_by_hand() -> None:
    assert plans(edge(OPTIONS="device=dht11@4")) == [
        SensorPlan("dht11", "iio", "dht11", {"device": "dht11@4"})
    ]
    settings = edge(SENSORS="aula = replay, model=dht22, pace=recorded; patio=simulated")
    assert plans(settings) == [
        SensorPlan("aula", "replay", "dht22", {"pace": "recorded"}),
        SensorPlan("patio", "simulated", "dht11"),
    ]


def test_a_misspelt_variable_is_pointed_out() -> None:
    lines = unknown_variables({"BRISA_INTERVALL_S": "5", "BRISA_CAPTURES": "x"}, EdgeSettings)
    assert lines == ["BRISA_INTERVALL_S is not a setting; did you mean BRISA_INTERVAL_S?"]


def test_help_lists_every_variable_with_its_default() -> None:
    text = describe(EdgeSettings)
    for name in EdgeSettings.model_fields:
        assert f"BRISA_{name.upper()}" in text
    assert "BRISA_BROKER_PASSWORD (or _FILE" in text
    assert "[5.0]" in text


def test_a_journal_below_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ana")
    assert edge(NODE="pi-1", JOURNAL="~/brisa.db").journal_path == Path("/home/ana/brisa.db")
