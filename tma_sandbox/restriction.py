"""The Realtime of some images of 2026, whose tables are not the project's to grant."""

import psycopg


def restrict_realtime(dsn: str, *, restricted: bool = True) -> None:
    """Take the role postgres out of the owners of `realtime.messages`, or put it back.

    Realtime's migration 20260707120000 does the former; the right to grant came back in September
    2026. `dsn` connects as supabase_admin. On a hosted project the role may make policies even so.
    """
    change = "revoke {} from postgres" if restricted else "grant {} to postgres"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(change.format("supabase_realtime_admin"))
