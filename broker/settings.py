"""Settings from BRISA_… variables, with _FILE twins for secrets, refused by name in one line.

A class of settings is a frozen pydantic model; `load` fills it. pydantic-settings would do the
same for 4 MB more on every node, which is a tenth of what the edge may take (docs/adr/0002).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args, get_origin
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo

from broker.contract import DEFAULT_ROOT, Topics

PREFIX = "BRISA_"
FILE_SUFFIX = "_FILE"
_BOUNDS = ("ge", "gt", "le")
_PASSWORD_IN_URL = re.compile(r"(://[^:/@]*):[^@]*@")


class SettingsError(ValueError):
    """A setting is not allowed; the text is one line: the variable, the value, what is allowed."""


class Settings(BaseModel):
    """What every process has."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="what is worth a line")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "text", "json"],
        Field(description="auto is text on a terminal and a line of JSON elsewhere"),
    ] = "auto"


class BrokerSettings(Settings):
    """How to reach the broker."""

    broker_url: Annotated[
        str, Field(description="mqtt://[USER@]HOST[:PORT] or mqtts://… with TLS")
    ] = "mqtt://127.0.0.1:1883"
    broker_password: Annotated[
        SecretStr | None, Field(description="the user's password; rather in a file")
    ] = None
    broker_ca: Annotated[
        Path | None, Field(description="CA certificates (PEM); default: the system's")
    ] = None
    broker_cert: Annotated[Path | None, Field(description="client certificate (PEM)")] = None
    broker_key: Annotated[Path | None, Field(description="the certificate's key (PEM)")] = None
    keepalive_s: Annotated[
        int,
        Field(ge=5, le=3600, description="a silent connection is given up after twice this"),
    ] = 15
    reconnect_s: Annotated[
        float, Field(ge=0.5, le=3600, description="the longest wait before it connects again")
    ] = 10.0
    root: Annotated[str, Field(description="the first level of every topic")] = DEFAULT_ROOT

    @field_validator("broker_url")
    @classmethod
    def _broker_url(cls, value: str) -> str:
        BrokerAddress.parse(value)
        return value

    @field_validator("root")
    @classmethod
    def _root(cls, value: str) -> str:
        Topics(value)
        return value

    @property
    def address(self) -> BrokerAddress:
        return BrokerAddress.parse(self.broker_url)


class BrokerAddress(BaseModel):
    """A broker's URL, taken apart."""

    host: str
    port: int
    tls: bool
    user: str | None

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Raises ValueError that says what a URL of a broker looks like."""
        allowed = "mqtt://[USER@]HOST[:PORT] or mqtts://[USER@]HOST[:PORT]"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{error}; allowed is {allowed}") from None
        if parts.password is not None:
            raise ValueError(f"a password belongs in {PREFIX}BROKER_PASSWORD{FILE_SUFFIX}")
        if (
            parts.scheme not in {"mqtt", "mqtts"}
            or not parts.hostname
            or parts.path.strip("/")
            or parts.query
            or parts.fragment
            or port == 0
        ):
            raise ValueError(f"allowed is {allowed}")
        tls = parts.scheme == "mqtts"
        user = unquote(parts.username) if parts.username else None
        return cls(host=parts.hostname, port=port or (8883 if tls else 1883), tls=tls, user=user)


S = TypeVar("S", bound=Settings)


def load(cls: type[S], environ: Mapping[str, str], **overrides: object) -> S:
    """Fill `cls` from the environment; `overrides` that are not None win (flags of a command).

    Raises SettingsError.
    """
    values: dict[str, object] = {}
    for name, field in cls.model_fields.items():
        variable = PREFIX + name.upper()
        text = _from_file(variable, environ) if _is_secret(field) else None
        if text is None:
            text = environ.get(variable)
        if text is not None:
            values[name] = text
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_refusal(cls, error, values)) from None


def _from_file(variable: str, environ: Mapping[str, str]) -> str | None:
    path = environ.get(variable + FILE_SUFFIX)
    if not path:
        return None
    if variable in environ:
        raise SettingsError(f"{variable} and {variable}{FILE_SUFFIX} are both set: keep one")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise SettingsError(f"{variable}{FILE_SUFFIX}={path}: {reason}") from None


def _refusal(cls: type[Settings], error: ValidationError, values: Mapping[str, object]) -> str:
    details = error.errors(include_url=False)[0]
    if not details["loc"]:
        return details["msg"].removeprefix("Value error, ")
    name = str(details["loc"][0])
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "missing":
        return f"{PREFIX}{name.upper()} is not set"
    if details["type"] != "value_error" and (allowed := _allowed(cls.model_fields[name])):
        message = f"allowed are {allowed}"
    secret = "password" in name
    value = (
        "…" if secret else _PASSWORD_IN_URL.sub(r"\1:…@", str(values.get(name, details["input"])))
    )
    return f"{PREFIX}{name.upper()}={value}: {message}"


def unknown_variables(environ: Mapping[str, str], *known: type[Settings]) -> list[str]:
    """A line for each BRISA_ variable that looks like a misspelt one of ours."""
    import difflib  # noqa: PLC0415 - only while starting

    names = {PREFIX + name.upper() for cls in known for name in cls.model_fields}
    names |= {name + FILE_SUFFIX for name in names}
    lines = []
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in names:
            close = difflib.get_close_matches(variable, names, n=1, cutoff=0.85)
            if close:
                lines.append(f"{variable} is not a setting; did you mean {close[0]}?")
    return lines


def describe(*classes: type[Settings]) -> str:
    """The variables, for --help."""
    lines = ["variables:"]
    seen = set()
    for cls in classes:
        for name, field in cls.model_fields.items():
            if name in seen:
                continue
            seen.add(name)
            twin = f" (or {FILE_SUFFIX}: a file that holds it)" if _is_secret(field) else ""
            fixed = field.default is not None and field.default_factory is None
            value = str(field.default).lower() if field.annotation is bool else field.default
            default = f" [{value}]" if fixed else ""
            allowed = f" ({bounds})" if (bounds := _allowed(field)) else ""
            lines.append(f"  {PREFIX}{name.upper()}{twin}")
            lines.append(f"      {field.description}{allowed}{default}")
    return "\n".join(lines)


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in (field.annotation, *get_args(field.annotation))


def _allowed(field: FieldInfo) -> str:
    """`5 to 3600`, or `dht11, dht22`; empty where it is neither a range nor a choice."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, get_args(field.annotation)))
    bounds = {
        name: getattr(one, name) for one in field.metadata for name in _BOUNDS if hasattr(one, name)
    }
    if "gt" in bounds and "le" in bounds:
        return f"more than {bounds['gt']}, up to {bounds['le']}"
    return f"{bounds['ge']} to {bounds['le']}" if len(bounds) == 2 else ""
