"""Which bells are believed: rows claimed without a ring are remembered, and a ring makes up."""

from realtime_bridge.doorbell import Bell
from realtime_bridge.doorbell.hearing import Hearing

CHANGES, BROADCAST = Bell.CHANGES, Bell.BROADCAST
TABLES = ("tma_events", "plan_requests")
READY = dict.fromkeys(Bell, 0.0)  # both, since the clock began


def believing(*rows: float, at: float = 100.0) -> Hearing:
    """Return a Hearing that was told, at that time, of rows of tma_events inserted then."""
    trust = Hearing(TABLES)
    trust.expect("tma_events", rows, READY, at)
    return trust


def test_a_row_without_a_ring_since_its_insert_is_a_silence() -> None:
    """Each bell that was ready owes a ring; the first claim says since when."""
    trust = believing(98.0, 99.0)

    trust.expect("tma_events", [101.0], READY, 102.0)

    silence = trust.silence(CHANGES)
    assert silence == trust.silence(BROADCAST)
    assert (silence.table, silence.rows, silence.inserted, silence.since) == (
        "tma_events",
        3,
        98.0,
        100.0,
    )


def test_a_ring_since_the_insert_is_enough() -> None:
    """One ring stands for all rows that were there by then, and for none that came later."""
    trust = Hearing(TABLES)
    trust.rang(CHANGES, "tma_events", 50.0)

    trust.expect("tma_events", [10.0, 50.0], {CHANGES: 0.0}, 51.0)
    answered = trust.silence(CHANGES)
    trust.expect("tma_events", [10.0, 50.1], {CHANGES: 0.0}, 52.0)

    assert answered is None
    assert trust.silence(CHANGES).rows == 1


def test_a_late_ring_ends_the_silence_of_its_table_only() -> None:
    """A ring that names a table answers for that one; one that names none answers for all."""
    trust = believing(99.0)
    trust.expect("plan_requests", [99.0], READY, 100.5)

    trust.rang(CHANGES, "tma_events", 101.0)
    left = trust.silence(CHANGES)
    trust.rang(CHANGES, None, 102.0)

    assert left.table == "plan_requests"
    assert trust.silence(CHANGES) is None
    assert trust.silence(BROADCAST).table == "tma_events"


def test_what_was_inserted_before_a_bell_was_ready_is_no_evidence() -> None:
    """A bell owes nothing for rows of the time before it was ready."""
    trust = Hearing(TABLES)

    trust.expect("tma_events", [10.0], {CHANGES: 5.0, BROADCAST: 10.0}, 11.0)

    assert trust.silence(CHANGES)
    assert trust.silence(BROADCAST) is None


def test_tables_that_are_not_ours_leave_nothing_behind() -> None:
    """Whatever names rings and rows carry, the memory does not grow by them."""
    trust = Hearing(TABLES)

    for number in range(100):
        trust.rang(CHANGES, f"table {number}", 1.0)
        trust.expect(f"table {number}", [2.0], READY, 3.0)

    assert trust.silence(CHANGES) is None
    assert trust.heard_at_all(CHANGES) < 0
    assert not trust._heard


def test_sleep_is_no_silence() -> None:
    """Who slept has not listened: patience starts when we wake up."""
    trust = believing(99.0)

    trust.woke(120.0)

    assert trust.silence(CHANGES).since == 120.0
    assert trust.silence(CHANGES).inserted == 99.0


def test_a_bell_is_forgiven_when_it_rings_for_what_it_missed() -> None:
    """Suspicion and deafness last across connections until a ring for that very table."""
    trust = believing(99.0)
    trust.renewed_for(frozenset({CHANGES}))
    fresh = (trust.silence(CHANGES), trust.suspect)
    trust.expect("tma_events", [110.0], READY, 111.0)
    again = trust.suspect
    trust.lose(again)
    trust.expect("tma_events", [112.0], {CHANGES: 0.0}, 113.0)
    trust.rang(CHANGES, "plan_requests", 114.0)
    still = (trust.deaf, trust.silence(CHANGES))
    trust.rang(CHANGES, "tma_events", 115.0)

    assert fresh == (None, frozenset()), "nothing is held against a new connection"
    assert again == {CHANGES}
    assert still == ({CHANGES}, None), "nothing more is expected of a deaf bell"
    assert trust.deaf == frozenset()


def test_an_excuse_forgets_what_is_missing_and_not_who_is_deaf() -> None:
    """A connection that was lost, or a database that was away, explains the silence so far."""
    trust = believing(99.0)
    trust.lose(frozenset({CHANGES}))

    trust.excuse()

    assert trust.silence(BROADCAST) is None
    assert trust.deaf == {CHANGES}
