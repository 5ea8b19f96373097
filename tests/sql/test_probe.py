"""The probe: a row that rings the bells and is nothing else to anybody."""

import pytest

from tests.sql.support import Connection, Worker, put_back
from tests.sql.test_bell import RING, rings


@pytest.mark.parametrize("role", ["service_role", "tma_bridge"])
def test_a_probe_rings_and_goes(sql_dsn: str, database: Connection, role: str) -> None:
    """With no more rights than the bridge has."""
    with Worker(sql_dsn, role=role) as bridge:
        (probe,) = bridge.call("insert_tma_probe")
        heard = rings(database)
        bridge.call("delete_tma_probe", probe["answer"])
        then_heard = rings(database)

    assert heard == [RING]
    assert then_heard == [RING | {"payload": {"table": "bells"}}]  # ask again for what is missing
    assert database.execute("select id from tma_events").fetchall() == []


def test_nobody_takes_a_probe(worker: Worker) -> None:
    """It is not sent, not retried and not counted."""
    (before,) = worker.call("tma_event_stats")

    worker.call("insert_tma_probe")

    assert worker.claim() == []
    assert worker.connection.execute("select retry_tma_events(p_until => now())").fetchall() == []
    assert worker.call("recent_tma_events", 3600) == []
    assert worker.call("tma_event_stats") == [before]


def test_a_probe_that_was_left_behind_is_removed(database: Connection, worker: Worker) -> None:
    """By the next check, or by the next purge."""
    (left,) = worker.call("insert_tma_probe")
    put_back(database, 120, left["answer"])
    (own,) = worker.call("insert_tma_probe")

    worker.call("delete_tma_probe", own["answer"])
    left_over = database.execute("select id from tma_events").fetchall()
    worker.call("insert_tma_probe")
    (purged,) = worker.call("purge_tma_events", "30 days", 10)

    assert (left_over, purged["answer"]) == ([], 1)


def test_a_check_at_the_same_time_keeps_its_probe(database: Connection, worker: Worker) -> None:
    """Only its own and stale ones are removed."""
    (mine,) = worker.call("insert_tma_probe")
    (other,) = worker.call("insert_tma_probe")

    worker.call("delete_tma_probe", mine["answer"])

    assert database.execute("select id from tma_events").fetchall() == [{"id": other["answer"]}]


def test_only_probes_are_deleted(database: Connection, worker: Worker) -> None:
    """Its caller may have no right to the table."""
    kept = database.execute(
        "insert into tma_events (telegram_id, event_type) values (1, 'x') returning id"
    ).fetchone()
    assert kept

    worker.call("delete_tma_probe", kept["id"])

    assert database.execute("select id from tma_events").fetchall() == [kept]
