"""What the edge says in English is known here in Spanish: all of it, found in its source."""

from __future__ import annotations

import ast
import errno
import os
import time
from collections.abc import Iterator

import pytest

from edge.sensors.base import Cause
from gateway.reasons import CAUSES, reason_in, reasons
from tests.support import REPOSITORY

# Where a text that reaches SensorHealth.reason or .journal is made: classes, functions, attributes.
RAISED = {"NoReading": 1, "SensorBroken": 0, "CaptureError": 0, "Damaged": 0, "ForeignError": 0}
CALLED = {"_enter": 1, "_missed_one": 1, "_broke": 0, "_wrong": 3, "NotADirectoryError": 1}
ASSIGNED = {"reason", "_memory_only", "_set_aside"}
RETURNED = {"_why_not", "_busy", "_denied", "_seen", "said"}
# What is handed on: made by one of those above, or by the machine.
HANDED_ON = {
    "str(error)",
    "detail",
    "reason",
    "reason[:500]",
    "text.splitlines()[-1]",
    "_denied(path)",
    "_denied(denied[0])",
    "self._why_not(gpiod, path, error)",
    "self._busy(_consumer(gpiod, path, self._pin))",
    "str(fault)",
    "os.strerror(errno.ENOTDIR)",
    "''",
}
# What stands in an f-string where it is words, and no name or number.
FILLED = {
    "error.strerror": os.strerror(errno.ENODEV),
    "how_many": "no",
    "held": "GPIO 3 is held by dht11@3",
    "_seen(self._labels(gpiod))": "here: none that this user may open; choose by the option chip",
    "_seen(labels.items())": "here: /dev/gpiochip0 (one); choose by the option chip",
    "allowed": "the header time_us,level",
    "said(error)": "database disk image is malformed",
    "cause": "timeout",
    "detail": "no whole answer",
    "error": "No such file or directory",
    "shown": "'x'",
}


def texts(node: ast.expr | None) -> Iterator[str]:
    """What an expression says, with its places filled."""
    if node is None or ast.unparse(node) in HANDED_ON:
        return
    if isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.JoinedStr):
        yield from texts(node.value)
    elif isinstance(node, ast.JoinedStr):
        parts = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                parts.append(str(part.value))
            else:
                assert isinstance(part, ast.FormattedValue)
                parts.append(FILLED.get(ast.unparse(part.value), "X1"))
        yield "".join(parts)
    else:
        assert isinstance(node, ast.Constant), f"what does it say? {ast.unparse(node)}"
        yield str(node.value)


def said_by_the_edge() -> Iterator[tuple[str, str]]:
    for path in sorted((REPOSITORY / "edge").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found: list[ast.expr | None] = []
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                at = (RAISED | CALLED).get(name)
                found = list(node.args[at : at + 1]) if at is not None else []
            elif isinstance(node, ast.Assign):
                names = {
                    getattr(target, "attr", getattr(target, "id", "")) for target in node.targets
                }
                found = [node.value] if names & ASSIGNED else []
            elif isinstance(node, ast.FunctionDef) and node.name in RETURNED:
                inner = (one for one in ast.walk(node) if isinstance(one, ast.Return))
                found = [one.value for one in inner]
            for one in found:
                yield from ((path.name, text) for text in texts(one) if text)


SAID = sorted(set(said_by_the_edge()))


def test_they_were_found() -> None:
    assert len(SAID) > 55
    assert {name for name, _ in SAID} >= {
        "iio.py",
        "gpio.py",
        "sampler.py",
        "journal.py",
        "capture.py",
    }


@pytest.mark.parametrize(("file", "text"), SAID)
def test_the_edge_says_nothing_that_is_not_known_here(file: str, text: str) -> None:
    said, language = reason_in("es", text)
    assert language == "es", f"{file} says “{text}”: add it to gateway/reasons.py, then make texts"
    assert said.count("X1") == text.count("X1")  # each place is filled
    assert reason_in("en", text) == (text, "en")


def test_the_causes_are_the_edges() -> None:
    assert set(CAUSES) == set(Cause)


@pytest.mark.parametrize(
    ("english", "spanish"),
    [
        ("timeout", "sin respuesta"),
        (
            "timeout: the sensor did not answer, or broke off",
            "sin respuesta: el sensor no respondió, o se interrumpió",
        ),
        (
            "no reading 12 times in a row (checksum: wrong sum): look at power and"
            " wiring, or take its power away for a moment",
            "sin lectura 12 veces seguidas (suma de control: suma incorrecta):"
            " revise la alimentación y el cableado, o quítele la corriente un momento",
        ),
        (
            "io: /sys/x/in_temp_input: No such device",
            "E/S: /sys/x/in_temp_input: no existe el dispositivo",
        ),
        ("GPIO 17: No such device", "GPIO 17: no existe el dispositivo"),
        (
            "range: not a dht11 reading: is it another model?",
            "fuera de rango: no es una lectura de un dht11: ¿es otro modelo?",
        ),
        (
            "there is no /dev/x; here: none that this user may open; choose by the option chip",
            "no existe /dev/x; aquí: ninguno que este usuario pueda abrir; elija con la opción chip",
        ),
        (
            "readings are kept in memory only: /j.db: No space left on device",
            "las lecturas se guardan solo en memoria: /j.db: no queda espacio en el disco",
        ),
        (
            "readings are kept in memory only: /j.db: disk I/O error; the journal was damaged (its log"
            " is broken) and set aside as j.db.damaged-1; readings that were not sent by then may be lost",
            "las lecturas se guardan solo en memoria: /j.db: error de entrada/salida del disco; el"
            " diario estaba dañado (su registro está roto) y se apartó como j.db.damaged-1; las"
            " lecturas que aún no se habían enviado pueden haberse perdido",
        ),
    ],
)
def test_a_reason_in_a_reason_is_said_in_spanish_too(english: str, spanish: str) -> None:
    assert reason_in("es", english) == (spanish, "es")
    assert reasons(english) == {"es": spanish}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "something else",
        "a: b",
        "timeout: something else",
        "/x: something",
        "not open ",
        "no ",
        "not a ",
    ],
)
def test_what_is_not_known_stays_english_and_says_so(text: str) -> None:
    assert reason_in("es", text) == (text, "en")
    assert reasons(text) == {}


@pytest.mark.parametrize(
    "hostile", [": ", "GPIO ", "timeout: ", "not a ", "; here: ", "%(a)s%", "("]
)
def test_a_hostile_reason_takes_no_time(hostile: str) -> None:
    begun = time.process_time()
    for n in range(20):
        reason_in("es", (f"{n}" + hostile * 500)[:500])
        reason_in("es", ("no reading 1 times in a row (" * n + hostile * 500)[:500])
    assert time.process_time() - begun < 0.5
