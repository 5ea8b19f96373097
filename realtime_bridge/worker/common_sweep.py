"""The sweep of the database, for all lanes in one call."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter

from realtime_bridge.database import Rpc, shaped
from realtime_bridge.model import Recovered

_SWEPT = TypeAdapter(dict[str, Recovered])  # by lane


class CommonSweep:
    """`sweep_tma()` (SQL contract: docs/sql.md)."""

    def __init__(
        self,
        rpc: Rpc,
        *,
        lease: float,
        resend_uncertain: bool,
        request_leases: Mapping[str, float],
        replica: Callable[[], Mapping[str, Any]],
    ) -> None:
        """`lease`: of tma_events, in seconds; `request_leases`: those of request tables, by name.

        `resend_uncertain`: rows of a worker that died while sending are sent again. `replica()`:
        what this bridge says of itself, for whoever looks at all of them.
        """
        self._rpc = rpc
        self._replica = replica
        self._arguments = {
            "p_lease": f"{lease} seconds",
            "p_resend_uncertain": resend_uncertain,
            "p_request_leases": dict(request_leases),
        }

    async def __call__(self) -> dict[str, Recovered]:
        """Sweep, and say by lane what was found. Raises Unavailable and Refused."""
        arguments = {**self._arguments, "p_replica": dict(self._replica())}
        return shaped(_SWEPT, "sweep_tma", await self._rpc.call("sweep_tma", arguments))
