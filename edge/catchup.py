"""What of a sensor's journal the recorder lacks, and what to send it next. Pure: no I/O, no thread.

The recorder says how far it is (`stored`); whatever of the journal lies past that, and is not just
on its way, is sent again, oldest first, a batch at a time: the next one goes when the recorder's
answer to the last has come, or when it is overdue. Nothing is remembered beyond a connection, and
a `stored` that goes back is believed: the recorder alone knows what its database holds.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from uuid import UUID

from broker.contract import MAX_EARLIER_STREAMS, Backfill, Mark, Reading, Stored
from edge.journal import Journal

# About 25 KB: a live reading that has to wait for one to be sent waits a few milliseconds.
BATCH_READINGS = 200
# With each new reading the journal dates some thousands of old ones; after so many, it is done.
DATING_READINGS = 256
ANSWER_FIRST_S, ANSWER_LONGEST_S = 5.0, 300.0
ANSWER_IN_A_HURRY_S = 20.0  # the longest, while an edge that ends hands over
_Range = tuple[UUID, int, int]  # first and last number


class _Sent(NamedTuple):
    """A batch that is not answered yet: what was known of its stream then, and when it is due."""

    batch: Backfill
    mark: Mark | None
    due_s: float

    def is_answered(self, mark: Mark | None) -> bool:
        """Has what it was about changed? Live readings change the rest of a mark all the time."""
        if mark is None or self.mark is None:
            return mark is not self.mark
        if self.batch.after is None:
            return (mark.undated, mark.lost) != (self.mark.undated, self.mark.lost)
        before = (self.mark.seq, self.mark.missing, self.mark.closed)
        return (mark.seq, mark.missing, mark.closed) != before


class CatchUp:
    """One sensor's. after_s: so long may a live reading be on its way before it is sent again.

    former_gone: are journals that this node had before this one gone for ever?
    """

    def __init__(
        self, sensor: str, journal: Journal, *, after_s: float, former_gone: bool = False
    ) -> None:
        self.sensor = sensor
        self._former_gone = former_gone
        self._called_gone: set[UUID] = set()  # on this connection
        self._journal = journal
        self._after_s = after_s
        self._marks: dict[UUID, Mark] | None = None
        self._heard: dict[UUID, Mark] = {}  # the same, also when it no longer counts
        self._sent: _Sent | None = None
        self._longest_s = ANSWER_LONGEST_S
        # How often in a row a batch of a stream was not answered: others go first, and it waits.
        self._unanswered: Counter[UUID] = Counter()
        # Of the current stream the highest number that this process may have let out.
        self._stream: UUID | None = None
        self._let_out = 0
        # Dates are made known by the first readings of a clock that is right; until there are some,
        # and once a range was looked through in vain, nobody looks for them.
        self._synchronised = False
        self._dates_come = 0
        self._dateless: set[_Range] = set()
        self._gone: set[_Range] = set()  # what was called lost, and is not here

    def start(self) -> None:
        """Take note of what the journal held before this process."""
        current = self._journal.current(self.sensor)
        if current is not None:
            self._stream, self._let_out = current.stream, current.newest_seq

    # ---- what happens

    def disconnected(self) -> None:
        """What was heard no longer counts."""
        self._marks = self._sent = None
        self._unanswered.clear()
        self._dateless.clear()
        self._gone.clear()
        self._called_gone.clear()

    def recorder_is_there(self) -> None:
        """There is one; if it has not said a word of this sensor, it has nothing of it."""
        if self._marks is None:
            self._marks = {}

    def heard(self, stored: Stored) -> int | None:
        """The recorder's word. Returns None, or where numbers were used by somebody else.

        That is: all of the current stream's up to the returned one are ours. A journal that was
        restored from an old copy would use its numbers twice; the caller is to fork it.
        """
        named: dict[UUID, Mark] = {mark.stream: mark for mark in (*stored.earlier, stored)}
        if len(stored.earlier) >= MAX_EARLIER_STREAMS:
            # of more streams than it can name, what it said before of the others still holds
            named = {**(self._marks or {}), **named}
        self._marks = self._heard = named
        sent = self._sent
        if sent is not None and sent.is_answered(named.get(sent.batch.stream)):
            self._sent = None
            del self._unanswered[sent.batch.stream]
        mark = self._marks.get(self._stream) if self._stream is not None else None
        used = max(mark.seq, mark.newest) if mark is not None else 0
        return self._let_out if used > self._let_out else None

    def heard_published(self, stream: UUID, seq: int) -> int | None:
        """A number that the broker has retained as used. Returns as `heard`."""
        if stream == self._stream:
            if seq <= self._let_out:
                return None
            self._journal.note_published(self.sensor, stream, seq)
            return self._let_out
        newest = {one.stream: one.newest_seq for one in self._journal.streams(self.sensor)}
        mine = self._journal.held(stream) or (self._former_gone and not self._journal.duplicate)
        if mine and seq > newest.get(stream, 0):
            self._journal.note_published(self.sensor, stream, seq)
        return None

    def hurry(self) -> None:
        """There is not much time left: what was not answered goes at once, and is not waited for long."""
        self._longest_s = ANSWER_IN_A_HURRY_S
        self._sent = None
        self._unanswered.clear()

    def let_out(self, stream: UUID, seq: int) -> None:
        """A reading, or a word of what there is, that is given to the broker: it may arrive."""
        if stream != self._stream:
            self._stream, self._let_out = stream, 0
        self._let_out = max(self._let_out, seq)

    def published(self, reading: Reading) -> None:
        self.let_out(reading.stream, reading.seq)
        if reading.clock_synchronised and not self._synchronised:
            self._dates_come = DATING_READINGS
        if self._dates_come:
            self._dates_come -= 1
            self._dateless.clear()
        self._synchronised = reading.clock_synchronised

    # ---- what to do

    @property
    def behind(self) -> int:
        """How many of the journal's readings the recorder has not said to have; 0 if unheard."""
        return self._behind(self._marks) if self._marks is not None else 0

    @property
    def left(self) -> int:
        """How many it has never said to have: also while there is no connection, or was none yet."""
        return self._behind(self._heard)

    def _behind(self, marks: Mapping[UUID, Mark]) -> int:
        whole = {stream: mark.seq for stream, mark in marks.items()}
        return sum(
            max(0, one.newest_seq - max(whole.get(one.stream, 0), one.oldest_seq - 1))
            for one in self._journal.streams(self.sensor)
        )

    def next(self, now_s: float, *, alone: bool = True) -> Backfill | None:
        """The next batch, if one is due. now_s: monotonic. alone: no other edge has our name."""
        if self._marks is None or (self._sent is not None and now_s < self._sent.due_s):
            return None
        if self._sent is not None:
            self._unanswered[self._sent.batch.stream] += 1
        batch = self._first(self._wanted(alone=alone))
        if batch is None:
            self._sent = None
            return None
        silent = min(self._unanswered[batch.stream], 10)
        wait_s = min(self._longest_s, ANSWER_FIRST_S * 2**silent)
        self._sent = _Sent(batch, self._marks.get(batch.stream), now_s + wait_s)
        if batch.gone:
            self._called_gone.add(batch.stream)
        if batch.readings and batch.stream == self._stream:
            self.let_out(batch.stream, batch.readings[-1].seq)
        return batch

    def _first(self, wanted: Iterator[Backfill]) -> Backfill | None:
        """The first of a stream that was answered last time, or of the one that was asked least."""
        least = None
        for batch in wanted:
            silent = self._unanswered[batch.stream]
            if not silent:
                return batch
            if least is None or silent < self._unanswered[least.stream]:
                least = batch
        return least

    def _wanted(self, *, alone: bool) -> Iterator[Backfill]:
        """What the recorder lacks, oldest stream first; then dates that it does not know."""
        marks = self._marks or {}
        # asked before and after: a salvage may end, or the file fail, between
        whole = self._journal.whole
        ours = self._journal.streams(self.sensor)
        whole = whole and self._journal.whole
        in_use = self._journal.current(self.sensor)
        current = in_use.stream if in_use is not None else None
        for one in reversed(ours):
            seq = self._seq(one.stream)
            # an old stream at once; of the current one, what cannot be just on its way
            if seq < one.newest_seq and (one.stream != current or self._is_due(current, seq)):
                rows = self._journal.after(one.stream, seq, BATCH_READINGS)
                if rows:
                    yield Backfill(stream=one.stream, after=seq, readings=rows)
        if whole and alone:
            newest = {one.stream: one.newest_seq for one in ours}
            yield from self._nowhere(marks, newest, current)
        for mark in marks.values() if whole else ():  # called lost, and here: an old card is back
            yield from self._those_of(mark.stream, mark.lost, self._gone)
        for mark in marks.values() if self._synchronised else ():
            yield from self._those_of(mark.stream, mark.undated, self._dateless, dated=True)

    def _nowhere(
        self, marks: Mapping[UUID, Mark], newest: Mapping[UUID, int], current: UUID | None
    ) -> Iterator[Backfill]:
        """What nobody has any more: taken by a power cut, or with a file.

        Of a stream that this journal never held nothing is known: it may be another edge's.
        """
        published = self._journal.published(self.sensor)
        for stream in {**marks, **published}:
            mark, seq = marks.get(stream), self._seq(stream)
            if stream == current or seq < newest.get(stream, 0):
                continue
            used = published.get(stream)
            said = functools.partial(Backfill, stream=stream, after=seq, newest=used, readings=[])
            if self._journal.held(stream):
                if (mark is not None and mark.missing) or seq < (used or 0):
                    yield said()
            elif (
                self._former_gone
                and not (mark is not None and mark.closed)
                and stream not in self._called_gone
                and not self._journal.duplicate
            ):
                yield said(gone=True)

    def _those_of(
        self,
        stream: UUID,
        ranges: Iterable[tuple[int, int]],
        in_vain: set[_Range],
        *,
        dated: bool = False,
    ) -> Iterator[Backfill]:
        for first, last in ranges:
            if (stream, first, last) not in in_vain:
                rows = self._journal.between(
                    stream, first, last, BATCH_READINGS, synchronised_only=dated
                )
                if rows:
                    yield Backfill(stream=stream, readings=rows)
                elif dated or self._journal.whole:  # else the file has failed just now
                    in_vain.add((stream, first, last))

    def _is_due(self, stream: UUID, seq: int) -> bool:
        age_s = self._journal.age_s(stream, seq + 1)
        return age_s is not None and age_s >= self._after_s

    def _seq(self, stream: UUID) -> int:
        mark = (self._marks or {}).get(stream)
        return mark.seq if mark is not None else 0
