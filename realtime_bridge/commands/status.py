"""`realtime-bridge status`: what waits, what is on its way, how the last hour went."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, NotRequired

import aiohttp
from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from realtime_bridge.base import Unreadable, decode, read_body
from realtime_bridge.commands.advice import advice
from realtime_bridge.database import Refused, Rpc, Unavailable, renewing_rpc, shaped
from realtime_bridge.settings import Settings

LOOK_AGAIN_SECONDS = 2.0
_REPLICA_TIMEOUT = aiohttp.ClientTimeout(total=2)
_BARS = "▁▂▃▄▅▆▇█"
_CLEAR = "\x1b[H\x1b[2J"


class Waiting(TypedDict):
    """What waits in a lane, by tma_backlog()."""

    pending: int
    processing: int
    oldest_pending_seconds: FiniteFloat


class Stats(Waiting):
    """What tma_event_stats() tells."""

    scheduled: int
    started: int
    delivered_last_hour: int
    failed_last_hour: dict[str, int]
    withdrawn_last_hour: NotRequired[int]
    muted_last_hour: NotRequired[int]
    delivered_per_minute: Annotated[list[int], Field(min_length=1)]


class Bells(TypedDict):
    """A doorbell at /readyz."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    changes: str
    broadcast: str
    last_error: str | None


class Readiness(TypedDict, total=False):
    """What /readyz tells."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    ready: bool
    reasons: list[str]
    degraded: bool
    doorbell: Bells


_STATS = TypeAdapter(Stats)
_BACKLOG = TypeAdapter(dict[str, Waiting])  # by table
_READINESS = TypeAdapter(Readiness)
_REPLICA_LIMIT = 2**16  # bytes


@dataclass(frozen=True, slots=True)
class Replica:
    """What a running bridge says at /readyz; `details` is None where nobody answers."""

    url: str
    details: Readiness | None


@dataclass(frozen=True, slots=True)
class State:
    """Everything `status` shows: see tma_event_stats() and tma_backlog()."""

    events: Stats
    requests: Mapping[str, Waiting]  # by table
    replicas: Sequence[Replica]


async def run_status(
    settings: Settings,
    replicas: Sequence[str],
    *,
    as_json: bool,
    watch: bool,
    echo: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Show the state once, or again and again; return the exit code.

    `warn` is told why there is nothing to show, except on the screen that is watched.
    """
    urls = replicas or replicas_of(settings)
    echo, warn = settings.redact.before(echo), settings.redact.before(warn)
    screen = watch and not as_json
    async with renewing_rpc(settings) as rpc:
        while True:
            try:
                shown = _shown(await look(rpc, urls), as_json=as_json, watch=watch)
                echo(_CLEAR + shown if screen else shown)
                code = 0
            except (Unavailable, Refused) as error:
                wrong = advice(error, settings)
                echo(_CLEAR + wrong) if screen else warn(wrong)
                code = 1
            if not watch:
                return code
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


def replicas_of(settings: Settings) -> list[str]:
    """Where a bridge with these settings answers, if it does."""
    port = settings.http_port
    return [f"http://{settings.http_host}:{port}"] if port else []


async def look(rpc: Rpc, replicas: Sequence[str]) -> State:
    """Ask the database and the replicas, all at once. Raises Unavailable and Refused."""
    asking = [asyncio.create_task(_ask_replica(url)) for url in replicas]
    told = await asyncio.gather(rpc.call("tma_event_stats"), rpc.call("tma_backlog"))
    events = shaped(_STATS, "tma_event_stats", told[0])
    backlog = shaped(_BACKLOG, "tma_backlog", told[1])
    requests = {table: backlog[table] for table in sorted(backlog) if table != "tma_events"}
    return State(events, requests, await asyncio.gather(*asking))


async def _ask_replica(url: str) -> Replica:
    try:
        async with (
            aiohttp.ClientSession(timeout=_REPLICA_TIMEOUT) as session,
            session.get(f"{url.rstrip('/')}/readyz") as response,
        ):
            body, _ = await read_body(response, _REPLICA_LIMIT)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return Replica(url, None)
    answered = decode(body.decode(errors="replace"))
    if isinstance(answered, Unreadable):
        return Replica(url, None)
    try:
        return Replica(url, _READINESS.validate_python(answered))
    except ValidationError:
        return Replica(url, None)


def _shown(state: State, *, as_json: bool, watch: bool) -> str:
    if as_json:
        return json.dumps(asdict(state), indent=None if watch else 2, ensure_ascii=False)
    return text_of(state)


def text_of(state: State) -> str:
    """The state as lines for a person."""
    lines = _events(state.events)
    for table, counts in state.requests.items():
        lines.append(f"{table:<14} {_waiting(counts)}")
    lines += [f"{'bridge':<14} {_replica(replica)}" for replica in state.replicas]
    return "\n".join(lines)


def _events(stats: Stats) -> list[str]:
    failed = stats["failed_last_hour"]
    reasons = ", ".join(f"{count:,} {why}" for why, count in sorted(failed.items()))
    text = f"{stats['delivered_last_hour']:,} delivered, {sum(failed.values()):,} failed"
    unsent = {
        "withdrawn": stats.get("withdrawn_last_hour", 0),
        "muted": stats.get("muted_last_hour", 0),
    }
    per_minute = stats["delivered_per_minute"]
    indent = " " * 15
    ended = text + (f" ({reasons})" if reasons else "")
    ended += "".join(f", {count:,} {word}" for word, count in unsent.items() if count)
    return [
        f"{'tma_events':<14} {_waiting(stats)}, {stats['scheduled']:,} scheduled",
        f"{indent}last hour: {ended}",
        f"{indent}{sparkline(per_minute)} delivered per minute, at most {max(per_minute):,}",
    ]


def _waiting(counts: Waiting) -> str:
    pending = f"{counts['pending']:,} pending"
    if counts["pending"]:
        pending += f" (oldest {_age(counts['oldest_pending_seconds'])})"
    return f"{pending}, {counts['processing']:,} on the way"


def _replica(replica: Replica) -> str:
    if replica.details is None:
        return f"{replica.url} does not answer"
    reasons = "; ".join(replica.details.get("reasons", ()))
    ready = "ready" if replica.details.get("ready") else f"not ready: {reasons}"
    doorbell = replica.details.get("doorbell")
    if not doorbell:
        return f"{replica.url} {ready}"
    bells = f"changes {doorbell['changes']}, broadcast {doorbell['broadcast']}"
    why = doorbell["last_error"] if replica.details.get("degraded") else None
    return f"{replica.url} {ready}; {bells}{f' ({why})' if why else ''}"


def sparkline(counts: Sequence[float]) -> str:
    """Draw one bar for each count, on the scale of the largest.

    >>> sparkline([0, 1, 4, 8])
    '▁▂▅█'
    >>> sparkline([0, 0])
    '▁▁'
    """
    top = max(counts, default=0) or 1
    return "".join(_BARS[round(count / top * (len(_BARS) - 1))] for count in counts)


def _age(seconds: float) -> str:
    """An age in the unit that fits.

    >>> _age(4.2), _age(150), _age(7300), _age(200000)
    ('4 s', '2 min', '2 h', '2 d')
    """
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{seconds:.0f} s"
