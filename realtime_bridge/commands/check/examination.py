"""The examination: what is looked at, and in which order it is told."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

from realtime_bridge.commands.check import database, jwks
from realtime_bridge.commands.check.finding import Finding, ok, skipped
from realtime_bridge.commands.check.fixes import Fixes
from realtime_bridge.commands.check.telegram import telegram_finding
from realtime_bridge.credentials import key_id_of, seconds_left
from realtime_bridge.database import Refused, Rpc, Unavailable
from realtime_bridge.settings import Settings

Now = Callable[[], float]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the database said of itself, and this machine's time of day around that."""

    report: database.Report
    asked_at: float
    answered_at: float
    connected: float  # milliseconds of a call that had to connect first


async def examine(settings: Settings, fixes: Fixes, now: Now = time.time) -> AsyncIterator[Finding]:
    """Look at everything, and tell each finding as soon as it is known, in a fixed order.

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
                yield await telegram
                yield _blind("clock")
                yield _blind("names")
                return
            try:
                findings = _look(answer, settings, fixes)
                last = [
                    database.with_registration(await telegram, answer.report, token),
                    database.clock_finding(
                        answer.report, answer.asked_at, answer.answered_at, fixes
                    ),
                    database.names_finding(answer.report),
                ]
            except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
                findings, last = [database.nonsense_finding(fixes)], [await telegram]
            for finding in findings:
                yield finding
            yield await _ring(settings, rpc, fixes, answer.report)
            for finding in last:
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


def _look(answer: _Answer, settings: Settings, fixes: Fixes) -> list[Finding]:
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


def _blind(name: str) -> Finding:
    return skipped(name, "the database could not be asked")
