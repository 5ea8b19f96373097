"""Which bells are believed: silence is counted, and a ring makes up for it."""

from realtime_bridge.doorbell import Bell
from realtime_bridge.doorbell.trust import Hearing, Trust

BOTH = frozenset(Bell)
CHANGES = frozenset({Bell.CHANGES})


def test_silence_is_counted_in_rings_of_the_other_bell() -> None:
    """A bell is silent once the other one rang so often without it."""
    hearing = Hearing(gap=1.0)

    for second in range(3):
        hearing.rang(Bell.BROADCAST, float(second))

    assert hearing.silent(3) == CHANGES
    assert hearing.silent(4) == frozenset()


def test_a_ring_ends_the_silence() -> None:
    """One ring starts the count anew, for that bell only."""
    hearing = Hearing(gap=1.0)
    for second in range(3):
        hearing.rang(Bell.BROADCAST, float(second))

    hearing.rang(Bell.CHANGES, 3.5)

    assert hearing.silent(1) == {Bell.BROADCAST}


def test_rings_close_together_are_one_occasion() -> None:
    """A thousand frames within a second are no more evidence than one."""
    hearing = Hearing(gap=1.0)

    for frame in range(1000):
        hearing.rang(Bell.CHANGES, frame / 1000)

    assert hearing.silent(1) == {Bell.BROADCAST}
    assert hearing.silent(2) == frozenset()


def test_a_steady_stream_counts_once_a_gap() -> None:
    """Rings that never pause still count, one for every gap that has passed."""
    hearing = Hearing(gap=1.0)

    for tenth in range(31):
        hearing.rang(Bell.CHANGES, tenth / 10)

    assert hearing.silent(4) == {Bell.BROADCAST}
    assert hearing.silent(5) == frozenset()


def test_missed_rows_count_after_the_grace_only() -> None:
    """Reports are added up a table, and count when a late ring had its time."""
    trust = Trust()
    trust.missed("tma_events", 2, at=10.0)
    trust.missed("tma_events", 1, at=11.0)
    trust.missed("plan_requests", 2, at=10.0)

    assert trust.missed_rows(now=11.9, grace=2.0) == 0
    assert trust.missed_rows(now=12.0, grace=2.0) == 3


def test_a_ring_clears_the_reports_of_its_table() -> None:
    """A ring that names a table clears that one; a ring that names none clears all."""
    trust = Trust()
    for table, rows in (("tma_events", 3), ("plan_requests", 2)):
        trust.missed(table, rows, at=0.0)

    trust.rang(Bell.CHANGES, "tma_events")
    one_left = trust.missed_rows(now=9.0, grace=1.0)
    trust.rang(Bell.BROADCAST, None)

    assert one_left == 2
    assert trust.missed_rows(now=9.0, grace=1.0) == 0


def test_a_bell_is_forgiven_when_it_rings() -> None:
    """Suspicion and deafness last across connections until the bell itself rings."""
    trust = Trust()
    trust.missed("tma_events", 3, at=0.0)

    trust.rebuilt_for(BOTH)
    after_rebuild = (trust.suspect, trust.missed_rows(now=9.0, grace=1.0))
    trust.lose(CHANGES)
    trust.rang(Bell.BROADCAST, None)
    still = (trust.suspect, trust.deaf)
    trust.rang(Bell.CHANGES, None)

    assert after_rebuild == (BOTH, 0)
    assert still == (CHANGES, CHANGES)
    assert not trust.suspect | trust.deaf
