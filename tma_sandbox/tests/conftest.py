"""A Postgres of a module's own, for tests that take it away from Realtime."""

import psycopg
import pytest
from realtime_kit import TMA_EVENTS

from tma_sandbox.postgres import Postgres


@pytest.fixture(scope="module")
def own_postgres():
    """A cluster that no other test uses: it is stopped and started here."""
    with Postgres() as cluster:
        yield cluster


@pytest.fixture
def dsn(own_postgres):
    """A fresh database with the recordings' table."""
    dsn = own_postgres.create_database("realtime_alone")
    with psycopg.connect(dsn) as conn:
        conn.execute(TMA_EVENTS)
    yield dsn
    own_postgres.drop_database("realtime_alone")
