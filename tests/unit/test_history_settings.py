"""The recorder's settings: what is allowed, and that no secret gets into a message."""

from __future__ import annotations

import pytest

from broker.settings import SettingsError, describe, load
from gateway.history.settings import HistorySettings
from gateway.settings import GatewaySettings


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///history.db",
        "sqlite:////var/lib/brisa/history.db",
        "postgresql://brisa@db.example:5433/history?sslmode=verify-full",
        "postgresql://db/history",
        "mysql://brisa@db/history",
        "mariadb://brisa@[::1]:3306/history",
    ],
)
def test_a_url_of_each_kind(url: str) -> None:
    assert load(HistorySettings, {"BRISA_HISTORY_URL": url}).history_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "history.db",
        "sqlite://",
        "sqlite:///",
        "sqlite://host/file",
        "sqlite:///file?mode=rw",
        "postgresql:///history",
        "postgresql://db",
        "postgresql://db:0/history",
        "postgresql://db:none/history",
        "oracle://db/history",
        "mysql://db/history#there",
    ],
)
def test_any_other_url_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(HistorySettings, {"BRISA_HISTORY_URL": url})
    text = str(caught.value)
    assert text.startswith(f"BRISA_HISTORY_URL={url}: ")
    assert "postgresql://USER@HOST[:PORT]/DATABASE" in text
    assert "\n" not in text


def test_a_password_in_the_url_is_refused() -> None:
    url = "postgresql://brisa:s3cret@db/history"
    with pytest.raises(SettingsError, match="belongs in BRISA_HISTORY_PASSWORD_FILE") as caught:
        load(HistorySettings, {"BRISA_HISTORY_URL": url})
    assert "s3cret" not in str(caught.value)


def test_the_password_is_read_from_a_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("secrets") / "password"
    path.write_text("s3cret\n")
    settings = load(HistorySettings, {"BRISA_HISTORY_PASSWORD_FILE": str(path)})
    assert settings.secret == "s3cret"
    assert "s3cret" not in repr(settings)
    assert load(HistorySettings, {}).secret is None


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("COMMIT_S", "-1", "0 to 60"),
        ("COMMIT_S", "61", "0 to 60"),
        ("RETENTION_DAYS", "0", "1 to 36500"),
        ("RETENTION_DAYS", "40000", "1 to 36500"),
        ("HEALTH_PORT", "65536", "0 to 65535"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(name: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(HistorySettings, {f"BRISA_{name}": value})
    assert str(caught.value) == f"BRISA_{name}={value}: allowed are {allowed}"


def test_the_gateway_s_help_says_what_its_history_is() -> None:
    text = describe(GatewaySettings)
    assert "BRISA_HISTORY_URL\n      the recorder's: sqlite:///FILE, or {" in text
    assert "BRISA_HISTORY_PASSWORD (or _FILE: a file that holds it)\n      the database" in text
    assert text.endswith("a line for each request [false]")
    assert "None" not in text


def test_help_names_every_variable() -> None:
    text = describe(HistorySettings)
    for name in ("HISTORY_URL", "HISTORY_PASSWORD", "COMMIT_S", "RETENTION_DAYS", "HEALTH_PORT"):
        assert f"BRISA_{name}" in text
