"""Real parts for the tests: a PostgreSQL cluster per run and a fresh database per test."""

from collections.abc import Iterator
from itertools import count

import pytest

from realtime_bridge.local import migrations
from realtime_bridge.local.postgres import Postgres

MIGRATED = "template_migrated"
_numbers = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The cluster that the whole run shares."""
    with Postgres() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> str:
    """The name of a database with the platform and our migrations; made when first asked for."""
    dsn = postgres.create_database(MIGRATED)
    migrations.apply(dsn)
    return MIGRATED


@pytest.fixture
def db(postgres: Postgres, template: str) -> Iterator[str]:
    """The DSN, as role postgres, of a fresh database with our migrations."""
    yield from _fresh(postgres, template)


@pytest.fixture
def platform_db(postgres: Postgres) -> Iterator[str]:
    """The DSN, as role postgres, of a fresh database as Supabase hands it out: no migrations."""
    yield from _fresh(postgres, "template_supabase")


def _fresh(postgres: Postgres, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    yield postgres.create_database(name, template)
    postgres.drop_database(name)
