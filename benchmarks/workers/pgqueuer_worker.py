"""PgQueuer, sending its jobs' messages, on uvloop like its own command line.

BATCH: its batch size (its default is 10).
"""

import asyncio
import json
import os
import signal

import asyncpg  # type: ignore[import-untyped]
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.models import Job

from benchmarks.queues import ENTRYPOINT, text_of
from benchmarks.workers.telegram import bot


async def main() -> None:
    """Work until SIGTERM."""
    connection = await asyncpg.connect(os.environ["PGQUEUER_URL"])
    queue = PgQueuer.from_asyncpg_connection(connection)
    telegram = bot()

    @queue.entrypoint(ENTRYPOINT)
    async def send(job: Job) -> None:
        told = json.loads(job.payload or b"{}")
        await telegram.send_message(told["chat"], text_of(told["chat"], told["number"]))

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, queue.shutdown.set)
    print("ready", flush=True)
    async with telegram:
        await queue.run(batch_size=int(os.environ.get("BATCH", "10")))


if __name__ == "__main__":
    uvloop.run(main())
