"""A database and a server for tests of channels."""

import psycopg
import pytest
from realtime_kit import (
    TMA_EVENTS,
)

READER = """
    create policy reader on realtime.messages for select to authenticated
        using (realtime.topic() = auth.jwt() ->> 'room')
"""


@pytest.fixture(scope="module")
def dsn(postgres):
    """One database for all tests: the recordings' table, and topics that a claim opens."""
    dsn = postgres.create_database("realtime_channels")
    with psycopg.connect(dsn) as conn:
        conn.execute(TMA_EVENTS)
        conn.execute(READER)
    yield dsn
    postgres.drop_database("realtime_channels")
