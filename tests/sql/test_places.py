"""Of each chat only the first few open rows stand where claims look; the others move up."""

from tests.sql.support import Connection, Worker, connect, delivered, failed, insert

IN_FRONT = 3


def behind(database: Connection, chat: int = 1) -> list[bool]:
    """Whether each open row of a chat stands behind, in the order in which they are to go."""
    return [
        row["behind"]
        for row in database.execute(
            "select behind from tma_events where telegram_id = %s and settled_at is null"
            " order by deliver_after, id",
            [chat],
        ).fetchall()
    ]


def fill(database: Connection, rows: int, chat: int = 1) -> None:
    """Insert rows of one chat by one statement, all due."""
    database.execute(
        "insert into public.tma_events (telegram_id, event_type)"
        " select %s, 'step_completed' from generate_series(1, %s)",
        [chat, rows],
    )


def send_one(worker: Worker, chat: int = 1) -> int:
    """Claim one row, which must be of this chat, and deliver it."""
    (row,) = worker.claim(1)
    assert row["telegram_id"] == chat
    worker.start(row)
    worker.settle(delivered(row))
    return int(row["id"])


def test_the_first_rows_of_a_chat_stand_in_front(database: Connection) -> None:
    """Whether they come one by one or in one statement; other chats do not matter."""
    fill(database, 5)
    for _ in range(5):
        insert(database, telegram_id=2)

    assert behind(database, 1) == behind(database, 2) == [False] * IN_FRONT + [True] * 2


def test_a_chat_of_many_rows_goes_to_its_end_in_order(database: Connection, worker: Worker) -> None:
    """Each row that ends lets one move up."""
    fill(database, 10)
    ids = [row["id"] for row in database.execute("select id from tma_events order by id")]

    assert [send_one(worker) for _ in range(10)] == ids


def test_a_row_that_fails_lets_others_move_up(database: Connection, worker: Worker) -> None:
    """And one that is to be tried again keeps its place."""
    fill(database, 5)
    (row,) = worker.claim()
    worker.settle({"id": row["id"], "attempt": row["attempt"], "status": "pending"})
    kept = behind(database)
    (row,) = worker.claim()
    worker.settle(failed(row))

    assert kept == [False, False, False, True, True]
    assert behind(database) == [False, False, False, True]


def test_an_earlier_row_takes_the_place_of_a_later_one(database: Connection) -> None:
    """Rows scheduled the latest first do not all stand in front."""
    for minutes in range(10, 0, -1):
        insert(database, due_in=60 * minutes)

    assert behind(database) == [False] * IN_FRONT + [True] * 7


def test_rows_inserted_the_latest_first_by_one_statement(database: Connection) -> None:
    """Neither do they when they come together."""
    database.execute(
        "insert into tma_events (telegram_id, event_type, deliver_after)"
        " select 1, 'x', now() + make_interval(mins => -n) from generate_series(1, 10) n"
    )

    assert behind(database) == [False] * IN_FRONT + [True] * 7


def test_an_upsert_may_bring_a_row_forward(database: Connection, worker: Worker) -> None:
    """Whatever place the row has that is there."""
    for hours in (1, 2, 3, 4):
        insert(database, due_in=3600 * hours, dedupe_key=str(hours))

    for hours in (4, 3, 2, 1):
        worker.connection.execute(
            "insert into tma_events (telegram_id, event_type, dedupe_key) values (1, 'x', %s)"
            " on conflict (telegram_id, dedupe_key) do update set deliver_after = now()",
            [str(hours)],
        )

    assert behind(database)[:IN_FRONT] == [False] * IN_FRONT


def test_rows_that_were_not_inserted_do_not_count(database: Connection) -> None:
    """Of a statement that repeats what is there the new rows stand in front."""
    keys = [str(number) for number in range(8)]
    repeat = (
        "insert into tma_events (telegram_id, event_type, dedupe_key)"
        " select 1, 'x', unnest(%s::text[]) on conflict do nothing"
    )
    database.execute(repeat, [keys[:6]])
    database.execute("delete from tma_events where dedupe_key <> '0'")

    database.execute(repeat, [["0"] * 4 + keys])

    assert behind(database) == [False] * IN_FRONT + [True] * 5


def test_a_reminder_of_next_week_waits_behind_what_is_due(database: Connection) -> None:
    """And a row that is due now stands before it."""
    for _ in range(IN_FRONT):
        insert(database, due_in=3600)

    insert(database)

    assert behind(database) == [False, False, False, True]


def test_what_a_dead_worker_took_along_lets_others_move_up(
    database: Connection, worker: Worker
) -> None:
    """A row that ends as uncertain has ended."""
    fill(database, 5)
    (row,) = worker.claim()
    worker.start(row)

    worker.recover(0)

    assert behind(database) == [False, False, False, True]


def test_a_deleted_row_lets_others_move_up(database: Connection) -> None:
    """Whoever deletes it."""
    fill(database, 5)

    database.execute("delete from tma_events where id = (select min(id) from tma_events)")

    assert behind(database) == [False, False, False, True]


def test_rows_tried_again_by_an_operator_stand_behind_too(
    database: Connection, worker: Worker
) -> None:
    """A thousand retried rows of one chat are no more in others' way than new ones."""
    for _ in range(5):
        insert(database)
        (row,) = worker.claim()
        worker.settle(failed(row, "rejected"))

    worker.call("retry_tma_events", None, "rejected")

    assert behind(database) == [False, False, False, True, True]


def test_a_row_inserted_while_those_before_it_ended_is_found_by_the_sweep(
    database: Connection, worker: Worker, sql_dsn: str
) -> None:
    """A long transaction still sees rows in front of its own that have gone by the time it ends."""
    fill(database, IN_FRONT)
    with connect(sql_dsn, "service_role", autocommit=False) as slow:
        late = insert(slow)
        for _ in range(IN_FRONT):
            send_one(worker)
        slow.commit()
    overlooked = worker.claim()

    swept = worker.recover()

    assert overlooked == []
    assert swept["next_due_seconds"] == 0
    assert send_one(worker) == late


def test_a_row_that_an_operator_moved_finds_its_place(database: Connection) -> None:
    """Postponing the first rows of a chat lets the sweep bring up the next."""
    fill(database, 5)
    database.execute(
        "update tma_events set deliver_after = now() + interval '1 day'"
        " where id in (select id from tma_events order by id limit 2)"
    )

    database.execute("select recover_tma_events('1 minute', false)")

    assert behind(database) == [False, False, False, True, True]


def test_rows_that_come_forward_one_by_one_push_others_back(database: Connection) -> None:
    """However often a user moves rows, claims walk along no more of them."""
    ids = [insert(database, due_in=3600 + place) for place in range(8)]
    for place, event in enumerate(ids):
        database.execute(
            "update tma_events set deliver_after = now() + make_interval(secs => %s) where id = %s",
            [1800 - place, event],
        )

    assert sum(not one for one in behind(database)) == IN_FRONT
