"""Act as a Mini App: try what its users can do, instead of reading it from catalogs."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import httpx
from postgrest.types import ReturnMethod
from supabase import AsyncClientOptions, PostgrestAPIError, acreate_client

from realtime_bridge.commands.check.bounded import BoundedTransport
from realtime_bridge.commands.check.init_data import init_data
from realtime_bridge.credentials import Redactor
from realtime_bridge.database import Refused, Rpc, Unavailable
from realtime_bridge.settings import Settings

if TYPE_CHECKING:
    from supabase import AsyncClient

SECONDS = 20.0  # for the whole visit; a probe is forgotten after a minute
_CALL_SECONDS = 10.0
_TABLE = "tma_events"
_EVENT = "bridge_probe"
_DUPLICATE = "23505"  # by a row that was let in: policies are asked before indexes
_DENIED = "42501"
_INCOMPLETE = {"23502", "23514"}  # let in by the policies, and refused by a constraint
_GONE = {"PGRST202", "PGRST205", "42883", "42P01"}


@dataclass(frozen=True, slots=True)
class ProbeUsers:
    """Two users that cannot exist, whose rows the database sends to nobody."""

    writer: int
    other: int

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Self | None:
        """Those that tma_bridge_check() names; None if it names none that are safe."""
        match report.get("probe_users"):
            case [int(writer), int(other)] if writer != other and min(writer, other) >= 2**52:
                return cls(writer, other)
            case _:
                return None


@dataclass(frozen=True, slots=True)
class Refusal:
    """PostgREST's or the gateway's no; `code` is None where the gateway gave none."""

    code: str | None
    text: str

    @property
    def of_the_key(self) -> bool:
        """Whether the API key was refused, before the database was asked."""
        return self.code is None or self.code in {"401", "403"} or self.code.startswith("PGRST3")

    @property
    def passes(self) -> bool:
        """Whether it may pass by itself: a bare HTTP status, no database, a cancelled query."""
        code = self.code or ""
        return code.startswith("PGRST0") or code == "57014" or len(code) == len("503")

    @property
    def of_a_grant(self) -> bool:
        """Whether the role itself may not, whoever the user is."""
        return self.code == _DENIED and "permission denied" in self.text

    @property
    def of_a_policy(self) -> bool:
        """Whether this user may not."""
        return self.code == _DENIED and not self.of_a_grant

    @property
    def of_what_is_gone(self) -> bool:
        """Whether a function or a table of ours is missing."""
        return self.code in _GONE


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to."""

    data: Any = None
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """What worked and must not."""

    table: str
    text: str


@dataclass
class Visit:
    """What was tried, and what came of it."""

    users: ProbeUsers
    openings: list[Opening] = field(default_factory=list)
    user_id: Answer = Answer()  # who the database says the writer is
    written: Answer = Answer()
    read_back: Answer = Answer()
    milliseconds: float = 0.0  # of the writer's insert
    key_refused: str | None = None
    trouble: str | None = None  # why there is no more to say


class _KeyRefused(Exception):  # noqa: N818 - a finding, not a mistake
    pass


class _NotNow(Exception):  # noqa: N818 - a state of the world that passes
    pass


class _MiniApp:
    """The Mini App in the hands of one user, or of nobody."""

    def __init__(self, client: "AsyncClient", dedupe_key: str, redact: Redactor) -> None:
        self._client = client
        self._dedupe_key = dedupe_key
        self._redact = redact

    async def user_id(self) -> Answer:
        return await self._ask(self._client.rpc("tma_user_id"))

    async def insert(self, **columns: Any) -> Answer:
        row = {"event_type": _EVENT, "dedupe_key": self._dedupe_key, **columns}
        table = self._client.table(_TABLE)
        return await self._ask(table.insert(row, returning=ReturnMethod.minimal))

    async def insert_nothing(self, table: str) -> Answer:
        """Insert a row that no table takes: policies are asked before constraints."""
        row = {"telegram_id": None, "dedupe_key": ""}
        return await self._ask(
            self._client.table(table).insert(row, returning=ReturnMethod.minimal)
        )

    async def any_row(self, table: str) -> Answer:
        return await self._ask(self._client.table(table).select("telegram_id").limit(1))

    async def rows_of(self, user: int) -> Answer:
        query = self._client.table(_TABLE).select("id").eq("telegram_id", user)
        return await self._ask(query.eq("dedupe_key", self._dedupe_key))

    async def _ask(self, query: Any) -> Answer:
        """Raises _KeyRefused, _NotNow, and what httpx raises for no answer."""
        try:
            return Answer((await query.execute()).data)
        except PostgrestAPIError as error:
            text = self._redact.line(error.message or "no reason given")
            refusal = Refusal(error.code, text)
        if refusal.of_the_key:
            raise _KeyRefused(text)
        if refusal.passes:
            raise _NotNow(text)
        return Answer(refusal=refusal)


# Besides what httpx and PostgREST say: what is no JSON, or nested without end.
_NO_ANSWER = (httpx.HTTPError, _NotNow, ValueError, RecursionError)


async def pay_visit(
    settings: Settings, rpc: Rpc, users: ProbeUsers, at: int, request_tables: Sequence[str] = ()
) -> Visit:
    """Try to write and to read, as a user, as another one, as a forger and as nobody.

    `at`: the database's time of day in seconds since 1970. Whatever was let in is deleted again;
    into `request_tables` nothing ever gets.
    """
    visit = Visit(users)
    dedupe_key = secrets.token_hex(16)
    try:
        async with (
            asyncio.timeout(SECONDS),
            httpx.AsyncClient(
                transport=BoundedTransport(), timeout=_CALL_SECONDS, follow_redirects=True
            ) as http,
        ):
            visitors = await _visitors(settings, users, at, dedupe_key, http)
            await _try_events(visit, visitors)
            for table in request_tables:
                await _try_requests(visit, visitors, table)
    except _KeyRefused as error:
        visit.key_refused = str(error)
    except TimeoutError:
        visit.trouble = f"it took longer than {SECONDS:g} s"
    except _NO_ANSWER as error:
        why = str(error) or type(error).__name__
        visit.trouble = settings.redact.line(f"Mini Apps get no answer from Supabase: {why}")
    finally:
        with suppress(Unavailable, Refused):  # then the next sweep deletes it
            await rpc.call("delete_tma_user_probe", {"p_dedupe_key": dedupe_key})
    return visit


@dataclass(frozen=True, slots=True)
class _Visitors:
    nobody: _MiniApp
    forger: _MiniApp
    writer: _MiniApp
    other: _MiniApp


async def _visitors(
    settings: Settings, users: ProbeUsers, at: int, dedupe_key: str, http: httpx.AsyncClient
) -> _Visitors:
    """One client each, since a user is known by a header of the client."""

    async def with_proof(proof: str | None) -> _MiniApp:
        options = AsyncClientOptions(
            headers={"x-telegram-init-data": proof} if proof else {},
            httpx_client=http,
            auto_refresh_token=False,
            persist_session=False,
        )
        client = await acreate_client(
            settings.supabase_url, settings.supabase_anon_key or "", options
        )
        return _MiniApp(client, dedupe_key, settings.redact)

    token = settings.bot_token.get_secret_value()
    bot = token.partition(":")[0]
    return _Visitors(
        nobody=await with_proof(None),
        forger=await with_proof(init_data(f"{bot}:{secrets.token_hex(16)}", users.other, at)),
        writer=await with_proof(init_data(token, users.writer, at)),
        other=await with_proof(init_data(token, users.other, at)),
    )


async def _try_events(visit: Visit, visitors: _Visitors) -> None:
    users = visit.users
    for visitor, what in (
        (visitors.nobody, "a row without proof is let in"),
        (visitors.forger, "a row with a forged proof is let in"),
        (visitors.writer, "a user's row for somebody else is let in"),
    ):
        refusal = (await visitor.insert(telegram_id=users.other)).refusal
        if refusal is None or refusal.code == _DUPLICATE:
            visit.openings.append(Opening(_TABLE, what))

    visit.user_id = await visitors.writer.user_id()
    begun = time.perf_counter()
    visit.written = await visitors.writer.insert()
    visit.milliseconds = (time.perf_counter() - begun) * 1000
    visit.read_back = await visitors.writer.rows_of(users.writer)

    for visitor, what in (
        (visitors.nobody, "who proves nobody reads a user's rows"),
        (visitors.other, "a user reads another user's rows"),
    ):
        if (await visitor.rows_of(users.writer)).data:
            visit.openings.append(Opening(_TABLE, what))


async def _try_requests(visit: Visit, visitors: _Visitors, table: str) -> None:
    """A user who has made no requests must see none, and nobody may insert without proof."""
    refusal = (await visitors.nobody.insert_nothing(table)).refusal
    if refusal is None or refusal.code in _INCOMPLETE:
        visit.openings.append(Opening(table, f"{table} lets in rows without proof"))
    if (await visitors.nobody.any_row(table)).data:
        visit.openings.append(Opening(table, f"{table} shows rows to who proves nobody"))
    elif (await visitors.other.any_row(table)).data:
        visit.openings.append(Opening(table, f"{table} shows a user the rows of others"))
