"""The account of one stream: what became of each of its numbers. Pure, no I/O.

A number is stored, or lost, or missing still; of the stored ones some have the date of a clock
that was not synchronised (`undated`). In the database the account is the rows of table `span`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from gateway.history.spans import Spans

# A stream that is sound has a range or two, and one more for each gap; and as back-fill comes oldest
# first, there are gaps only where readings were lost. All ranges of a stream are read and compared
# in each batch that names it: so that one from a node that numbers 1, 3, 5, …, in as many streams as
# it likes, takes no longer than a second, they are bounded by stream and by node.
MAX_RANGES, MAX_PIECES = 2_000, 10_000
STORED, LOST, UNDATED = "stored", "lost", "undated"


class Taken(Enum):
    """What is to be done with a reading."""

    NEW = auto()  # insert it
    DATED = auto()  # it is stored: give it this date
    KNOWN = auto()  # nothing
    REFUSED = auto()  # nothing: the account would be in too many pieces


@dataclass
class Room:
    """How many pieces a node's streams are in, beside the first of each kind in each stream."""

    pieces: int = 0


class Sums(NamedTuple):
    """What a sensor's row adds up of its streams, by column: numbers, and ranges of them."""

    pieces: int
    stored: int
    missing: int
    lost: int
    gaps: int
    open_ends: int


class Note(NamedTuple):
    """Of a lost range: when it was last added to, and the dates of its neighbours."""

    noted_ms: int | None = None
    after_ms: int | None = None
    before_ms: int | None = None


class Row(NamedTuple):
    """A row of table span, without its stream."""

    kind: str
    first_seq: int
    last_seq: int
    noted_ms: int | None = None
    after_ms: int | None = None
    before_ms: int | None = None


class Ledger:
    """Made from the rows of one stream; `rows` gives them back as they are to be.

    newest_seq: the highest number that exists, as far as is known. room: shared by a node's
    streams; these rows are counted in it already. ended_seq: the number that the stream's edge
    ended in order with; 0: it has not; None: it is one that does not say so. open_end: is its journal gone, and the number it ended with unknown?
    """

    def __init__(
        self,
        rows: Iterable[Row] = (),
        newest_seq: int = 0,
        room: Room | None = None,
        *,
        ended_seq: int | None = None,
        open_end: bool = False,
    ) -> None:
        self.newest_seq = newest_seq
        self.ended_seq = ended_seq
        self.open_end = open_end
        self._room = Room() if room is None else room
        self.stored, self.lost, self.undated = Spans(), Spans(), Spans()
        kinds = {STORED: self.stored, LOST: self.lost, UNDATED: self.undated}
        self._notes: dict[int, Note] = {}  # by the first number of the lost range
        self._fresh: set[int] = set()  # those of them that have a new neighbour
        for kind, first, last, *note in rows:
            kinds[kind].add(first, last)
            if kind == LOST:
                self._notes[first] = Note(*note)

    def take(self, seq: int, *, synchronised: bool) -> Taken:
        """A reading came."""
        self.newest_seq = max(self.newest_seq, seq)
        before = self.pieces()
        if seq in self.stored:
            if not synchronised or seq not in self.undated:
                return Taken.KNOWN
            self.undated.remove(seq, seq)
            if not self._fits(before):
                self.undated.add(seq, seq)
                return Taken.REFUSED
            taken = Taken.DATED
        else:
            self.stored.add(seq, seq)
            if not synchronised:
                self.undated.add(seq, seq)
            if not self._fits(before):
                self.stored.remove(seq, seq)
                self.undated.remove(seq, seq)
                return Taken.REFUSED
            if hole := self.lost.around(seq):
                self._found(seq, hole)
            taken = Taken.NEW
        self._room.pieces += self.pieces() - before
        return taken

    def pieces(self) -> int:
        """How many ranges there are beside the first of each kind."""
        return sum(len(kind) - 1 for kind in (self.stored, self.lost, self.undated) if kind)

    def _fits(self, before: int) -> bool:
        more = self.pieces() - before
        return max(len(self.stored), len(self.undated)) <= MAX_RANGES and (
            more <= 0 or self._room.pieces + more <= MAX_PIECES
        )

    def _found(self, seq: int, hole: tuple[int, int]) -> None:
        note = self._notes.pop(hole[0])
        self.lost.remove(seq, seq)
        if hole[0] < seq:
            self._note(hole[0], note._replace(before_ms=None))
        if seq < hole[1]:
            self._note(seq + 1, note._replace(after_ms=None))

    def lose(self, first: int, last: int, noted_ms: int) -> bool:
        """What is missing of first to last will not come. False: it would be too many pieces."""
        holes = [
            hole
            for missing in self.stored.missing(first, last)
            for hole in self.lost.missing(*missing)
        ]
        # twice: between the pieces of what is stored there is always room for an honest claim
        many = len(self.lost) + len(holes) > 2 * MAX_RANGES
        if holes and (many or self._room.pieces + len(holes) > 2 * MAX_PIECES):
            return False
        pieces = self.pieces()
        for begin, end in holes:
            left, right = self.lost.around(begin - 1), self.lost.around(end + 1)
            after = self._notes.pop(left[0]) if left else Note()
            before = self._notes.pop(right[0]) if right else Note()
            self.lost.add(begin, end)
            note = Note(noted_ms, after.after_ms, before.before_ms)
            self._note(left[0] if left else begin, note)
        self._room.pieces += self.pieces() - pieces
        return True

    def journal_is_gone(self) -> None:
        """Readings after the newest may have been in it, unless its edge ended in order."""
        self.open_end = self.ended_seq is not None and self.ended_seq < self.newest_seq

    def _note(self, first: int, note: Note) -> None:
        self._notes[first] = note
        self._fresh.add(first)

    def neighbours(self) -> set[int]:
        """Stored numbers beside what was just lost, whose dates are not known."""
        wanted = set()
        for first, last in self.lost if self._fresh else ():
            _, after_ms, before_ms = self._notes[first]
            if first in self._fresh and after_ms is None:
                wanted.add(first - 1)
            if first in self._fresh and before_ms is None:
                wanted.add(last + 1)
        return {seq for seq in wanted if seq in self.stored}

    def date(self, dates_ms: Mapping[int, int]) -> None:
        """Write the dates of stored readings beside the lost ranges that they border on."""
        for seq, date_ms in dates_ms.items() if self._notes else ():
            if after := self._notes.get(seq + 1):
                self._notes[seq + 1] = after._replace(after_ms=date_ms)
            if hole := self.lost.around(seq - 1):
                self._notes[hole[0]] = self._notes[hole[0]]._replace(before_ms=date_ms)

    def watermark(self) -> int:
        """The highest number up to which each one is stored or lost."""
        seq = 0
        while known := self.stored.around(seq + 1) or self.lost.around(seq + 1):
            seq = known[1]
        return seq

    def missing(self) -> int:
        """How many numbers up to the newest are neither stored nor lost."""
        return self.newest_seq - self.stored.total() - self.lost.total()

    def sums(self) -> Sums:
        return Sums(
            pieces=self.pieces(),
            stored=self.stored.total(),
            missing=self.missing(),
            lost=self.lost.total(),
            gaps=len(self.lost),
            open_ends=int(self.open_end),
        )

    def lost_ms(self) -> int | None:
        """When a lost range was last added to; None: nothing is lost."""
        return max((note.noted_ms or 0 for note in self._notes.values()), default=None)

    def rows(self) -> set[Row]:
        """What is to be in the database."""
        rows = {Row(STORED, first, last) for first, last in self.stored}
        rows |= {Row(UNDATED, first, last) for first, last in self.undated}
        return rows | {Row(LOST, first, last, *self._notes[first]) for first, last in self.lost}
