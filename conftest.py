"""Real parts for the tests: databases, the stack that a run shares, processes of ours."""

import gc
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path

import aiohttp
import psycopg
import pytest
import pytest_asyncio

from realtime_bridge.database import migrations_directory
from tests.integration import forked
from tests.integration.kit import Process, World
from tma_sandbox import migrations
from tma_sandbox.postgres import Postgres
from tma_sandbox.process import free_port
from tma_sandbox.realtime import Delays
from tma_sandbox.stack import LocalStack

# A process that a test leaves running fails the run.
pytest_plugins = ("tests.leftovers",)

MIGRATED = "template_migrated"
_numbers = count(1)


# What is imported stays: looking through it again and again costs a tenth of the run.
gc.disable()


def pytest_collection_finish() -> None:
    """From here on garbage is collected, among what the tests make."""
    gc.collect()
    gc.freeze()
    gc.enable()


# What the README says is skipped where, by how the reason begins.
ALLOWED_SKIPS = ("only root",)


# Where every test that awaits anything runs in the loop that the stack runs in.
IN_THE_STACKS_LOOP = (
    "tests/dashboard",
    "tests/delivery",
    "tests/integration",
    "tests/ops",
    "tests/packaging",
)


# They take minutes, so they start first: the run would wait for the one that started last.
LONGEST_FILES = ("test_chaos.py", "test_model.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, so that they need not do it themselves, and put the longest in front."""
    items.sort(key=lambda item: item.path.name not in LONGEST_FILES)
    for item in items:
        there = any(folder in str(item.path) for folder in IN_THE_STACKS_LOOP)
        if there and inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that was skipped is a test that failed."""
    forked.end()
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    reasons = [str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped]
    unexpected = [reason for reason in reasons if not reason.startswith(ALLOWED_SKIPS)]
    if os.environ.get("CI") and unexpected:
        reporter.write_line(f"\nskipped in CI, which counts as failed: {unexpected}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def unused_tcp_port() -> int:
    """A port for a server of ours: pytest-asyncio's may be gone when it starts."""
    return free_port()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The cluster that the whole run shares."""
    with Postgres() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> str:
    """The name of a database with the platform and our migrations; made when first asked for."""
    dsn = postgres.create_database(MIGRATED)
    migrations.apply(dsn, migrations_directory())
    return MIGRATED


@pytest.fixture
def db(postgres: Postgres, template: str) -> Iterator[str]:
    """The DSN, as role postgres, of a fresh database with our migrations."""
    yield from _fresh(postgres, template)


@pytest.fixture
def platform_db(postgres: Postgres) -> Iterator[str]:
    """The DSN, as role postgres, of a fresh database as Supabase hands it out: no migrations."""
    yield from _fresh(postgres, "template_supabase")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack() -> AsyncIterator[LocalStack]:
    """The stack that the whole run shares, without the delays of a real server.

    It lives in the session's event loop, so tests that talk to it must run there too:
    `pytestmark = pytest.mark.asyncio(loop_scope="session")`.
    """
    async with LocalStack(migrations=migrations_directory(), delays=Delays.none()) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def clean_stack(stack: LocalStack) -> LocalStack:
    """The shared stack without rows, messages, faults or limits."""
    while True:
        try:
            await _empty(stack)
            break
        except psycopg.errors.DeadlockDetected:  # a page that is open reads these tables, too
            continue
    async with aiohttp.ClientSession(stack.url) as session:
        for path in ("/_faults", "/_sent", "/_limits", "/_topics"):
            async with session.delete(path) as answer:
                answer.raise_for_status()
    return stack


async def _empty(stack: LocalStack) -> None:
    """Delete all rows, and what the database remembers of chats, turns, claims and bridges."""
    async with await psycopg.AsyncConnection.connect(stack.postgres.dsn()) as connection:
        tables = await connection.execute(
            "select string_agg(quote_ident(tablename), ',') from pg_tables"
            " where schemaname = 'public'"
        )
        [names] = await tables.fetchone()
        await connection.execute(f"truncate {names} restart identity cascade")
        await connection.execute(
            "truncate bridge.chats, bridge.claim_keys, bridge.bot_pace, bridge.replicas"
        )
        await connection.execute("insert into bridge.bot_pace default values")


@pytest_asyncio.fixture(loop_scope="session")
async def world(clean_stack: LocalStack) -> AsyncIterator[World]:
    """The stack that the whole run shares, emptied, seen from outside."""
    async with World.around(clean_stack) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Process]]]:
    """Start processes that are gone after the test, whatever it did."""
    processes = []

    async def start_one(*arguments, cwd=tmp_path, **options):
        processes.append(await Process.start(*arguments, cwd=cwd, **options))
        return processes[-1]

    yield start_one
    for process in processes:
        await process.kill()


def _fresh(postgres: Postgres, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    yield postgres.create_database(name, template)
    postgres.drop_database(name)
