"""A visit as Mini Apps pay it: what users can do is tried, not read from catalogs."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import httpx
from postgrest.types import ReturnMethod
from supabase import AsyncClientOptions, PostgrestAPIError, acreate_client

from realtime_bridge.commands.check.init_data import init_data
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
        """Whether nobody got as far as the database."""
        return self.code is None or self.code in {"401", "403"} or self.code.startswith("PGRST3")

    @property
    def passes(self) -> bool:
        """Whether it is about the moment: an HTTP status alone, no database, a cancelled query."""
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


@dataclass
class Visit:
    """What was tried, and what came of it."""

    users: ProbeUsers
    openings: list[str] = field(default_factory=list)  # what worked and must not
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

    def __init__(self, client: "AsyncClient", dedupe_key: str) -> None:
        self._client = client
        self._dedupe_key = dedupe_key

    async def user_id(self) -> Answer:
        return await _answer(self._client.rpc("tma_user_id"))

    async def insert(self, **columns: Any) -> Answer:
        row = {"event_type": _EVENT, "dedupe_key": self._dedupe_key, **columns}
        table = self._client.table(_TABLE)
        return await _answer(table.insert(row, returning=ReturnMethod.minimal))

    async def rows_of(self, user: int) -> Answer:
        query = self._client.table(_TABLE).select("id").eq("telegram_id", user)
        return await _answer(query.eq("dedupe_key", self._dedupe_key))


async def _answer(query: Any) -> Answer:
    """Raises _KeyRefused, _NotNow, and what httpx raises for no answer."""
    try:
        return Answer((await query.execute()).data)
    except PostgrestAPIError as error:
        refusal = Refusal(error.code, error.message or "no reason given")
    if refusal.of_the_key:
        raise _KeyRefused(refusal.text)
    if refusal.passes:
        raise _NotNow(refusal.text)
    return Answer(refusal=refusal)


async def pay_visit(settings: Settings, rpc: Rpc, users: ProbeUsers, at: int) -> Visit:
    """Try to write and to read, as a user, as another one, as a forger and as nobody.

    `at`: the database's time of day in seconds since 1970. Whatever was let in is deleted again.
    """
    visit = Visit(users)
    dedupe_key = secrets.token_hex(16)
    redact = settings.redact
    try:
        async with (
            asyncio.timeout(SECONDS),
            httpx.AsyncClient(
                timeout=_CALL_SECONDS, follow_redirects=True, trust_env=False
            ) as http,
        ):
            await _look_around(visit, await _visitors(settings, users, at, dedupe_key, http))
    except _KeyRefused as error:
        visit.key_refused = redact.line(str(error))
    except TimeoutError:
        visit.trouble = f"it took longer than {SECONDS:g} s"
    except (
        httpx.HTTPError,
        ValueError,
        _NotNow,
    ) as error:  # ValueError: no JSON, or not PostgREST's
        visit.trouble = redact.line(f"Supabase does not answer Mini Apps: {error!r}")
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
        return _MiniApp(client, dedupe_key)

    token = settings.bot_token.get_secret_value()
    bot = token.partition(":")[0]
    return _Visitors(
        nobody=await with_proof(None),
        forger=await with_proof(init_data(f"{bot}:{secrets.token_hex(16)}", users.other, at)),
        writer=await with_proof(init_data(token, users.writer, at)),
        other=await with_proof(init_data(token, users.other, at)),
    )


async def _look_around(visit: Visit, visitors: _Visitors) -> None:
    users = visit.users
    for visitor, what in (
        (visitors.nobody, "a row without proof is let in"),
        (visitors.forger, "a row with a forged proof is let in"),
        (visitors.writer, "a user's row for somebody else is let in"),
    ):
        if _let_in(await visitor.insert(telegram_id=users.other)):
            visit.openings.append(what)

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
            visit.openings.append(what)


def _let_in(answer: Answer) -> bool:
    """Whether the policies let a row in."""
    return answer.refusal is None or answer.refusal.code == _DUPLICATE
