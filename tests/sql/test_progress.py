"""Progress of a request: events that replace each other, for as long as the claim holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.sql.support import Connection, Row, Worker, connect, delivered, insert, put_back, token


@pytest.fixture
def claimed(database: Connection, planner: Worker) -> Row:
    """A request of chat 1 about lead 7 in the hands of `planner`."""
    insert(database, "plan_requests", lead_id=7, locale="uk", lead_visible=True)
    (row,) = planner.claim()
    return row


def report(worker: Worker, row: Row, text: str = "Reading", **event: Any) -> bool:
    """Report progress as a bridge does; whether it counted."""
    event = {"event_type": "plan_progress", "payload": {"text": text}} | event
    (answer,) = worker.call("report_tma_progress", worker.lane, row["id"], row["attempt"], event)
    return bool(answer["answer"])


def completed(row: Row, **event: Any) -> Row:
    """The outcome of a request that was answered, with an event in the progress's place."""
    ready = {"event_type": "plan_ready", "replaces": f"plan_requests:{row['id']}"} | event
    return token(row) | {"status": "completed", "result": {}, "events": [ready]}


@contextmanager
def impatient(worker: Worker) -> Iterator[None]:
    """The worker's calls fail where they would wait for a lock."""
    worker.connection.execute("set lock_timeout = '50ms'")
    try:
        yield
    finally:
        worker.connection.execute("reset lock_timeout")


def events(database: Connection) -> list[Row]:
    """All events, oldest first."""
    return database.execute("select * from tma_events order by id").fetchall()


def test_a_report_is_an_event_of_the_requests_chat(
    database: Connection, planner: Worker, claimed: Row
) -> None:
    """About its lead, in its language, under a key that no report can choose."""
    assert report(planner, claimed, options={"silent": True}, priority=1, replaces="mine:1")

    (event,) = events(database)
    assert (event["telegram_id"], event["lead_id"], event["locale"]) == (1, 7, "uk")
    assert (event["event_type"], event["payload"]) == ("plan_progress", {"text": "Reading"})
    assert (event["lead_visible"], event["status"]) == (True, "pending")
    assert (event["options"], event["priority"]) == ({"silent": True}, 1)
    assert event["replaces"] == f"plan_requests:{claimed['id']}"


def test_of_reports_that_wait_only_the_newest_is_told(
    database: Connection, planner: Worker, claimed: Row
) -> None:
    """They replace each other before they are sent."""
    for text in "abc":
        assert report(planner, claimed, text)

    waiting = [row["payload"]["text"] for row in events(database) if row["status"] == "pending"]
    assert waiting == ["c"]


def test_the_answer_takes_the_place_of_a_report_that_waits(
    database: Connection, planner: Worker, claimed: Row
) -> None:
    """Then it was never told how far the answer had got."""
    report(planner, claimed)

    planner.settle(completed(claimed))

    assert [(row["event_type"], row["status"]) for row in events(database)] == [
        ("plan_progress", "withdrawn"),
        ("plan_ready", "pending"),
    ]


def test_the_answer_edits_the_message_of_the_progress(
    database: Connection, planner: Worker, worker: Worker, claimed: Row
) -> None:
    """So the chat has one message."""
    report(planner, claimed)
    (told,) = worker.claim(start_now=1)
    worker.settle(delivered(told, 8))

    planner.settle(completed(claimed))

    (ready,) = worker.claim(start_now=1)
    assert (ready["event_type"], ready["edits"]) == ("plan_ready", 8)


def test_who_takes_over_changes_the_same_message(
    database: Connection, planner: Worker, worker: Worker, claimed: Row
) -> None:
    """The key is the request's, whoever works on it."""
    report(planner, claimed)
    (told,) = worker.claim(start_now=1)
    worker.settle(delivered(told, 8))
    put_back(database, 300, claimed["id"], table="plan_requests")
    planner.recover(120)
    (mine,) = planner.claim()

    assert report(planner, mine, "again")

    (again,) = worker.claim(start_now=1)
    assert (again["payload"], again["edits"]) == ({"text": "again"}, 8)


def test_the_progress_of_who_lost_the_request_changes_nothing(
    database: Connection, planner: Worker, claimed: Row
) -> None:
    """While it waits again, while somebody else works on it, and after it has ended."""
    put_back(database, 300, claimed["id"], table="plan_requests")
    planner.recover(120)
    while_pending = report(planner, claimed)
    (mine,) = planner.claim()
    while_in_work = report(planner, claimed)
    planner.settle(token(mine) | {"status": "failed", "error": "no"})
    after_the_end = report(planner, claimed), report(planner, mine)

    assert (while_pending, while_in_work, *after_the_end) == (False,) * 4
    assert events(database) == []


def test_a_request_that_was_never_there_has_no_progress(
    database: Connection, planner: Worker
) -> None:
    """Nor does a row without the token."""
    assert not report(planner, {"id": 0, "attempt": 1})
    assert not report(planner, {"id": None, "attempt": None})
    assert events(database) == []


def test_a_report_waits_for_an_answer_that_is_being_written(
    sql_dsn: str, database: Connection, planner: Worker, claimed: Row
) -> None:
    """Then it comes too late: told after the answer, it would take its place."""
    with Worker(sql_dsn, "plan_requests", autocommit=False) as answering:
        answering.settle(completed(claimed))
        with impatient(planner), pytest.raises(psycopg.errors.LockNotAvailable):
            report(planner, claimed)
        answering.commit()

    assert not report(planner, claimed)
    assert [row["event_type"] for row in events(database)] == ["plan_ready"]


def test_an_answer_waits_for_a_report_that_is_being_written(
    sql_dsn: str, database: Connection, planner: Worker, claimed: Row
) -> None:
    """And is told after it."""
    with Worker(sql_dsn, "plan_requests", autocommit=False) as reporting:
        assert report(reporting, claimed)
        with impatient(planner), pytest.raises(psycopg.errors.LockNotAvailable):
            planner.settle(completed(claimed))
        reporting.commit()

    assert planner.settle(completed(claimed)) == {claimed["id"]}
    assert [(row["event_type"], row["status"]) for row in events(database)] == [
        ("plan_progress", "withdrawn"),
        ("plan_ready", "pending"),
    ]


@pytest.mark.parametrize(
    "event", [None, "null", "[]", "7", "{}", '{"event_type": null}', '{"event_type": 7}']
)
def test_a_malformed_report_is_an_error(
    database: Connection, planner: Worker, claimed: Row, event: str | None
) -> None:
    """Also for a claim that no longer holds: it is the caller's mistake."""
    for attempt in (claimed["attempt"], claimed["attempt"] + 1):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="cannot report"):
            planner.call("report_tma_progress", "plan_requests", claimed["id"], attempt, event)

    assert events(database) == []


def test_a_table_that_is_no_request_table_has_no_progress(planner: Worker) -> None:
    """The function reaches no other table."""
    with pytest.raises(psycopg.Error, match="is not a request table"):
        planner.call("report_tma_progress", "tma_events", 1, 1, {"event_type": "x"})


@pytest.mark.parametrize(
    "wrong",
    [{"options": {"loud": True}}, {"options": 7}, {"priority": 2}, {"replaces": ""}],
    ids=str,
)
def test_an_event_with_nonsense_spoils_its_outcome(
    database: Connection, planner: Worker, claimed: Row, wrong: Row
) -> None:
    """The table refuses it, and the answer is not there without its event."""
    with pytest.raises(psycopg.DatabaseError):
        planner.settle(completed(claimed, **wrong))

    assert planner.settle(completed(claimed)) == {claimed["id"]}
    assert len(events(database)) == 1


def test_an_answers_event_says_how_it_is_sent(
    database: Connection, planner: Worker, claimed: Row
) -> None:
    """Options, what it replaces and its class; null is the same as nothing."""
    said = {"options": {"thread": 7}, "replaces": "mine:1", "priority": -1}
    unsaid: Row = {"options": None, "replaces": None, "priority": None}
    outcome = completed(claimed, **said)
    outcome["events"].append({"event_type": "plain"} | unsaid)

    planner.settle(outcome)

    first, second = events(database)
    assert {name: first[name] for name in said} == said
    assert {name: second[name] for name in unsaid} == unsaid | {"priority": 0}


def test_tables_of_users_have_progress_too(db: str) -> None:
    """In the narrow role; the key has the table's name."""
    with connect(db) as owner, Worker(db, "drafts", role="tma_bridge") as drafter:
        owner.execute(
            "create table drafts (id bigint generated by default as identity primary key);"
            " select bridge.make_request_table('drafts', '{}');"
            " insert into drafts (telegram_id) values (5)"
        )
        (row,) = drafter.claim()

        assert report(drafter, row, event_type="draft_progress")

        (event,) = events(owner)
    assert (event["telegram_id"], event["replaces"]) == (5, f"drafts:{row['id']}")
