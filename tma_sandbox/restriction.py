"""The privileges of some Realtime images of 2026, where postgres cannot grant on its tables."""

import psycopg


def restrict_realtime(dsn: str, *, restricted: bool = True) -> None:
    """Remove the role postgres from the owners of `realtime.messages`, or add it again.

    Realtime's migration 20260707120000 did the former; in September 2026 postgres could grant
    again. On a hosted project the role can still create policies. `dsn` connects as supabase_admin.
    """
    change = "revoke {} from postgres" if restricted else "grant {} to postgres"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(change.format("supabase_realtime_admin"))
