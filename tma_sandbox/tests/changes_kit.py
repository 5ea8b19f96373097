"""What the tests of Postgres Changes do to a client and a table."""

INSERT = "insert into tma_events (telegram_id, event_type) values ({}, 'x')"


async def subscribed(client, *bindings, topic="tma", ref="1", **config):
    """Join with these bindings and wait until they are served."""
    reply = await client.join(topic, ref=ref, postgres_changes=list(bindings), **config)
    system = await client.next("system")
    assert system["payload"]["status"] == "ok", system
    return [binding["id"] for binding in reply["response"]["postgres_changes"]]


async def changes(client, count):
    """The data of the next changes."""
    frames = [await client.next("postgres_changes") for _ in range(count)]
    return [frame["payload"]["data"] for frame in frames]


def published(statement, name="t"):
    """Statements that create a published table."""
    return (
        f"create table {name} ({statement}); alter publication supabase_realtime add table {name}"
    )
