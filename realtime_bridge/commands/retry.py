"""`realtime-bridge retry`: failed rows get another chance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import TypeAdapter

from realtime_bridge.commands.advice import advice
from realtime_bridge.commands.timespan import moment_of
from realtime_bridge.database import Refused, Rpc, Unavailable, shaped
from realtime_bridge.outcomes import Failure
from realtime_bridge.settings import Settings

SHOWN_IDS = 20
_COUNTS = TypeAdapter(dict[str, int])  # by failure
_IDS = TypeAdapter(list[int])


@dataclass(frozen=True, slots=True)
class Filters:
    """Which failed rows: all that match everything that is given. Raises ValueError for none."""

    ids: Sequence[int] | None = None
    failure: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if not any((self.ids, self.failure, self.since, self.until)):
            raise ValueError("say which rows: their IDs, --failure, --since or --until")

    @classmethod
    def typed(
        cls, ids: Sequence[int], failure: str | None, since: str | None, until: str | None
    ) -> Self:
        """As an operator types them; times are as in timespan.py. Raises ValueError."""
        now = datetime.now(UTC)
        return cls(
            ids=ids or None,
            failure=failure,
            since=moment_of(since, now) if since else None,
            until=moment_of(until, now) if until else None,
        )

    def arguments(self) -> dict[str, Any]:
        """As the database's functions want them."""
        given = {
            "p_ids": list(self.ids) if self.ids else None,
            "p_failure": self.failure,
            "p_since": self.since and self.since.isoformat(),
            "p_until": self.until and self.until.isoformat(),
        }
        return {name: value for name, value in given.items() if value is not None}


async def count_failed(rpc: Rpc, filters: Filters) -> dict[str, int]:
    """How many rows match, by failure. Raises Unavailable and Refused."""
    answer = await rpc.call("count_failed_tma_events", filters.arguments())
    return shaped(_COUNTS, "count_failed_tma_events", answer)


async def retry_failed(rpc: Rpc, filters: Filters, limit: int) -> list[int]:
    """Make up to `limit` rows pending again; return their ids. Raises Unavailable and Refused."""
    answer = await rpc.call("retry_tma_events", {**filters.arguments(), "p_limit": limit})
    return shaped(_IDS, "retry_tma_events", answer)


async def run_retry(
    settings: Settings,
    filters: Filters,
    limit: int,
    *,
    confirm: Callable[[str], bool],
    echo: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Count, ask about rows that may have been sent, and retry; return the exit code."""
    echo, warn = settings.redact.before(echo), settings.redact.before(warn)
    async with Rpc.of(settings) as rpc:
        try:
            counts = await count_failed(rpc, filters)
            if not counts:
                echo("No failed row matches.")
                return 0
            echo(_matching(counts))
            chosen = _chosen(counts, filters, confirm)
            retried = await _retry(rpc, chosen, limit)
        except (Unavailable, Refused) as error:
            warn(advice(error, settings))
            return 1
    echo(_retried(retried))
    if len(retried) == limit < sum(counts.values()):
        echo("That is the limit; run it again for the rest.")
    return 0


def _chosen(
    counts: Mapping[str, int], filters: Filters, confirm: Callable[[str], bool]
) -> list[Filters]:
    """What to retry: everything in one go, or, without the uncertain rows, reason by reason."""
    uncertain = counts.get(Failure.UNCERTAIN, 0)
    question = f"{uncertain} of them may have been sent already. Send them again?"
    if not uncertain or confirm(question):
        return [filters]
    return [replace(filters, failure=why) for why in counts if why != Failure.UNCERTAIN]


async def _retry(rpc: Rpc, chosen: Sequence[Filters], limit: int) -> list[int]:
    retried: list[int] = []
    for filters in chosen:
        retried += await retry_failed(rpc, filters, limit - len(retried))
    return retried


def _matching(counts: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{count} {why}" for why, count in sorted(counts.items()))
    return f"{sum(counts.values())} failed rows match: {reasons}."


def _retried(ids: Sequence[int]) -> str:
    shown = ", ".join(str(one) for one in sorted(ids)[:SHOWN_IDS])
    more = ", ..." if len(ids) > SHOWN_IDS else ""
    listed = f": {shown}{more}" if ids else ""
    return f"{len(ids)} rows are pending again{listed}."
