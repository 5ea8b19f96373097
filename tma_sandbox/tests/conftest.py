"""A Postgres for one module, for tests that stop it under Realtime."""

import psycopg
import pytest
from realtime_kit import TMA_EVENTS

from tma_sandbox.postgres import Postgres


@pytest.fixture(scope="module")
def own_postgres():
    """A cluster that no other test uses, which can be stopped and started."""
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
