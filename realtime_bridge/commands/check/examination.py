"""The examination: what is checked, and in which order it is reported."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from realtime_bridge.commands.check import database, jwks
from realtime_bridge.commands.check.access import EVENTS
from realtime_bridge.commands.check.finding import Finding, ok, skipped
from realtime_bridge.commands.check.fixes import Fixes
from realtime_bridge.commands.check.telegram import telegram_finding
from realtime_bridge.credentials import key_id_of, seconds_left
from realtime_bridge.database import Refused, Rpc, Unavailable
from realtime_bridge.settings import Settings

MINI_APP = "mini-app"

Now = Callable[[], float]


@dataclass(frozen=True, slots=True)
class _Answer:
    """The database's report on itself, and this machine's time of day around the call."""

    report: database.Report
    asked_at: float
    answered_at: float
    connected: float  # milliseconds of a call that had to connect first

    def database_time(self, now: float) -> float:
        """The database's time of day, by which it judges how old a signature is."""
        theirs = datetime.fromisoformat(self.report["now"]).timestamp()
        return theirs + now - self.answered_at


async def examine(settings: Settings, fixes: Fixes, now: Now = time.time) -> AsyncIterator[Finding]:
    """Check everything, and yield each finding as soon as it is known, in a fixed order.

    `now` is the time of day in seconds since 1970.
    """
    token = settings.bot_token.get_secret_value()
    telegram = asyncio.create_task(telegram_finding(settings.telegram_api_url, token, fixes))
    try:
        yield ok("settings", f"delivery {settings.delivery.value}, doorbell {settings.doorbell}")
        async with Rpc(settings.supabase_url, lambda: settings.key) as rpc:
            answer = await _ask(rpc, now)
            if not isinstance(answer, _Answer):
                for finding in await _explain(answer, settings, rpc, fixes):
                    yield finding
                yield _blind("realtime")
                yield _blind(MINI_APP)
                yield await telegram
                yield _blind("clock")
                yield _blind("names")
                return
            seen = _look(answer, settings, fixes, await telegram)
            for finding in seen.first:
                yield finding
            yield await _ring(settings, rpc, fixes, answer.report)
            if seen.usable:
                yield await _visit(settings, rpc, fixes, answer, now)
            for finding in seen.last:
                yield finding
    finally:
        telegram.cancel()
        with suppress(asyncio.CancelledError):
            await telegram


async def _ask(rpc: Rpc, now: Now) -> _Answer | Unavailable | Refused:
    begun = time.perf_counter()
    try:
        await rpc.call("tma_bridge_check")
        connected = (time.perf_counter() - begun) * 1000
        asked_at = now()
        report = await rpc.call("tma_bridge_check")  # on an open connection: its time counts
    except (Unavailable, Refused) as error:
        return error
    return _Answer(report, asked_at, now(), connected)


async def _explain(
    error: Unavailable | Refused, settings: Settings, rpc: Rpc, fixes: Fixes
) -> list[Finding]:
    partly = False
    if isinstance(error, Refused) and error.missing_function:
        with suppress(Unavailable, Refused):
            await rpc.call("tma_event_stats")
            partly = True
    refused = isinstance(error, Refused) and error.bad_key
    return database.refusal_findings(
        error,
        url=settings.supabase_url,
        key=settings.key,
        partly=partly,
        stranger=await jwks.stranger(settings.supabase_url, settings.key) if refused else None,
        fixes=fixes,
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the database's report says, before and after what has to be tried."""

    first: list[Finding]
    last: list[Finding]
    usable: bool = True


def _look(answer: _Answer, settings: Settings, fixes: Fixes, telegram: Finding) -> _Seen:
    report, token = answer.report, settings.bot_token.get_secret_value()
    try:
        return _Seen(
            first=_findings(answer, settings, fixes),
            last=[
                database.with_registration(telegram, report, token),
                database.clock_finding(report, answer.asked_at, answer.answered_at, fixes),
                database.names_finding(report),
            ],
        )
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        return _Seen([database.nonsense_finding(fixes)], [telegram], usable=False)


def _findings(answer: _Answer, settings: Settings, fixes: Fixes) -> list[Finding]:
    left = seconds_left(settings.key.secret, answer.answered_at)
    return [
        ok("supabase", f"{settings.supabase_url} answers", answer.connected),
        *database.report_findings(
            answer.report,
            fixes=fixes,
            held=database.HeldKey(
                settings.key, left, settings.location("SUPABASE_KEY").how_to_change
            ),
            changes=settings.doorbell != "broadcast",
        ),
    ]


async def _ring(settings: Settings, rpc: Rpc, fixes: Fixes, report: database.Report) -> Finding:
    # Imported here: what was told until now need not wait for it.
    from realtime_bridge.commands.check.round_trip import (  # noqa: PLC0415
        Remedies,
        realtime_finding,
        round_trip,
    )

    key_id = key_id_of(settings.key.secret)
    remedies = Remedies(
        fixes,
        broadcast=database.broadcast_fix(report, fixes),
        key=fixes.signing_key_of_realtime(key_id) if key_id else None,
    )
    return realtime_finding(await round_trip(settings, rpc), remedies)


async def _visit(settings: Settings, rpc: Rpc, fixes: Fixes, answer: _Answer, now: Now) -> Finding:
    """Do what the Mini App does, if it can be done without a row that is sent."""
    if not settings.supabase_anon_key:
        skip = skipped(MINI_APP, "SUPABASE_ANON_KEY is not set")
        return replace(skip, fix=fixes.mini_app_key())
    # Imported here, because the supabase package takes its time.
    from realtime_bridge.commands.check.mini_app import ProbeUsers, pay_visit  # noqa: PLC0415
    from realtime_bridge.commands.check.mini_app_finding import mini_app_finding  # noqa: PLC0415

    users = ProbeUsers.of(answer.report)
    if users is None:
        skip = skipped(MINI_APP, "this database would send the rows that it takes")
        return replace(skip, fix=fixes.migrations())
    at = int(answer.database_time(now()))
    request_tables = sorted(set(answer.report["tables"]) - {EVENTS})
    visit = await pay_visit(settings, rpc, users, at, request_tables)
    bot = int(settings.bot_token.get_secret_value().partition(":")[0])
    return mini_app_finding(visit, answer.report, bot, fixes)


def _blind(name: str) -> Finding:
    return skipped(name, "the database could not be asked")
