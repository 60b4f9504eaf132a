"""Sets of numbers that come mostly in rows: 1 to 120960, 120973 to 120980."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]


class Spans:
    """Sorted, disjoint ranges of whole numbers, first and last included; those that touch are one.

    Every method costs a search and what it changes, however many numbers there are.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def __iter__(self) -> Iterator[Range]:
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        """How many ranges."""
        return len(self._firsts)

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.around(number) is not None

    def around(self, number: int) -> Range | None:
        """The range that the number is in."""
        at = bisect_left(self._lasts, number)
        if at < len(self._lasts) and self._firsts[at] <= number:
            return self._firsts[at], self._lasts[at]
        return None

    def add(self, first: int, last: int) -> None:
        begin = bisect_left(self._lasts, first - 1)  # those from here to end overlap or touch it
        end = bisect_right(self._firsts, last + 1)
        if begin < end:
            first, last = min(first, self._firsts[begin]), max(last, self._lasts[end - 1])
        self._firsts[begin:end] = [first]
        self._lasts[begin:end] = [last]

    def remove(self, first: int, last: int) -> None:
        begin = bisect_left(self._lasts, first)
        end = bisect_right(self._firsts, last)
        if begin < end:
            left, right = (self._firsts[begin], first - 1), (last + 1, self._lasts[end - 1])
            kept = [part for part in (left, right) if part[0] <= part[1]]
            self._firsts[begin:end] = [part[0] for part in kept]
            self._lasts[begin:end] = [part[1] for part in kept]

    def missing(self, first: int, last: int) -> list[Range]:
        """What of first to last is not in it, as ranges."""
        holes = []
        at = bisect_left(self._lasts, first)
        while first <= last and at < len(self._firsts) and self._firsts[at] <= last:
            if first < self._firsts[at]:
                holes.append((first, self._firsts[at] - 1))
            first = self._lasts[at] + 1
            at += 1
        return [*holes, (first, last)] if first <= last else holes

    def total(self) -> int:
        """How many numbers."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)
