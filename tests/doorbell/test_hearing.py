"""Which bells are trusted: rows claimed without a ring count against a bell, until it rings."""

from realtime_bridge.doorbell import Bell
from realtime_bridge.doorbell.hearing import Hearing

CHANGES, BROADCAST = Bell.CHANGES, Bell.BROADCAST
TABLES = ("tma_events", "plan_requests")
READY = dict.fromkeys(Bell, 0.0)  # both, since the clock began


def hearing_of(*rows: float, at: float = 100.0) -> Hearing:
    """Return a Hearing that was told at `at` of rows of tma_events inserted at `rows`."""
    hearing = Hearing(TABLES)
    hearing.expect("tma_events", rows, READY, at)
    return hearing


def test_a_row_without_a_ring_since_its_insert_is_a_silence() -> None:
    """Every bell that was ready should have rung; silence is counted from the first claim."""
    hearing = hearing_of(98.0, 99.0)

    hearing.expect("tma_events", [101.0], READY, 102.0)

    silence = hearing.silence(CHANGES)
    assert silence == hearing.silence(BROADCAST)
    assert (silence.table, silence.rows, silence.inserted, silence.since) == (
        "tma_events",
        3,
        98.0,
        100.0,
    )


def test_a_ring_since_the_insert_is_enough() -> None:
    """One ring covers all rows inserted by then, and none inserted later."""
    hearing = Hearing(TABLES)
    hearing.rang(CHANGES, "tma_events", 50.0)

    hearing.expect("tma_events", [10.0, 50.0], {CHANGES: 0.0}, 51.0)
    answered = hearing.silence(CHANGES)
    hearing.expect("tma_events", [10.0, 50.1], {CHANGES: 0.0}, 52.0)

    assert answered is None
    assert hearing.silence(CHANGES).rows == 1


def test_a_late_ring_ends_the_silence_of_its_table_only() -> None:
    """A ring covers the table it names, or all tables if it names none."""
    hearing = hearing_of(99.0)
    hearing.expect("plan_requests", [99.0], READY, 100.5)

    hearing.rang(CHANGES, "tma_events", 101.0)
    left = hearing.silence(CHANGES)
    hearing.rang(CHANGES, None, 102.0)

    assert left.table == "plan_requests"
    assert hearing.silence(CHANGES) is None
    assert hearing.silence(BROADCAST).table == "tma_events"


def test_what_was_inserted_before_a_bell_was_ready_is_no_evidence() -> None:
    """A bell need not ring for rows inserted before it was ready."""
    hearing = Hearing(TABLES)

    hearing.expect("tma_events", [10.0], {CHANGES: 5.0, BROADCAST: 10.0}, 11.0)

    assert hearing.silence(CHANGES)
    assert hearing.silence(BROADCAST) is None


def test_tables_that_are_not_ours_leave_nothing_behind() -> None:
    """Whatever table names arrive, memory does not grow."""
    hearing = Hearing(TABLES)

    for number in range(100):
        hearing.rang(CHANGES, f"table {number}", 1.0)
        hearing.expect(f"table {number}", [2.0], READY, 3.0)

    assert hearing.silence(CHANGES) is None
    assert hearing.last_ring(CHANGES) < 0
    assert not hearing._rang_at


def test_sleep_is_no_silence() -> None:
    """A process that was suspended heard nothing: silence is counted from when it resumed."""
    hearing = hearing_of(99.0)

    hearing.overslept(120.0)

    assert hearing.silence(CHANGES).since == 120.0
    assert hearing.silence(CHANGES).inserted == 99.0


def test_a_bell_is_forgiven_when_it_rings_for_what_it_missed() -> None:
    """Suspicion and deafness outlast connections, until a ring for the same table."""
    hearing = hearing_of(99.0)
    hearing.renewed(frozenset({CHANGES}))
    fresh = (hearing.silence(CHANGES), hearing.suspect)
    hearing.expect("tma_events", [110.0], READY, 111.0)
    again = hearing.suspect
    hearing.distrust(again)
    hearing.expect("tma_events", [112.0], {CHANGES: 0.0}, 113.0)
    hearing.rang(CHANGES, "plan_requests", 114.0)
    still = (hearing.deaf, hearing.silence(CHANGES))
    hearing.rang(CHANGES, "tma_events", 115.0)

    assert fresh == (None, frozenset()), "nothing is held against a new connection"
    assert again == {CHANGES}
    assert still == ({CHANGES}, None), "nothing more is expected of a deaf bell"
    assert hearing.deaf == frozenset()


def test_an_excuse_forgets_what_is_missing_and_not_who_is_deaf() -> None:
    """A lost connection or an absent database explains the silence so far."""
    hearing = hearing_of(99.0)
    hearing.distrust(frozenset({CHANGES}))

    hearing.excuse()

    assert hearing.silence(BROADCAST) is None
    assert hearing.deaf == {CHANGES}
