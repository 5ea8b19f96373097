"""What bridges say of themselves when they sweep, and tma_replicas."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.sql.support import Connection, Row, Worker, connect, limits

SAID: dict[str, Any] = {
    "name": "one",
    "version": "1.2.3",
    "changes": "ready",
    "broadcast": "down",
    "problem": None,
    "per_second": 30,
    "every_seconds": 25.5,
}


def sweep(worker: Worker, **said: Any) -> str:
    """A sweep of a bridge; its id."""
    replica = {"id": str(uuid4()), **SAID, **said}
    worker.call("sweep_tma", "2 minutes", False, {}, replica)
    return str(replica["id"])


def known(worker: Worker) -> list[Row]:
    """The bridges that are known."""
    (row,) = worker.call("tma_replicas")
    replicas: list[Row] = row["answer"]["replicas"]
    return replicas


def test_a_bridge_is_known_by_its_sweep(database: Connection, worker: Worker) -> None:
    """With all it said, and when."""
    sweep(worker)

    (one,) = known(worker)

    assert one.pop("seen_seconds") < 60
    assert one == SAID


def test_a_bridge_is_one_row(worker: Worker) -> None:
    """What it says later counts; another one stands beside it."""
    first = sweep(worker)
    sweep(worker, id=first, changes="down", problem="no answer")
    sweep(worker, name="two")

    assert [(one["name"], one["changes"]) for one in known(worker)] == [
        ("one", "down"),
        ("two", "ready"),
    ]


def test_a_sweep_need_not_say_anything(worker: Worker) -> None:
    """As that of an older bridge."""
    worker.call("sweep_tma", "2 minutes", False, {})

    assert known(worker) == []


def test_who_is_not_seen_is_forgotten(database: Connection, worker: Worker) -> None:
    """After ten minutes, by the next sweep of another one."""
    sweep(worker)
    database.execute("update bridge.replicas set seen_at = now() - interval '11 minutes'")

    before = known(worker)
    sweep(worker, name="two")

    assert before == []
    assert [row["name"] for row in database.execute("select name from bridge.replicas")] == ["two"]


def test_there_are_a_hundred_at_most(database: Connection, worker: Worker) -> None:
    """A bridge that starts again and again does not fill the page; the newest stay."""
    database.execute(
        "insert into bridge.replicas (id, name, version, seen_at)"
        " select gen_random_uuid(), 'old', '1', now() - interval '1 minute'"
        " from generate_series(1, 150)"
    )

    sweep(worker, name="new")

    found = known(worker)
    assert len(found) == 100
    assert found[0]["name"] == "new"


@pytest.mark.parametrize(
    "said",
    [
        {"id": "not an id"},
        {"id": None},
        [],
        "text",
        5,
    ],
)
def test_nonsense_keeps_no_sweep_from_its_work(worker: Worker, said: Any) -> None:
    """It is left out, and the lanes are swept."""
    (row,) = worker.connection.execute(
        "select public.sweep_tma('2 minutes', false, '{}', %s::jsonb) as swept",
        [json.dumps(said)],
    ).fetchall()

    assert "tma_events" in row["swept"]
    assert known(worker) == []


def test_what_is_said_is_cut(worker: Worker) -> None:
    """Long texts, numbers that are none, and what nobody asked for."""
    long = "x" * 100_000
    sweep(
        worker,
        name=long,
        version=long,
        changes=long,
        problem=long,
        per_second="<b>",
        every_seconds=1e300,
        more=long,
    )

    (one,) = known(worker)

    assert [len(one[key]) for key in ("name", "version", "changes", "problem")] == [
        100,
        40,
        20,
        300,
    ]
    assert (one["per_second"], one["every_seconds"]) == (None, 1_000_000)
    assert "more" not in one


def test_the_pace_of_the_bot(worker: Worker) -> None:
    """Its limits as claims have them, and pauses."""
    worker.ask(limits=limits())

    (row,) = worker.call("tma_replicas")

    assert row["answer"]["pace"] == {
        "limits": limits(),
        "limits_differ": False,
        "paused_seconds": 0,
        "paused_chats": 0,
    }


def test_the_narrow_role_says_and_looks(sql_dsn: str, database: Connection) -> None:
    """A bridge need not hold the key to the whole project."""
    with Worker(sql_dsn, role="tma_bridge") as bridge:
        sweep(bridge)
        assert len(known(bridge)) == 1
    with connect(sql_dsn, "anon") as anybody, pytest.raises(Exception, match="permission denied"):
        anybody.execute("select public.tma_replicas()")
