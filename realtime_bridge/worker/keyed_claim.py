"""The call that claims events, asked again with the same key until it is answered."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID, uuid4

from pydantic import BaseModel, BeforeValidator, ConfigDict, FiniteFloat, TypeAdapter

from realtime_bridge.database import Refused, Rpc, shaped
from realtime_bridge.outcomes import Failure

_FUNCTION = "claim_tma_events"
# As what a claim may end rows: their chat has muted them, or has just blocked the bot.
_ENDS = ("muted", Failure.BLOCKED.value)


def _counts(value: Any) -> Any:
    """Counts are for the metrics: one that is strange costs no row."""
    found = value.items() if isinstance(value, dict) else ()
    return {word: rows for word, rows in found if word in _ENDS and type(rows) is int and rows > 0}


class Answer(BaseModel):
    """What `claim_tma_events` says. `next_seconds` is None while nothing is open.

    `ended`: how many rows the claim has ended without handing them out, and as what.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows: list[Any]
    next_seconds: FiniteFloat | None = None
    limits_differ: bool = False
    ended: Annotated[dict[str, int], BeforeValidator(_counts)] = {}


_ANSWER = TypeAdapter(Answer)


@dataclass(frozen=True, slots=True)
class _Unanswered:
    """A claim that may have been carried out."""

    key: UUID
    since: float


class KeyedClaim:
    """One claim at a time: no new key before the last one was answered.

    The database carries a key out once. Asked again, it returns the rows that this claim took and
    still holds. So the answer that was lost costs a round trip, not a lease.
    """

    def __init__(
        self,
        rpc: Rpc,
        limits: dict[str, Any] | None,
        digests: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limits`, `digests`: see `claim_tma_events`; None: no pace."""
        self._rpc = rpc
        self._limits = limits
        self._digests = dict(digests or {}) or None
        self._clock = clock
        self._unanswered: _Unanswered | None = None

    @property
    def unanswered(self) -> bool:
        """Whether there may be rows of ours whose claim was not answered."""
        return self._unanswered is not None

    async def ask(self, limit: int, start_now: int) -> tuple[Answer, float]:
        """Return the answer, and for how many seconds it has been asked for.

        Raises Unavailable and Refused. Only a refusal that is about the call itself means that
        there is nothing to ask for again: one of the key, or of a function that is gone for a
        moment, says nothing of what was carried out before.
        """
        claim = self._unanswered = self._unanswered or _Unanswered(uuid4(), self._clock())
        arguments = {
            "p_limit": limit,
            "p_key": str(claim.key),
            "p_limits": self._limits,
            "p_start_now": start_now,
            "p_digests": self._digests,
        }
        try:
            answer = shaped(_ANSWER, _FUNCTION, await self._rpc.call(_FUNCTION, arguments))
        except Refused as error:
            if not error.of_all and not error.bad_key:
                self._unanswered = None
            raise
        self._unanswered = None
        return answer, self._clock() - claim.since
