"""The table that `make bench` prints."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A line of the table; without a figure it is a heading."""

    name: str
    figure: str = ""
    ratio: str = ""
    aim: str = ""


def held(aims: dict[str, bool]) -> str:
    return "; ".join(f"{aim}: {'yes' if held else 'NO'}" for aim, held in aims.items())


def table(rows: list[Row]) -> str:
    """Markdown that can also be read as it is."""
    lines = [Row("what", "measured (lowest–highest)", "ratio", "aim, or what it took"), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    text = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)
