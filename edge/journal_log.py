"""SQLite's write-ahead log beside a journal's file: is it what was written?

SQLite takes a broken page in the log for the log's end, and goes on without what follows: right after
a power cut, but after a mere kill those were readings, and their numbers would be given again.
"""

from __future__ import annotations

import struct
from pathlib import Path

HEADER_BYTES = 32
LITTLE_ENDIAN_MAGIC = 0x377F0682


def log_of(path: Path) -> Path:
    """Where the newest rows are."""
    return path.with_name(path.name + "-wal")


def log_is_whole(path: Path, page_bytes: int) -> bool | None:
    """None if there is no log, or nothing in it. "SQLite Database File Format", 4.1 and 4.2."""
    try:
        log = log_of(path).read_bytes()
    except FileNotFoundError:
        return None
    if len(log) <= HEADER_BYTES:
        return None
    order = "<" if log[:4] == struct.pack(">I", LITTLE_ENDIAN_MAGIC) else ">"
    sums = _sums(order, log[:24], (0, 0))
    if sums != struct.unpack(">II", log[24:32]):
        return False
    whole = True
    frame_bytes = 24 + page_bytes
    for at in range(HEADER_BYTES, len(log) - frame_bytes + 1, frame_bytes):
        if log[at + 8 : at + 16] != log[16:24]:
            continue  # of an earlier log in the same file
        if not whole:
            return False  # something follows, so it is not only a write that was broken off
        sums = _sums(order, log[at : at + 8], sums)
        sums = _sums(order, log[at + 24 : at + frame_bytes], sums)
        whole = sums == struct.unpack(">II", log[at + 16 : at + 24])
    return True


def _sums(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for number in range(0, len(words), 2):
        first = first + words[number] + second & 0xFFFFFFFF
        second = second + words[number + 1] + first & 0xFFFFFFFF
    return first, second
