"""Realtime over a database: the run's own, or one that a module may stop."""

import psycopg
import pytest
from realtime_kit import TMA_EVENTS, serving

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


@pytest.fixture
async def running(postgres, dsn):
    """A server over the database of this module."""
    async with serving(postgres, dsn) as server:
        yield server
