"""The sweep of the database, for all lanes in one call."""

from collections.abc import Mapping

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
    ) -> None:
        """`lease`: of tma_events, in seconds; `request_leases`: those of request tables, by name.

        `resend_uncertain`: rows of a worker that died while sending are sent again.
        """
        self._rpc = rpc
        self._arguments = {
            "p_lease": f"{lease} seconds",
            "p_resend_uncertain": resend_uncertain,
            "p_request_leases": dict(request_leases),
        }

    async def __call__(self) -> dict[str, Recovered]:
        """Sweep, and say by lane what was found. Raises Unavailable and Refused."""
        return shaped(_SWEPT, "sweep_tma", await self._rpc.call("sweep_tma", self._arguments))
