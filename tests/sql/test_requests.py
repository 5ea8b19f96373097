"""Request tables: plan_requests, and any other that a user makes one."""

import json

import psycopg
import pytest

from tests.sql.signing import USER, init_data
from tests.sql.support import Connection, Row, Worker, connect, insert, put_back, read, token

ME = int(str(USER["id"]))
PLAN = {"steps": [{"step_id": 1}]}


def ask(database: Connection, **columns: object) -> int:
    """A plan request."""
    return insert(database, "plan_requests", **columns)


def completed(row: Row, **more: object) -> Row:
    """The outcome of a request that was answered."""
    return token(row) | {"status": "completed", "result": PLAN, **more}


@pytest.fixture
def claimed(database: Connection, planner: Worker) -> Row:
    """A request of chat 1 about lead 7 in the hands of `planner`."""
    ask(database, lead_id=7, locale="uk")
    (row,) = planner.claim()
    return row


def test_a_claim_has_all_columns(database: Connection, planner: Worker) -> None:
    """Whatever a request table holds reaches its handler, with the lead's name and the wait."""
    request = ask(
        database,
        telegram_id=5,
        lead_id=7,
        payload={"lead_name": "Ann", "status": "new"},
        created_in=-60,
    )

    (row,) = planner.claim()

    assert 60 <= row["waited_seconds"] < 90
    assert (row["id"], row["attempt"], row["retries"]) == (request, 1, 0)
    assert (row["telegram_id"], row["lead_id"], row["lead_name"]) == (5, 7, "Ann")
    assert row["payload"]["status"] == "new"


def test_the_oldest_request_goes_first(database: Connection, planner: Worker) -> None:
    """In the order of asking, several of one user at a time, up to the limit."""
    second, first, third = (ask(database, created_in=-ago) for ago in (20, 30, 10))

    assert [row["id"] for row in planner.claim(2)] == [first, second]
    assert [row["id"] for row in planner.claim(2)] == [third]


def test_settle_completed(database: Connection, planner: Worker, claimed: Row) -> None:
    """The answer is on the row."""
    accepted = planner.settle(completed(claimed))

    row = read(database, claimed["id"], "plan_requests")
    assert accepted == {claimed["id"]}
    assert (row["status"], row["result"], row["error"]) == ("completed", PLAN, None)
    assert row["completed_at"] == row["settled_at"]


def test_settle_failed(database: Connection, planner: Worker, claimed: Row) -> None:
    """The reason is for the user to read."""
    planner.settle(token(claimed) | {"status": "failed", "error": "No plan today." + "x" * 900})

    row = read(database, claimed["id"], "plan_requests")
    assert (row["status"], row["completed_at"]) == ("failed", None)
    assert row["error"].startswith("No plan today.")
    assert len(row["error"]) == 500


def test_settle_pending(database: Connection, planner: Worker, claimed: Row) -> None:
    """A request may be tried again later; what was not its fault is not counted."""
    planner.settle(token(claimed) | {"status": "pending", "retry_in": 60, "counted": True})
    during = planner.claim()
    put_back(database, 61, claimed["id"], table="plan_requests")

    (again,) = planner.claim()

    assert during == []
    assert (again["attempt"], again["retries"]) == (2, 1)


def test_never_two_results(database: Connection, planner: Worker, claimed: Row) -> None:
    """A planner that was too slow does not overwrite another's answer."""
    put_back(database, 300, claimed["id"], table="plan_requests")
    planner.recover(120)
    (mine,) = planner.claim()

    late = planner.settle(completed(claimed, result={"steps": ["late"]}))
    in_time = planner.settle(completed(mine))
    too_late = planner.settle(completed(claimed, result={"steps": ["late"]}))

    assert (late, in_time, too_late) == (set(), {mine["id"]}, set())
    assert read(database, mine["id"], "plan_requests")["result"] == PLAN


def test_a_stale_request_is_computed_again(database: Connection, planner: Worker) -> None:
    """However often; whoever claims it sees how often."""
    request = ask(database)
    planner.claim()
    put_back(database, 300, request, table="plan_requests")

    counts = planner.recover(120)

    (again,) = planner.claim()
    assert counts == {"returned": 1, "next_due_seconds": None}
    assert (again["attempt"], again["retries"]) == (2, 1)


def test_a_request_within_its_lease_is_left_alone(planner: Worker, claimed: Row) -> None:
    """A slow planner keeps its request."""
    assert planner.recover(120)["returned"] == 0


def test_release(planner: Worker, claimed: Row) -> None:
    """A graceful stop uses up no attempt."""
    released = planner.release(claimed)

    (again,) = planner.claim()
    assert (released, again["attempt"], again["retries"]) == ({claimed["id"]}, 2, 0)


def test_counts(database: Connection, planner: Worker) -> None:
    """Numbers for the metrics."""
    ask(database, created_in=-90)
    ask(database, created_in=-80)
    planner.claim(1)

    (row,) = planner.call_lane("count")

    age = row["answer"].pop("oldest_pending_seconds")
    assert 80 <= age < 110
    assert row["answer"] == {"pending": 1, "processing": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"status": "done"},
        {"result": None},
        {"status": "failed", "result": None},
        {"status": "failed", "result": None, "error": ""},
        {"status": "failed", "error": "x"},
        {"status": "pending"},
        {"status": "pending", "result": None, "retry_in": -1},
        {"status": "pending", "result": None, "events": []},
        {"events": {}},
        {"events": 7},
        {"events": [{"payload": {}}]},
        {"events": [{"event_type": "plan_ready", "deliver_after": "someday"}]},
        {"id": None},
        {"attempt": "1"},
    ],
)
def test_a_malformed_outcome_is_an_error(
    database: Connection, planner: Worker, claimed: Row, change: Row
) -> None:
    """And changes nothing."""
    with pytest.raises((psycopg.DataError, psycopg.errors.NotNullViolation)):
        planner.settle(completed(claimed) | change)

    assert read(database, claimed["id"], "plan_requests")["status"] == "processing"


# What goes with an answer


def events(database: Connection) -> list[Row]:
    """All messages and reminders, oldest first."""
    return database.execute(
        "select event_type, telegram_id, lead_id, locale, payload, dedupe_key, status,"
        " deliver_after > now() as later from tma_events order by deliver_after, id"
    ).fetchall()


def test_messages_and_reminders_come_with_the_answer(
    database: Connection, planner: Worker, claimed: Row
) -> None:
    """For the chat and lead of the request, in its language, in the same transaction."""
    planner.settle(
        completed(
            claimed,
            events=[
                {"event_type": "plan_ready", "payload": {"steps": 1}},
                {
                    "event_type": "step_due",
                    "payload": {"step_id": 1},
                    "deliver_after": "2100-01-01T09:00:00Z",
                    "dedupe_key": "plan:7:1",
                },
            ],
        )
    )

    common = {"telegram_id": 1, "lead_id": 7, "locale": "uk", "status": "pending"}
    assert events(database) == [
        {
            "event_type": "plan_ready",
            "payload": {"steps": 1},
            "dedupe_key": None,
            "later": False,
            **common,
        },
        {
            "event_type": "step_due",
            "payload": {"step_id": 1},
            "dedupe_key": "plan:7:1",
            "later": True,
            **common,
        },
    ]


def test_a_repeated_settle_sends_nothing_twice(
    database: Connection, planner: Worker, claimed: Row
) -> None:
    """The caller that did not hear the answer may ask again."""
    outcome = completed(claimed, events=[{"event_type": "plan_ready"}])

    accepted = planner.settle(outcome), planner.settle(outcome)

    assert accepted == ({claimed["id"]}, {claimed["id"]})
    assert len(events(database)) == 1


def test_a_refused_settle_sends_nothing(
    database: Connection, planner: Worker, claimed: Row
) -> None:
    """Without the token no message goes either."""
    planner.settle(completed(claimed | {"attempt": 9}, events=[{"event_type": "plan_ready"}]))

    assert events(database) == []


def test_a_repeated_plan_does_not_double_its_reminders(
    database: Connection, planner: Worker
) -> None:
    """Reminders have keys: what is there already is not inserted again."""
    reminder = {
        "event_type": "step_due",
        "deliver_after": "2100-01-01T09:00:00Z",
        "dedupe_key": "plan:7:1",
    }
    for _ in range(2):
        ask(database, lead_id=7)
        planner.settle(*(completed(row, events=[reminder]) for row in planner.claim()))

    assert len(events(database)) == 1


def test_a_new_plan_withdraws_the_reminders_of_the_old_one(
    database: Connection, planner: Worker
) -> None:
    """Of this chat and lead only, and only what still waits."""

    def reminder(**columns: object) -> int:
        defaults: Row = {"event_type": "step_due", "lead_id": 7, "due_in": 600}
        return insert(database, **(defaults | columns))

    reminder()
    kept = {
        reminder(telegram_id=2),
        reminder(lead_id=8),
        reminder(event_type="step_completed"),
        reminder(status="failed", failure="blocked", settled_at="2026-01-01"),
    }
    ask(database, lead_id=7)

    (row,) = planner.claim()
    planner.settle(completed(row, withdraw="step_due"))

    left = database.execute("select id from tma_events").fetchall()
    assert {row["id"] for row in left} == kept


@pytest.mark.parametrize("done", ["step_completed", "step_skipped"])
def test_a_step_that_is_done_needs_no_reminder(database: Connection, done: str) -> None:
    """The reminder of that step is withdrawn, others stay."""
    for step, lead, chat in [(3, 7, 1), (4, 7, 1), (3, 8, 1), (3, 7, 2)]:
        insert(
            database,
            telegram_id=chat,
            event_type="step_due",
            lead_id=lead,
            payload={"step_id": step},
            due_in=600,
        )

    insert(database, event_type=done, lead_id=7, payload={"step_id": 3})

    left = database.execute(
        "select (payload ->> 'step_id')::int as step, lead_id as lead, telegram_id as chat"
        " from tma_events where event_type = 'step_due' order by id"
    ).fetchall()
    assert [tuple(row.values()) for row in left] == [(4, 7, 1), (3, 8, 1), (3, 7, 2)]


@pytest.mark.parametrize("payload", [None, {}, [], "x", {"step_id": None}])
def test_a_step_without_a_number_withdraws_nothing(database: Connection, payload: object) -> None:
    """Not everything."""
    insert(database, event_type="step_due", lead_id=7, payload={"step_id": 3}, due_in=600)

    insert(database, event_type="step_completed", lead_id=7, payload=json.dumps(payload))

    assert len(events(database)) == 2


# Who may ask


@pytest.fixture
def user(anon: Connection) -> Connection:
    """A Mini App's session of a verified user."""
    header = json.dumps({"x-telegram-init-data": init_data()})
    anon.execute("select set_config('request.headers', %s, false)", [header])
    return anon


def test_a_user_asks_and_reads_the_answer(
    user: Connection, database: Connection, planner: Worker
) -> None:
    """His own requests, in his language, and nobody else's."""
    ask(database, telegram_id=ME + 1)

    asked = user.execute(
        "insert into plan_requests (lead_id, dedupe_key) values (7, 'k') returning *"
    ).fetchone()
    planner.settle(*map(completed, planner.claim()))

    assert asked
    assert (asked["telegram_id"], asked["locale"]) == (ME, "uk")
    assert user.execute("select id, result from plan_requests").fetchall() == [
        {"id": asked["id"], "result": PLAN}
    ]


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ("(telegram_id) values (5)", psycopg.errors.InsufficientPrivilege),
        ("(status) values ('completed')", psycopg.errors.InsufficientPrivilege),
        ("(result) values ('{}')", psycopg.errors.InsufficientPrivilege),
        ("(lead_id) select 1 from generate_series(1, 11)", psycopg.errors.CheckViolation),
        ("(payload) values (to_jsonb(repeat('x', 17000)))", psycopg.errors.CheckViolation),
    ],
)
def test_a_user_cannot_ask_for_others_or_for_everything(
    user: Connection, columns: str, error: type[psycopg.Error]
) -> None:
    """Own requests only, ten waiting, of a sensible size."""
    with pytest.raises(error):
        user.execute(f"insert into plan_requests {columns}".encode())

    assert user.execute("select id from plan_requests").fetchall() == []


def test_a_user_with_all_his_events_open_cannot_ask_for_more(
    user: Connection, database: Connection
) -> None:
    """Or the reminders of his plans would pass the limit that his own events have."""
    database.execute(
        "update bridge.settings set max_pending_per_user = 2, max_scheduled_per_user = 1"
    )
    first = insert(database, telegram_id=ME)
    for due_in in (60, 120):
        insert(database, telegram_id=ME, due_in=due_in)

    with pytest.raises(psycopg.errors.CheckViolation, match="too many events wait") as refused:
        user.execute("insert into plan_requests (lead_id) values (7)")
    database.execute("delete from tma_events where id = %s", [first])
    user.execute("insert into plan_requests (lead_id) values (7)")

    assert "Up to 3, with those scheduled" in str(refused.value.diag.message_hint)


def test_requests_ring_the_bell(user: Connection, database: Connection) -> None:
    """Under the name of their table."""
    user.execute("insert into plan_requests (lead_id) values (7)")

    heard = database.execute("select payload - 'id' as payload from realtime.messages").fetchall()
    assert heard == [{"payload": {"table": "plan_requests"}}]


# A table of the user's own


DRAFTS = """
    create table public.draft_requests (
        id bigint generated by default as identity primary key,
        step_id text,
        proof_url text,
        lead_context jsonb
    );
    select bridge.make_request_table(
        'public.draft_requests', array['step_id', 'proof_url', 'lead_context']
    );
"""


def test_any_table_can_be_a_request_table(db: str) -> None:
    """Own columns, one call, and it works like plan_requests in every way."""
    with connect(db) as owner, Worker(db, "draft_requests", role="tma_bridge") as drafter:
        owner.execute(DRAFTS)
        owner.execute("insert into draft_requests (telegram_id, step_id) values (1, '3')")

        (row,) = drafter.claim()
        drafter.settle(
            completed(row, result={"text": "Dear ..."}, events=[{"event_type": "ready"}])
        )

        answered = read(owner, row["id"], "draft_requests")
        told = owner.execute("select event_type, telegram_id from tma_events").fetchall()
        check = owner.execute("select tma_bridge_check() as answer").fetchone()

    assert (row["step_id"], row["lead_name"]) == ("3", "your lead")
    assert answered["result"] == {"text": "Dear ..."}
    assert told == [{"event_type": "ready", "telegram_id": 1}]
    assert check
    assert check["answer"]["tables"]["draft_requests"]["rings"]
    assert check["answer"]["open_functions"] == []


def test_making_it_twice_is_the_same(db: str) -> None:
    """Rows in work stay in work."""
    with connect(db) as owner, Worker(db, "draft_requests") as drafter:
        owner.execute(DRAFTS)
        request = insert(owner, "draft_requests")
        drafter.claim()
        before = read(owner, request, "draft_requests")

        owner.execute("select bridge.make_request_table('draft_requests', array['step_id'])")

        assert read(owner, request, "draft_requests") == before


def test_a_table_elsewhere_cannot_be_one(db: str) -> None:
    """PostgREST and the bridge look in public."""
    with connect(db) as owner:
        owner.execute("create table bridge.drafts (id bigint primary key)")

        with pytest.raises(psycopg.errors.InvalidParameterValue, match="cannot be a request table"):
            owner.execute("select bridge.make_request_table('bridge.drafts', array['id'])")
