"""The lane of events in one process, with a database that costs nothing: what is ours alone.

WHAT: `whole`, or `ours`: then in place of aiogram's call there is one that returns at
once. ROWS: how many messages are measured. COUNT=1: under callgrind, which then counts the same.
The result is a line of JSON.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.queues import FIRST_CHAT
from realtime_bridge import wiring
from realtime_bridge.credentials import Key
from realtime_bridge.database import Keys, Rpc
from realtime_bridge.database.rpc import decode_response
from realtime_bridge.messages import load_messages
from realtime_bridge.model import Wake
from realtime_bridge.observe import Metrics, logs
from realtime_bridge.settings import Settings, load
from realtime_bridge.telegram import own_bot
from realtime_bridge.telegram.wire import Receipt

WARM_UP = 256


class Memory(Rpc):
    """Hands out rows that were written before, in the JSON of claim_tma_events."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1", lambda: Key("", ""))
        self._rows: list[str] = []
        self._unsettled = 0
        self.drained = asyncio.Event()

    def load(self, first: int, count: int) -> None:
        """Make so many rows due, each for another chat."""
        self._rows = [_row(first + number) for number in range(count)]
        self._unsettled = count
        self.drained.clear()

    async def call(self, function: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """Answer as the database does, without a socket."""
        told = arguments or {}
        json.dumps(told)
        await asyncio.sleep(0)
        return decode_response(function, 200, getattr(self, f"_{function}")(told))

    def _claim_tma_events(self, told: Mapping[str, Any]) -> str:
        count, started = told["p_limit"], told["p_start_now"]
        taken, self._rows = self._rows[:count], self._rows[count:]
        marked = [row.replace("false", "true") for row in taken[:started]] + taken[started:]
        return f'{{"rows": [{", ".join(marked)}], "next_seconds": null, "limits_differ": false}}'

    def _start_tma_events(self, told: Mapping[str, Any]) -> str:
        return json.dumps([one["id"] for one in told["p_claims"]])

    def _settle_tma_events(self, told: Mapping[str, Any]) -> str:
        self._unsettled -= len(told["p_outcomes"])
        if not self._unsettled:
            self.drained.set()
        return json.dumps([one["id"] for one in told["p_outcomes"]])


def _row(number: int) -> str:
    payload = json.dumps({"lead_name": f"Lead {number}", "new_status": f"seq{number}"})
    return json.dumps(
        {
            "id": number,
            "telegram_id": FIRST_CHAT + number,
            "event_type": "status_changed",
            "lead_id": None,
            "lead_name": f"Lead {number}",
            "payload": payload,
            "locale": "en",
            "attempt": 1,
            "retries": 0,
            "created_at": "2026-11-25T01:02:03.456789+00:00",
            "deliver_after": "2026-11-25T01:02:03.456789+00:00",
            "waited_seconds": 0.012345,
            "chat_id": None,
            "priority": 0,
            "turn_in": 0,
            "started": False,
        }
    )


class Instant:
    """A bot whose calls return at once."""

    session = None

    async def __call__(self, _request: Any, **_: Any) -> Receipt:
        """Accept it."""
        await asyncio.sleep(0)
        return Receipt(message_id=1)


@asynccontextmanager
async def _bot(settings: Settings) -> AsyncIterator[Any]:
    """Yield the bot; both with the same collector, which own_bot() sets up."""
    async with own_bot(settings) as bot:
        yield bot if os.environ["WHAT"] == "whole" else Instant()


async def _control(*arguments: str) -> None:
    """Tell callgrind, which may be around us."""
    if os.environ.get("COUNT"):
        process = await asyncio.create_subprocess_exec(
            "callgrind_control", *arguments, str(os.getpid()), stdout=asyncio.subprocess.DEVNULL
        )
        await process.wait()


async def main() -> None:
    """Send the warm-up's rows and then those that are measured."""
    rows = int(os.environ["ROWS"])
    settings = load()
    logs.configure_logging(settings.log_level, settings.log_format, redact=settings.redact)
    memory = Memory()
    async with _bot(settings) as bot:
        parts = wiring.Wiring(settings, Metrics(), Keys(settings, _trial), memory, ()).build(
            bot, load_messages(settings)
        )
        lane = parts.lanes[0]
        running = asyncio.create_task(lane.run())
        memory.load(0, WARM_UP)
        lane.wake(Wake.BROADCAST)
        await memory.drained.wait()
        memory.load(WARM_UP, rows)
        await _control("-i", "on")
        begun = time.process_time()
        lane.wake(Wake.BROADCAST)
        await memory.drained.wait()
        spent = time.process_time() - begun
        await _control("-i", "off")
        print(json.dumps({"microseconds": spent / rows * 1e6}), flush=True)
        lane.stop()
        await running


async def _trial(_: Any) -> None:
    return None


if __name__ == "__main__":
    asyncio.run(main())
