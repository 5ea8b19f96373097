"""Which subscriber gets a change: bindings, filters and policies."""

import pytest
from changes_kit import INSERT, changes, published, subscribed
from realtime_kit import (
    connected,
    execute,
    looked_at,
    on_tma_events,
    token,
)

# Who gets it


async def test_a_frame_names_all_bindings_of_a_channel_that_it_serves(running, dsn):
    """Bindings of one channel with the same columns share a frame."""
    async with connected(running) as client:
        first, second, narrow, same, other = await subscribed(
            client,
            on_tma_events("*"),
            on_tma_events("INSERT"),
            on_tma_events("INSERT", select=["status", "lead_id"]),
            on_tma_events("*", select=["lead_id", "status"]),
            on_tma_events("DELETE"),
        )
        await execute(dsn, INSERT.format(1))
        frames = [await client.next("postgres_changes") for _ in range(2)]
        await client.heartbeat()

    assert len({first, second, narrow, same, other}) == 5
    assert [frame["payload"]["ids"] for frame in frames] == [[second, first], [same, narrow]]
    assert frames[1]["payload"]["data"]["record"] == {
        "id": 1,
        "status": "pending",
        "lead_id": None,
    }
    assert client.unread("postgres_changes") == []


async def test_channels_and_sockets_are_served_apart(running, dsn):
    """Each channel of each socket gets its own frame, and none after it has left."""
    async with connected(running) as one, connected(running) as two:
        await subscribed(one, on_tma_events(), topic="a", ref="1")
        await subscribed(one, on_tma_events(), topic="b", ref="2")
        await subscribed(two, on_tma_events(), topic="a", ref="1")
        await one.send(
            {
                "topic": "realtime:b",
                "event": "phx_leave",
                "payload": {},
                "ref": "3",
                "join_ref": "2",
            }
        )
        await one.next("phx_close")
        await execute(dsn, INSERT.format(1))
        topics = [(await client.next("postgres_changes"))["topic"] for client in (one, two)]
        await one.heartbeat()

    assert topics == ["realtime:a", "realtime:a"]
    assert one.unread("postgres_changes") == []


FILTERS = {
    "telegram_id=eq.5": [5],
    "telegram_id=neq.5": [4, 6],
    "telegram_id=lt.5": [4],
    "telegram_id=lte.5": [4, 5],
    "telegram_id=gt.5": [6],
    "telegram_id=gte.5": [5, 6],
    "telegram_id=in.(4,6)": [4, 6],
    "telegram_id=not.in.(4,6)": [5],
    "telegram_id=gt.4,event_type=neq.e6": [5],
    "event_type=like.%5": [5],
    "event_type=ilike.E5": [5],
    "event_type=match.^e[45]$": [4, 5],
    "event_type=not.imatch.^E[45]$": [6],
    "lead_id=is.null": [4, 6],
    "lead_id=not.is.null": [5],
    "lead_id=isdistinct.9": [4, 6],
    "lead_id=neq.1": [5],  # NULL compares to nothing
    'event_type=eq."e5"': [5],
    "": [4, 5, 6],
}


async def test_filters_let_pass_what_they_say(running, dsn):
    """Every operator, negated and combined, on real values."""
    async with connected(running) as client:
        ids = await subscribed(
            client,
            *(on_tma_events(filter=text) if text else on_tma_events() for text in FILTERS),
        )
        await execute(
            dsn,
            "insert into tma_events (telegram_id, event_type, lead_id)"
            " values (4, 'e4', null), (5, 'e5', 9), (6, 'e6', null)",
        )
        frames = [await client.next("postgres_changes") for _ in range(3)]

    passed = {
        text: [
            frame["payload"]["data"]["record"]["telegram_id"]
            for frame in frames
            if id_ in frame["payload"]["ids"]
        ]
        for text, id_ in zip(FILTERS, ids, strict=True)
    }
    assert passed == FILTERS


async def test_a_deleted_row_is_filtered_by_what_is_known_of_it(running, dsn):
    """By default only the key is known, so a filter on anything else matches no deletion."""
    async with connected(running) as client:
        by_key, _by_status = await subscribed(
            client,
            on_tma_events("DELETE", filter="id=eq.2"),
            on_tma_events("DELETE", filter="status=eq.pending"),
        )
        await execute(dsn, INSERT.format(1), INSERT.format(2), "delete from tma_events")
        frame = await client.next("postgres_changes")
        await looked_at(running)
        await client.heartbeat()

    assert frame["payload"]["ids"] == [by_key]
    assert frame["payload"]["data"]["old_record"] == {"id": 2}
    assert client.unread("postgres_changes") == []


@pytest.mark.parametrize(
    ("binding", "text"),
    [
        ({"event": "INSERT"}, 'subscribe to: %{"event" => "INSERT"}'),
        ({"schema": "public", "filter": "id=eq.1"}, "No subscription params provided."),
        (on_tma_events(filter="id=in.1"), "`in` filter value must be wrapped by parentheses"),
        (on_tma_events(filter="id=eq.1,"), "filter must not contain empty segments"),
        (on_tma_events(select="id"), "Error parsing `select` params: expected a list"),
        ({"schema": "public", "table": "*", "select": ["id"]}, "not supported for wildcard"),
        (on_tma_events(filter="id=is.maybe"), "invalid value for is filter"),
        (on_tma_events(filter="id=like.5"), "operator like is not supported on column id of type"),
        (on_tma_events(filter="event_type=match.("), "invalid regular expression for match filter"),
        (
            on_tma_events(filter=f"id=in.({','.join(map(str, range(101)))})"),
            "too many values for `in` filter. Maximum 100",
        ),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
async def test_a_binding_that_makes_no_sense_is_refused_in_words(running, binding, text):
    """The join succeeds, and then a system message says what is wrong."""
    async with connected(running) as client:
        reply = await client.join(postgres_changes=[binding])
        system = await client.next("system")

    assert reply["status"] == "ok"
    assert system["payload"]["status"] == "error"
    assert text in system["payload"]["message"]
    assert running.realtime.subscribers == 0


async def test_row_level_security_is_asked_in_the_subscribers_name(running, dsn):
    """Two users of one role see their own rows, according to their tokens' claims."""
    await execute(
        dsn,
        published("id int primary key, owner uuid"),
        "alter table t enable row level security",
        "create policy own on t for select to authenticated using (owner = auth.uid())",
    )
    users = [f"6f1c1b6e-3d7a-4d55-8a7e-0d5d3f9f000{n}" for n in (1, 2)]
    binding = {"event": "*", "schema": "public", "table": "t"}

    async with connected(running) as one, connected(running) as two:
        for client, user in ((one, users[0]), (two, users[1])):
            await subscribed(client, binding, access_token=token("authenticated", sub=user))
        await execute(dsn, f"insert into t values (1, '{users[0]}'), (2, '{users[1]}')")
        [[first], [second]] = [await changes(client, 1) for client in (one, two)]

    assert [first["record"]["id"], second["record"]["id"]] == [1, 2]


async def test_a_policy_that_fails_hides_the_row_from_that_subscriber_only(running, dsn):
    """Its subscriber gets an error without the row; others get the row."""
    await execute(
        dsn,
        published("id int primary key"),
        "alter table t enable row level security",
        "create policy broken on t for select to authenticated"
        " using ((auth.jwt() ->> 'number')::int = 1)",
    )
    binding = {"event": "*", "schema": "public", "table": "t"}
    tokens = [
        token("authenticated", number="one"),
        token("authenticated", number="1"),
        token("service_role"),
    ]

    async with connected(running) as broken, connected(running) as good, connected(running) as root:
        for client, signed in zip((broken, good, root), tokens, strict=True):
            await subscribed(client, binding, access_token=signed)
        await execute(dsn, "insert into t values (1)")
        [[error], [seen], [served]] = [await changes(c, 1) for c in (broken, good, root)]

    assert error["errors"] == ["Error 500: Internal Server Error, RLS policy evaluation failed"]
    assert (error["record"], error["columns"], error["commit_timestamp"]) == ({}, [], None)
    assert seen["record"] == served["record"] == {"id": 1}


async def test_a_table_without_a_key_is_an_error(running, dsn):
    """Without a primary key row level security cannot be checked."""
    await execute(
        dsn,
        published("id int"),
        "alter table t replica identity full",
    )

    async with connected(running) as client:
        await subscribed(client, {"event": "*", "schema": "public", "table": "t"})
        await execute(dsn, "insert into t values (1)")
        [data] = await changes(client, 1)

    assert data["errors"] == ["Error 400: Bad Request, no primary key"]
    assert data["record"] == {}


async def test_a_guarded_key_of_two_columns_is_looked_up_whole(running, dsn):
    """Row level security looks the row up by all columns of its key."""
    await execute(
        dsn,
        published("a int, b text, primary key (a, b)"),
        "alter table t enable row level security",
        "create policy even on t for select to anon using (b <> 'hidden')",
    )

    async with connected(running, token("anon")) as client:
        await subscribed(client, {"event": "*", "schema": "public", "table": "t"})
        await execute(dsn, "insert into t values (1, 'hidden'), (1, 'shown')")
        [data] = await changes(client, 1)

    assert data["record"] == {"a": 1, "b": "shown"}


async def test_a_table_made_later_is_seen_by_who_asked_for_everything(running, dsn):
    """A newly published table is part of `*` at once; a dropped one does no harm."""
    async with connected(running) as client:
        await subscribed(client, {"event": "*", "schema": "public"})
        await execute(
            dsn,
            published("id int primary key", "gone") + "; insert into gone values (1)",
            "drop table gone",
            published("id int primary key"),
            "insert into t values (1)",
        )
        frame = await client.next(
            lambda f: f["event"] == "postgres_changes" and f["payload"]["data"]["table"] == "t"
        )

    assert frame["payload"]["data"]["record"] == {"id": 1}
