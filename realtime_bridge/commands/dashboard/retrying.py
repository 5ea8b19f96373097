"""The page's retry: what may have been sent is sent again only if a person agreed to how many."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from realtime_bridge.commands.retry import SHOWN_IDS, Filters, count_failed, retry_failed
from realtime_bridge.database import Rpc
from realtime_bridge.outcomes import Failure

log = structlog.get_logger()

MOST_ROWS = 1000
Id = Annotated[int, Field(ge=1, lt=2**63)]


class Wanted(BaseModel):
    """What the page asks for: which rows, and what a person said of the uncertain ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: Annotated[list[Id], Field(min_length=1, max_length=MOST_ROWS)] | None = None
    failure: Failure | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    uncertain: Annotated[int, Field(ge=0)] | Literal["leave"] | None = None
    """So many may be sent again, or none; None: nobody was asked."""

    def filters(self) -> Filters:
        """Which rows. Raises ValueError if it names none."""
        return Filters(self.ids, self.failure, self.since, self.until)


@dataclass(frozen=True, slots=True)
class Question:
    """Nothing was done: somebody must say what is to become of `uncertain` rows."""

    counts: Mapping[str, int]
    uncertain: int


@dataclass(frozen=True, slots=True)
class Retried:
    """So many are pending again, of so many that matched."""

    rows: int
    matched: int


async def matching(rpc: Rpc, wanted: Wanted) -> Question:
    """What a retry would be about. Raises Unavailable, Refused, and ValueError for no filter."""
    counts = await count_failed(rpc, wanted.filters())
    return Question(counts, counts.get(Failure.UNCERTAIN, 0))


async def retry(rpc: Rpc, wanted: Wanted) -> Retried | Question:
    """Retry, or ask first. Raises Unavailable, Refused, and ValueError for no filter.

    Rows that end as uncertain after the question are not sent again by its answer.
    """
    filters = wanted.filters()
    counts = await count_failed(rpc, filters)
    uncertain = counts.get(Failure.UNCERTAIN, 0)
    agreed = wanted.uncertain if isinstance(wanted.uncertain, int) else 0
    if uncertain > agreed and wanted.uncertain != "leave":
        return Question(counts, uncertain)
    retried: list[int] = []
    for reason in sorted(counts):
        limit = min(counts[reason], MOST_ROWS - len(retried))
        if reason == Failure.UNCERTAIN:
            limit = min(limit, agreed)
        if limit > 0:
            retried += await retry_failed(rpc, replace(filters, failure=reason), limit)
    _tell(wanted, retried, agreed)
    return Retried(len(retried), sum(counts.values()))


def _tell(wanted: Wanted, retried: list[int], agreed: int) -> None:
    """One line for each action, with who is concerned but nothing of what they wrote."""
    filters: dict[str, Any] = wanted.model_dump(
        mode="json", include={"failure", "since", "until"}, exclude_none=True
    )
    log.info(
        "rows_retried",
        rows=len(retried),
        ids=sorted(retried)[:SHOWN_IDS],
        uncertain_agreed=agreed,
        **filters,
    )
