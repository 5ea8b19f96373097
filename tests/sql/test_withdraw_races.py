"""Users' withdrawals and settings, and claims of the same rows: every order of their steps."""

import json
from typing import Any

import pytest

from tests.sql.races import Race, Step, commit
from tests.sql.signing import BOT, init_data, web_app_key
from tests.sql.support import Connection, Row, Worker, insert, read
from tests.sql.test_access import ME
from tests.sql.test_races import Play, claim, play

__all__ = ["play"]


def as_user(worker: Worker, query: str, *arguments: Any) -> Any:
    """What the query says to the Mini App's user, within the session's transaction."""
    headers = json.dumps({"x-telegram-init-data": init_data()})
    session = worker.connection
    session.execute("select set_config('request.headers', %s, false)", [headers])
    session.execute("set role anon")
    row = session.execute(query, arguments).fetchone()
    session.execute("set role service_role")
    return row and next(iter(row.values()))


def withdraw(worker: Worker) -> Any:
    """The step that withdraws the user's event."""
    return as_user(worker, "select withdraw_tma_event('k')")


def reschedule(worker: Worker) -> Any:
    """The step that puts the user's event off."""
    return as_user(worker, "select reschedule_tma_event('k', now() + interval '1 hour')")


@pytest.fixture
def events(worker: Worker) -> list[int]:
    """The rows of the round, the user's event first."""
    worker.call("register_tma_bot", BOT, web_app_key())
    return []


@pytest.mark.parametrize("step", [withdraw, reschedule])
def test_a_claim_and_what_its_user_does_agree(
    play: Play, database: Connection, events: list[int], step: Any
) -> None:
    """Either the row is the bridge's and the caller is told so, or it is not claimed."""
    status = "withdrawn" if step is withdraw else "pending"

    def prepare() -> None:
        events[:] = [insert(database, telegram_id=ME, dedupe_key="k")]

    outcomes = set()
    for (claimed, _), (told, _) in play([[claim, commit], [step, commit]], prepare):
        row = read(database, events[0])
        assert len(claimed) + told["done"] == 1
        assert told["status"] == row["status"] == ("processing" if claimed else status)
        outcomes.add(told["done"])
    assert outcomes == {True, False}


def test_two_claims_and_a_withdrawal_agree(
    play: Play, database: Connection, events: list[int]
) -> None:
    """Of three rows of a chat, too: what is withdrawn goes to nobody, the rest once."""

    def prepare() -> None:
        events[:] = [insert(database, telegram_id=ME, dedupe_key="k", due_in=-60)]
        events.append(insert(database, telegram_id=ME, due_in=-30))

    scripts = [[claim, commit], [withdraw, commit], [claim, commit]]
    for (first, _), (told, _), (second, _) in play(scripts, prepare):
        got = [row["id"] for row in first + second]
        assert len(got) <= 1
        assert (events[0] in got) != told["done"]


def test_withdrawn_and_asked_for_again_at_the_same_time(
    play: Play, database: Connection, events: list[int]
) -> None:
    """The second tab's insert comes before or after the withdrawal, and is told which."""

    def prepare() -> None:
        events[:] = [insert(database, telegram_id=ME, dedupe_key="k")]

    def ask_again(worker: Worker) -> Any:
        return as_user(
            worker,
            "with added as (insert into tma_events (event_type, dedupe_key) values ('x', 'k')"
            " on conflict do nothing returning id) select count(*) from added",
        )

    for (told, _), (added, _) in play([[withdraw, commit], [ask_again, commit]], prepare):
        open_rows = database.execute(
            "select id from tma_events where status = 'pending'"
        ).fetchall()
        assert told["done"]
        assert len(open_rows) == added


def test_a_claim_and_new_settings_agree(
    play: Play, database: Connection, events: list[int]
) -> None:
    """No row goes on waiting for the end of quiet hours that its user has ended."""
    everything = "00:00", "23:59:59.999999"

    def prepare() -> None:
        database.execute("delete from tma_chat_settings")
        database.execute(
            "insert into tma_chat_settings (telegram_id, quiet_from, quiet_to) values (%s, %s, %s)",
            [ME, *everything],
        )
        events[:] = [insert(database, telegram_id=ME) for _ in range(2)]

    def be_loud(worker: Worker) -> Any:
        return as_user(
            worker,
            "update tma_chat_settings set quiet_from = null, quiet_to = null returning telegram_id",
        )

    claimed: list[Row]
    held = set()
    for (claimed, _), (chat, _) in play([[claim, commit], [be_loud, commit]], prepare):
        assert chat == ME
        row = read(database, events[0])
        assert (row["held_by"], row["retry_at"]) == (None, None)
        assert row["status"] == ("processing" if claimed else "pending")
        held.add(bool(claimed))
    assert False in held


def change_settings(worker: Worker) -> Any:
    """The step that changes the user's settings."""
    return as_user(
        worker,
        "insert into tma_chat_settings (muted) values ('{a}')"
        " on conflict (telegram_id) do update set muted = excluded.muted returning 1",
    )


def test_settings_and_the_end_of_a_digest_do_not_wait_in_a_circle(
    sql_dsn: str, database: Connection, worker: Worker
) -> None:
    """A digest's first row may have the larger id; whoever ends it locks it before the others."""
    worker.call("register_tma_bot", BOT, web_app_key())
    member = insert(database, telegram_id=ME, event_type="tapped", due_in=-30)
    first = insert(database, telegram_id=ME, event_type="tapped", due_in=-40)
    (row,) = worker.claim(digests={"tapped": 1}, start_now=1)
    assert row["id"] == first

    race = Race(
        sql_dsn, [[hold(first), change(member), commit], [change_settings, commit]], database
    )
    try:
        assert race.run([0, 1, 0, 0, 1])
    finally:
        race.close()


def hold(event: int) -> Step:
    """The step that locks a row, as hold_claims() does."""
    return lambda worker: lock(worker, "select from tma_events where id = %s for update", event)


def change(event: int) -> Step:
    """The step that changes a row, and waits for nobody."""
    return lambda worker: lock(worker, "update tma_events set error = 'x' where id = %s", event)


def lock(worker: Worker, query: str, event: int) -> None:
    """Run it, but not for ever."""
    worker.connection.execute("set local lock_timeout = '500ms'")
    worker.connection.execute(query, [event])
